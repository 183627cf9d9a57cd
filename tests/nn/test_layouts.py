"""Every kind of batch, against torch's own modules on the same weights, forward and backward.

In float64 two right answers of order 1 differ by some roundings of 1e-16; 1e-12 leaves room for
thousands. Pads are NaN: whoever reads one is found out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from carryline import Ragged
from carryline.nn import GRU, LSTM, RNN, CarryLSTM, Recurrent

INPUTS, HIDDEN = 3, 5
TORCH: dict[type[Recurrent], Any] = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}

kinds = st.sampled_from(list(TORCH))
lengths_of_texts = st.lists(st.integers(0, 7), min_size=1, max_size=7)


def twins(kind: type[Recurrent], **settings: Any) -> tuple[Recurrent, Any]:
    """One of ours and torch's own with the same weights."""
    theirs = TORCH[kind](INPUTS, HIDDEN, dtype=torch.float64, **settings)
    ours = kind(INPUTS, HIDDEN, dtype=torch.float64, **settings)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def first_of(module: Recurrent, texts: int) -> Any:
    """Random first states, as torch takes them."""
    shape = (module.num_layers * module.directions, texts, HIDDEN)
    h, c = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return (h, c) if module.cell.carry else h


def tensors(state: Any) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def chosen(state: Any, texts: Tensor) -> Any:
    parts = [part[:, texts] for part in tensors(state)]
    return tuple(parts) if isinstance(state, tuple) else parts[0]


def assert_close(got: Sequence[Any], expected: Sequence[Any]) -> None:
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def gradients(
    outputs: Sequence[Tensor], by: Sequence[Tensor], again: bool = False
) -> tuple[Tensor, ...]:
    """Of a loss in which every number has its own weight."""
    factors = [torch.cos(torch.arange(o.numel())).view(o.shape) for o in outputs]
    loss = sum((o.square() * f).sum() for o, f in zip(outputs, factors, strict=True))
    return torch.autograd.grad(loss, by, retain_graph=again, materialize_grads=True)  # type: ignore[arg-type]


def assert_same_gradients(
    modules: tuple[Recurrent, Any], got: list[Tensor], expected: list[Tensor], by: list[Tensor]
) -> None:
    """By inputs and weights; torch's two biases have the same gradient, of which one is ours."""
    names = [name for name, _ in modules[0].named_parameters()]
    found, right = (
        gradients(outputs, [*by, *(module.get_parameter(name) for name in names)], again=True)
        for outputs, module in zip((got, expected), modules, strict=True)
    )
    assert_close(found[: len(by)], right[: len(by)])
    for name, one, other in zip(names, found[len(by) :], right[len(by) :], strict=True):
        candidate = name.startswith("bias_hh")  # of gru: torch's has two gates besides
        assert_close([one], [other[2 * HIDDEN :] if candidate else other])


@settings(max_examples=50)
@given(
    kind=kinds, lengths=lengths_of_texts, more=st.integers(0, 2), batch_first=st.booleans(),
    bidirectional=st.booleans(), layers=st.integers(1, 2), with_states=st.booleans(),
)  # fmt: skip
def test_padded_with_lengths(
    kind: type[Recurrent], lengths: list[int], more: int, batch_first: bool, bidirectional: bool,
    layers: int, with_states: bool,
) -> None:  # fmt: skip
    """Torch has no texts of length 0: they are left out there, ours pass their first state on."""
    torch.manual_seed(0)
    ours, theirs = twins(
        kind, batch_first=batch_first, bidirectional=bidirectional, num_layers=layers
    )
    steps, texts = max(lengths) + more, len(lengths)
    x = torch.randn(texts, steps, INPUTS, dtype=torch.float64)
    for text, length in enumerate(lengths):
        x[text, length:] = torch.nan
    x = (x if batch_first else x.transpose(0, 1).contiguous()).requires_grad_()
    first = first_of(ours, texts)
    states, last = ours(x, first if with_states else None, lengths=torch.tensor(lengths))

    some = torch.tensor(lengths).nonzero()[:, 0]
    expected = x.new_zeros(*x.shape[:2], HIDDEN * ours.directions)
    expected_last = [part.clone() for part in tensors(first)]
    if not with_states:
        expected_last = [torch.zeros_like(part) for part in expected_last]
    if len(some):
        where = 0 if batch_first else 1
        own = torch.tensor(lengths)[some]
        packed = pack_padded_sequence(
            x.index_select(where, some), own, batch_first, enforce_sorted=False
        )
        output, final = theirs(packed, chosen(first, some) if with_states else None)
        output, _ = pad_packed_sequence(output, batch_first, total_length=steps)
        expected = expected.index_copy(where, some, output)
        expected_last = [
            part.index_copy(1, some, new)
            for part, new in zip(expected_last, tensors(final), strict=True)
        ]
    assert_close([states, *tensors(last)], [expected, *expected_last])
    got, right = [states, *tensors(last)], [expected, *expected_last]
    if len(some):
        assert_same_gradients((ours, theirs), got, right, [x, *tensors(first)])
    assert not gradients(got, [x])[0][x.isnan()].any()  # a pad has no gradient


@settings(max_examples=40)
@given(
    kind=kinds, lengths=st.lists(st.integers(1, 7), min_size=1, max_size=7),
    enforce_sorted=st.booleans(), bidirectional=st.booleans(), with_states=st.booleans(),
)  # fmt: skip
def test_packed(
    kind: type[Recurrent], lengths: list[int], enforce_sorted: bool, bidirectional: bool,
    with_states: bool,
) -> None:  # fmt: skip
    torch.manual_seed(0)
    ours, theirs = twins(kind, bidirectional=bidirectional)
    if enforce_sorted:
        lengths = sorted(lengths, reverse=True)
    x = [torch.randn(n, INPUTS, dtype=torch.float64, requires_grad=True) for n in lengths]
    batch = pack_sequence(x, enforce_sorted)
    first = first_of(ours, len(lengths))
    state = first if with_states else None
    (states, last), (expected, expected_last) = ours(batch, state), theirs(batch, state)
    assert isinstance(states, PackedSequence)
    for one, other in zip(states, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_close([one], [other])
    assert_close(tensors(last), tensors(expected_last))
    got, right = [states.data, *tensors(last)], [expected.data, *tensors(expected_last)]
    assert_same_gradients((ours, theirs), got, right, [*x, *tensors(first)])


@pytest.mark.parametrize("kind", TORCH, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batched", [False, True], ids=["one text", "batch"])
def test_whole_texts(kind: type[Recurrent], batch_first: bool, batched: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = twins(kind, batch_first=batch_first, num_layers=2, bidirectional=True)
    x = torch.randn(4, 6, INPUTS, dtype=torch.float64)
    first = first_of(ours, 4 if batch_first else 6)
    if not batched:
        x = x[0]
        first = (first[0][:, 0], first[1][:, 0]) if ours.cell.carry else first[:, 0]
    for state in (None, first):
        inputs = x.clone().requires_grad_()
        (states, last), (expected, right_last) = ours(inputs, state), theirs(inputs, state)
        got, right = [states, *tensors(last)], [expected, *tensors(right_last)]
        assert_close(got, right)
        assert_same_gradients((ours, theirs), got, right, [inputs, *tensors(first)])


@settings(max_examples=30)
@given(lengths=lengths_of_texts, batch_first=st.booleans(), more=st.integers(0, 2))
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, CarryLSTM])
def test_the_same_bits_in_every_kind(
    kind: type[Recurrent], lengths: list[int], batch_first: bool, more: int
) -> None:
    torch.manual_seed(0)
    module = kind(INPUTS, HIDDEN, bidirectional=True, batch_first=batch_first)
    values, texts = torch.randn(sum(lengths), INPUTS), range(len(lengths))
    ragged = Ragged(values, np.array([0, *np.cumsum(lengths)]))
    states, last = module(ragged)
    padded = torch.full((len(lengths), max(lengths) + more, INPUTS), torch.nan)
    for text, length in enumerate(lengths):
        padded[text, :length] = ragged[text]
    turned = padded if batch_first else padded.transpose(0, 1)
    other, other_last = module(turned, lengths=lengths)
    other = other if batch_first else other.transpose(0, 1)
    for text, length in enumerate(lengths):
        assert torch.equal(other[text, :length], states[text])
        assert not other[text, length:].any()
    for one, same in zip(tensors(last), tensors(other_last), strict=True):
        assert torch.equal(one, same)
    if all(lengths):
        packed, packed_last = module(pack_sequence([ragged[text] for text in texts], False))
        filled, _ = pad_packed_sequence(packed, True, total_length=max(lengths) + more)
        assert torch.equal(filled, other)
        for one, same in zip(tensors(last), tensors(packed_last), strict=True):
            assert torch.equal(one, same)


@pytest.mark.parametrize(
    ("batch", "how", "rule"),
    [
        (torch.zeros(2, 3, INPUTS), {"lengths": [1]}, r"lengths must be \[3\] whole numbers"),
        (torch.zeros(2, 3, INPUTS), {"lengths": [1, 1, 0.5]}, "whole numbers"),
        (torch.zeros(2, 3, INPUTS), {"lengths": [1, 3, 0]}, "a text has 0 to 2 tokens, one has 3"),
        (torch.zeros(2, 3, INPUTS), {"lengths": [1, -1, 0]}, "0 to 2 tokens, one has -1"),
        (torch.zeros(INPUTS), {}, "a padded batch has 3 dimensions"),
        (torch.zeros(2, INPUTS), {"lengths": [1]}, "a padded batch has 3 dimensions"),
        (pack_sequence([torch.zeros(2, INPUTS)]), {"lengths": [2]}, "not with a PackedSequence"),
        (Ragged(np.zeros((2, INPUTS)), np.array([0, 2])), {}, "a Ragged of a tensor"),
        (Ragged(torch.zeros(2), np.array([0, 2])), {}, r"x must be \[tokens, 3\], it is \[2\]"),
        ([[0.0]], {}, "not a list"),
    ],
)
def test_what_does_not_fit_is_refused(batch: Any, how: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        LSTM(INPUTS, HIDDEN)(batch, **how)


def batches(texts: int = 3, steps: int = 5) -> dict[str, tuple[Any, dict[str, Any]]]:
    """One of each kind; of texts the second is the longest."""
    x = torch.randn(texts, steps, INPUTS)
    lengths = torch.tensor([2, steps, *range(3, texts + 1)])
    offsets = np.array([0, 0, *lengths.cumsum(0)])
    return {
        "whole": (x, {}),
        "one text": (x[0], {}),
        "lengths": (x, {"lengths": lengths}),
        "packed": (pack_padded_sequence(x, lengths, True, enforce_sorted=False), {}),
        "ragged": (Ragged(torch.randn(offsets[-1], INPUTS), offsets), {}),
    }


@pytest.mark.parametrize("kind", batches())
def test_compiles_whole(kind: str) -> None:
    """As one graph, without a break, and to the same bits, forward and backward, in two sizes."""
    torch.manual_seed(0)
    module = LSTM(INPUTS, HIDDEN, 2, batch_first=True, bidirectional=True)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in ((3, 5), (4, 7)):
        batch, how = batches(*size)[kind]
        results = []
        for run in (module, compiled):
            states, (h, c) = run(batch, **how)
            values: Any = {"packed": "data", "ragged": "values"}.get(kind)
            values = getattr(states, values) if values else states
            results.append([values, h, c, *gradients([values, h, c], list(module.parameters()))])
        for got, expected in zip(*results, strict=True):
            assert torch.equal(got, expected)
