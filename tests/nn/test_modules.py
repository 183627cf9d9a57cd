"""The torch modules: against torch's own on the same weights, and against finite differences.

Tolerances: in float64 two right answers of order 1 differ by some roundings of 1e-16; 1e-12 leaves
room for thousands. In float32 (unit 6e-8) each state is a sum of at most 2 * 20 products behind a
tanh that is within 2e-7, and errors pass through at most 11 steps of 2 layers: some 40 units a step
make 5e-5 at most. Gradients are sums over all tokens, so they are compared with their own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from carryline import Ragged
from carryline.nn import GRU, LSTM, MODULES, RNN, Recurrent

TOLERANCE = {torch.float32: 5e-5, torch.float64: 1e-12}
TORCH: dict[type[Recurrent], Any] = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}
INPUTS, HIDDEN = 6, 20  # 20 units: whole vectors and a rest on every instruction set
LENGTHS = [4, 0, 11, 1, 7, 7]

known = pytest.mark.parametrize("kind", TORCH, ids=lambda kind: kind.__name__)
each = pytest.mark.parametrize("kind", MODULES.values(), ids=MODULES)


def ragged_of(dtype: torch.dtype, lengths: Sequence[int] = LENGTHS, width: int = INPUTS) -> Ragged:
    offsets = torch.tensor([0, *lengths]).cumsum(0).numpy()
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(sum(lengths), width, dtype=dtype, generator=generator)
    return Ragged(values.requires_grad_(), offsets)


def states_of(module: Recurrent, texts: int, dtype: torch.dtype) -> list[Tensor]:
    """Random first h, and c for cells that have one."""
    generator = torch.Generator().manual_seed(2)
    shape = (len(module.hidden_sizes) * module.directions, texts, module.hidden_sizes[0])
    return [
        torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()
        for _ in range(2 if module.cell.carry else 1)
    ]


def packed(states: Sequence[Tensor]) -> Any:
    return tuple(states) if len(states) == 2 else states[0]


def unpacked(state: Any) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def twins(kind: type[Recurrent], dtype: torch.dtype, **settings: Any) -> tuple[Recurrent, Any]:
    """One of ours and torch's own with the same weights, both biases of torch's random."""
    torch.manual_seed(0)
    theirs = TORCH[kind](INPUTS, HIDDEN, dtype=dtype, **settings)
    ours = kind(INPUTS, HIDDEN, dtype=dtype, **settings)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def a_text_at_a_time(module: Any, x: Ragged, first: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What torch's module makes of each text alone; an empty text's final state is its first."""
    outputs: list[Tensor] = []
    finals: list[list[Tensor]] = []
    for text, values in enumerate(x):
        own = [state[:, text] for state in first]
        if len(values):
            output, last = module(values, packed(own))
            outputs, own = [*outputs, output], unpacked(last)
        finals.append(own)
    return torch.cat(outputs), [torch.stack(f, dim=1) for f in zip(*finals, strict=True)]


def assert_close(got: Tensor, expected: Tensor, name: str = "") -> None:
    scale = max(1.0, float(expected.detach().abs().max()))
    tolerance = TOLERANCE[expected.dtype] * scale
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance, msg=lambda m: f"{name}: {m}")


def assert_same_gradients(ours: Recurrent, theirs: Any) -> None:
    """Torch's two biases have the same gradient; of gru's candidate only the second is ours."""
    for name, weight in ours.named_parameters():
        expected = getattr(theirs, name).grad
        if name.startswith("bias_hh"):
            expected = expected[2 * HIDDEN :]
        assert weight.grad is not None
        assert_close(weight.grad, expected, name)


@known
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_agrees_with_torch(
    kind: type[Recurrent], dtype: torch.dtype, layers: int, bidirectional: bool
) -> None:
    ours, theirs = twins(kind, dtype, num_layers=layers, bidirectional=bidirectional)
    x, other = ragged_of(dtype), ragged_of(dtype)
    first, other_first = states_of(ours, len(x), dtype), states_of(ours, len(x), dtype)
    states, last = ours(x, packed(first))
    expected, expected_last = a_text_at_a_time(theirs, other, other_first)
    assert_close(states.values, expected, "states")
    for got, final in zip(unpacked(last), expected_last, strict=True):
        assert_close(got, final, "final state")
    factor = torch.linspace(-1, 1, expected.numel(), dtype=dtype).reshape(expected.shape)
    backward((states.values * factor).sum() + sum(s.square().sum() for s in unpacked(last)))
    backward((expected * factor).sum() + sum(s.square().sum() for s in expected_last))
    assert_close(x.values.grad, other.values.grad, "x")
    for got, final in zip(first, other_first, strict=True):
        assert got.grad is not None
        assert final.grad is not None
        assert_close(got.grad, final.grad, "first state")
    assert_same_gradients(ours, theirs)


@each
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradcheck(kind: type[Recurrent], bidirectional: bool) -> None:
    torch.manual_seed(0)
    module = kind(2, 3, 2, bidirectional=bidirectional, dtype=torch.float64)
    x = ragged_of(torch.float64, [2, 0, 3], 2)
    first = states_of(module, len(x), torch.float64)
    names = [name for name, _ in module.named_parameters()]

    def outputs(values: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        state = packed(others[: len(first)])
        weights = dict(zip(names, others[len(first) :], strict=True))
        states, last = torch.func.functional_call(module, weights, (x.like(values), state))
        return (states.values, *unpacked(last))

    assert torch.autograd.gradcheck(outputs, (x.values, *first, *module.parameters()))


@each
def test_final_state_of_the_backward_direction_stands_at_the_first_token(
    kind: type[Recurrent],
) -> None:
    module, x = kind(INPUTS, HIDDEN, bidirectional=True), ragged_of(torch.float32)
    states, last = module(x)
    h = unpacked(last)[0]
    for text, own in enumerate(states):
        if len(own):
            assert torch.equal(h[0, text], own[-1, :HIDDEN])
            assert torch.equal(h[1, text], own[0, HIDDEN:])
        else:
            assert not h[:, text].any()


@each
def test_windows_carry_the_states_on(kind: type[Recurrent]) -> None:
    module, x = kind(INPUTS, HIDDEN, 2), ragged_of(torch.float32)
    whole, whole_last = module(x)
    state, pieces = None, []
    for window in x.windows(3):
        states, state = module(window, state)
        pieces.append(states)
    rejoined = torch.cat([piece[text] for text in range(len(x)) for piece in pieces])
    assert torch.equal(rejoined, whole.values)
    for got, expected in zip(unpacked(state), unpacked(whole_last), strict=True):
        assert torch.equal(got, expected)


def detached(state: Any) -> Any:
    return packed([s.detach() for s in unpacked(state)])


@known
@pytest.mark.parametrize("steps", [3, 100], ids=["truncated", "whole"])
def test_loss_at_every_position_through_time(kind: type[Recurrent], steps: int) -> None:
    """Many-to-many, truncated: the states go on from window to window, gradients do not."""
    ours, theirs = twins(kind, torch.float64)
    x = Ragged(ragged_of(torch.float64).values.detach(), ragged_of(torch.float64).offsets)
    state: Any = packed([s.detach() for s in states_of(ours, len(x), torch.float64)])
    other = state
    for window in x.windows(steps):
        states, state = ours(window, detached(state))
        backward(states.values.square().sum())
        expected, last = a_text_at_a_time(theirs, window, unpacked(detached(other)))
        other = packed(last)
        backward(expected.square().sum())
    assert_same_gradients(ours, theirs)


def test_truncation_changes_the_gradient() -> None:
    gradients, values = [], ragged_of(torch.float64).values.detach()
    for steps in (3, 100):
        ours, _ = twins(LSTM, torch.float64)
        state: Any = None
        for window in Ragged(values, np.array([0, len(values)])).windows(steps):
            states, state = ours(window, None if state is None else detached(state))
            backward(states.values.square().sum())
        gradients.append(ours.get_parameter("weight_hh_l0").grad)
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3)


@each
def test_initialised_as_keras_does(kind: type[Recurrent]) -> None:
    torch.manual_seed(3)
    module = kind(48, 40, 2, bidirectional=True)
    gates = module.cell.gates
    for name, weight in module.named_parameters():
        if name.startswith("weight_ih"):
            bound = (6 / (weight.shape[1] + gates * 40)) ** 0.5  # Glorot: fan in + fan out
            assert weight.abs().max() <= bound
            assert weight.abs().max() > 0.99 * bound
            assert abs(weight.mean()) < 4 * bound / (3 * weight.numel()) ** 0.5
        elif name.startswith("weight"):
            torch.testing.assert_close(weight.T @ weight, torch.eye(40), rtol=0, atol=1e-5)
        elif module.cell.carry:
            parts = [set(part.tolist()) for part in weight.chunk(4)]
            assert parts == [{0}, {1}, {0}, {0}]  # i, f, g, o
        else:
            assert not weight.any()


@each
def test_dropout_between_layers_while_training_only(kind: type[Recurrent]) -> None:
    torch.manual_seed(5)
    module, x = kind(INPUTS, HIDDEN, 2, dropout=0.5), ragged_of(torch.float32)
    first, second = module(x)[0].values, module(x)[0].values
    assert not torch.equal(first, second)
    module.eval()
    calm = module(x)[0].values
    assert torch.equal(calm, module(x)[0].values)
    module.dropout = 0.0
    assert torch.equal(calm, module.train()(x)[0].values)
    single = kind(INPUTS, HIDDEN, 1, dropout=0.5)
    assert torch.equal(single(x)[0].values, single(x)[0].values)


@each
@pytest.mark.parametrize("lengths", [[], [0, 0]], ids=["no texts", "empty texts"])
def test_nothing_to_walk(kind: type[Recurrent], lengths: list[int]) -> None:
    module = kind(INPUTS, HIDDEN, 2, bidirectional=True)
    x = ragged_of(torch.float32, lengths)
    states, last = module(x)
    assert states.values.shape == (0, 2 * HIDDEN)
    assert all(s.shape == (4, len(lengths), HIDDEN) and not s.any() for s in unpacked(last))
    backward(states.values.sum())
    assert all(p.grad is None or not p.grad.any() for p in module.parameters())


@each
def test_layers_of_different_sizes(kind: type[Recurrent]) -> None:
    """Their final states are a list, which goes in again as it came out."""
    module, x = kind(INPUTS, [12, 7]), ragged_of(torch.float32)
    states, last = module(x)
    assert states.values.shape == (sum(LENGTHS), 7)
    for part in last if kind.cell.carry else [last]:
        assert [layer.shape for layer in part] == [(1, len(x), 12), (1, len(x), 7)]
    window, rest = x.windows(6)
    _, state = module(rest, module(window)[1])
    for got, expected in zip(state, last, strict=True):
        assert all(torch.equal(*pair) for pair in zip(got, expected, strict=True))


def test_what_does_not_fit_is_refused() -> None:
    module, narrow = LSTM(INPUTS, HIDDEN), Ragged(torch.zeros(3, 2), np.array([0, 3]))
    with pytest.raises(ValueError, match=r"x must be \[tokens, 6\], it is \[3, 2\]"):
        module(narrow)
    with pytest.raises(ValueError, match=r"they are torch\.float64, torch\.float32"):
        module(ragged_of(torch.float64))
    x, h = ragged_of(torch.float32), torch.zeros(1, 6, HIDDEN)
    with pytest.raises(ValueError, match=r"hx must be \(h, c\) for LSTM"):
        module(x, h)
    with pytest.raises(ValueError, match=r"first states must be \[\[1, 6, 20\]\] by layer, they"):
        module(x, (h, h[:, :3]))
    with pytest.raises(ValueError, match=r"hx and weights must both be float32"):
        module(x, (h, h.double()))
    with pytest.raises(ValueError, match=r"hx must be h for GRU"):
        GRU(INPUTS, HIDDEN)(x, (h, h))


class TestInThePlaceOfTorchs:
    @known
    def test_constructor_takes_what_torchs_takes(self, kind: type[Recurrent]) -> None:
        """In the same order; of the rest of torch's, what models read and call is there."""
        given: list[Any] = [INPUTS, HIDDEN, 2, True, True, 0.25, True]
        if kind is RNN:
            given.insert(3, "tanh")
        ours, theirs = kind(*given), TORCH[kind](*given)
        for name in (
            "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
            "bidirectional", "proj_size",
        ):  # fmt: skip
            assert getattr(ours, name) == getattr(theirs, name), name
        ours.flatten_parameters()
        kept = {n: p.shape for n, p in theirs.named_parameters() if "bias_hh" not in n}
        own = {n: p.shape for n, p in ours.named_parameters() if "bias_hh" not in n}
        assert own == kept
        meta = kind(INPUTS, HIDDEN, device="meta", dtype=torch.float64)
        assert {(p.device.type, p.dtype) for p in meta.parameters()} == {("meta", torch.float64)}
        with pytest.raises(TypeError):
            kind(*given, 0, None, None, 1)  # type: ignore[call-arg]  # threads: by name alone

    @pytest.mark.parametrize(
        ("how", "rule"),
        [
            ({"proj_size": 3}, r"proj_size must be 0 \(there are no projections\), it is 3"),
            ({"num_layers": 0}, r"1 or more, they are 6, 20, 0"),
            ({"hidden_size": 0}, "1 or more, they are 6, 0, 1"),
            ({"dropout": 1.5}, "0 <= dropout <= 1, it is 1.5"),
            ({"nonlinearity": "relu"}, "nonlinearity must be 'tanh', it is 'relu'"),
        ],
    )
    def test_what_we_do_not_have_is_refused(self, how: dict[str, Any], rule: str) -> None:
        kind = RNN if "nonlinearity" in how else LSTM
        with pytest.raises(ValueError, match=rule):
            kind(**{"input_size": INPUTS, "hidden_size": HIDDEN, **how})

    @known
    def test_without_biases(self, kind: type[Recurrent]) -> None:
        ours, theirs = twins(kind, torch.float64, bias=False, num_layers=2, bidirectional=True)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        x = torch.randn(4, 3, INPUTS, dtype=torch.float64)
        states, expected = ours(x)[0], theirs(x)[0]
        assert_close(states, expected)
        backward(states.square().sum())
        backward(expected.square().sum())
        assert_same_gradients(ours, theirs)

    @known
    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize("assign", [True, False])
    def test_state_dicts_both_ways(self, kind: type[Recurrent], strict: bool, assign: bool) -> None:
        """Torch's into ours, inside somebody else's model, and ours into torch's."""
        size = (INPUTS, HIDDEN, 2)
        theirs, other = (
            torch.nn.ModuleDict({"inner": torch.nn.Sequential(TORCH[kind](*size))})
            for _ in range(2)
        )
        ours, copy = (
            torch.nn.ModuleDict({"inner": torch.nn.Sequential(kind(*size))}) for _ in range(2)
        )
        weights = theirs.state_dict()
        before = dict(weights)
        assert not any(ours.load_state_dict(weights, strict=strict, assign=assign))
        assert weights.keys() == before.keys()
        x = torch.randn(4, 3, INPUTS)
        expected = theirs["inner"](x)[0]
        assert_close(ours["inner"](x)[0], expected)
        assert not any(copy.load_state_dict(ours.state_dict(), strict=strict, assign=assign))
        assert_close(copy["inner"](x)[0], expected)
        inner: Any = ours["inner"]
        assert not any(other["inner"][0].load_state_dict(inner[0].torch_state_dict()))  # type: ignore[index]
        assert_close(other["inner"](x)[0], expected)

    @known
    def test_state_dicts_that_do_not_fit(self, kind: type[Recurrent]) -> None:
        ours, weights = kind(INPUTS, HIDDEN), TORCH[kind](INPUTS, HIDDEN).state_dict()
        with pytest.raises(RuntimeError, match="size mismatch for weight_hh_l0"):
            ours.load_state_dict(TORCH[kind](INPUTS, HIDDEN + 1).state_dict())
        with pytest.raises(RuntimeError, match="Unexpected key.*bias_ih_l1"):
            ours.load_state_dict(TORCH[kind](INPUTS, HIDDEN, 2).state_dict())
        with pytest.raises(RuntimeError, match="Unexpected key.*bias"):
            kind(INPUTS, HIDDEN, bias=False).load_state_dict(weights)
        del weights["bias_ih_l0"], weights["bias_hh_l0"]
        missing, _ = ours.load_state_dict(weights, strict=False)
        assert "bias_ih_l0" in missing
        assert torch.equal(ours.get_parameter("weight_hh_l0"), weights["weight_hh_l0"])
