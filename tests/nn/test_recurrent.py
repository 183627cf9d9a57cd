"""What models written for torch.nn do to its modules besides calling them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim import SGD

from carryline.nn import GRU, LSTM, MODULES, RNN, CarryLSTM, Recurrent

TORCH: dict[type[Recurrent], Any] = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}
INPUTS, HIDDEN = 3, 4

known = pytest.mark.parametrize("kind", TORCH, ids=lambda kind: kind.__name__)
X = torch.randn(5, 2, INPUTS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [LSTM, CarryLSTM])
def test_first_states_as_a_list(kind: type[Recurrent]) -> None:
    module = kind(INPUTS, HIDDEN, 2)
    h, c = torch.randn(2, 2, HIDDEN), torch.randn(2, 2, HIDDEN)
    expected, (last, _) = module(X, (h, c))
    got, (other, _) = module(X, [h, c])
    assert torch.equal(got, expected)
    assert torch.equal(other, last)
    alone, _ = module(X[:, 0], [h[:, 0], c[:, 0]])
    assert torch.equal(alone, module(X[:, 0], (h[:, 0], c[:, 0]))[0])
    sizes = kind(INPUTS, [4, 3])
    state = sizes(X)[1]
    assert torch.equal(sizes(X, list(state))[0], sizes(X, state)[0])


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("sequence", [list, tuple])
def test_first_states_that_are_no_pair(count: int, sequence: Any) -> None:
    with pytest.raises(ValueError, match=r"hx must be \(h, c\) for LSTM"):
        LSTM(INPUTS, HIDDEN)(X, sequence([torch.zeros(1, 2, HIDDEN)] * count))


def test_layers_in_the_place_of_a_pair_are_refused() -> None:
    layers = [torch.zeros(1, 2, HIDDEN)] * 2
    with pytest.raises(ValueError, match=r"first states must be \[\[1, 2, 4\], \[1, 2, 4\]\]"):
        LSTM(INPUTS, HIDDEN, 2)(X, layers)


@known
def test_what_models_read(kind: type[Recurrent]) -> None:
    ours, theirs = kind(INPUTS, HIDDEN, 2, bidirectional=True), TORCH[kind](INPUTS, HIDDEN)
    assert ours.mode == theirs.mode
    assert len(ours.all_weights) == 4  # two layers, two directions
    listed = [weight for own in ours.all_weights for weight in own]
    assert [id(weight) for weight in listed] == [id(weight) for weight in ours.parameters()]
    assert all(len(own) == 2 for own in kind(INPUTS, HIDDEN, bias=False).all_weights)


def weight_normed(module: Any) -> None:
    parametrizations.weight_norm(module, "weight_hh_l0")


def orthogonal(module: Any) -> None:
    parametrizations.orthogonal(module, "weight_hh_l0")


def weight_normed_before_each_call(module: Any) -> None:
    with pytest.warns(FutureWarning, match="weight_norm` is deprecated"):
        torch.nn.utils.weight_norm(module, "weight_hh_l0")


def pruned(module: Any) -> None:
    prune.l1_unstructured(module, "weight_hh_l0", amount=0.5)  # type: ignore[no-untyped-call]


def bias_pruned(module: Any) -> None:
    prune.l1_unstructured(module, "bias_ih_l0", amount=0.5)  # type: ignore[no-untyped-call]


MADE = [weight_normed, orthogonal, weight_normed_before_each_call, pruned, bias_pruned]


@known
@pytest.mark.parametrize("make", MADE)
def test_torch_gets_the_weights_that_others_make(kind: type[Recurrent], make: Any) -> None:
    """After a step of the optimiser, too, when they were not made anew yet."""
    torch.manual_seed(0)
    module, theirs = kind(INPUTS, HIDDEN, 2), TORCH[kind](INPUTS, HIDDEN, 2)
    make(module)
    optimizer = SGD(module.parameters(), lr=0.5)
    for _ in range(2):
        assert not any(theirs.load_state_dict(module.torch_state_dict()))
        states, _ = module(X)
        torch.testing.assert_close(states, theirs(X)[0], rtol=0, atol=5e-5)
        optimizer.zero_grad()
        torch.autograd.backward(states.square().sum())
        optimizer.step()
    assert not parametrize.is_parametrized(theirs)


def test_modules_are_none_of_torchs() -> None:
    """As docs/pytorch.md says; whoever asks must ask for Recurrent."""
    assert not any(issubclass(kind, torch.nn.RNNBase) for kind in MODULES.values())


def test_bfloat16_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"both be float32 or both float64, they are torch\.bfl"):
        LSTM(INPUTS, HIDDEN).bfloat16()(X.bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_writing_to_states_before_backward_is_noticed(dtype: torch.dtype) -> None:
    states, _ = LSTM(INPUTS, HIDDEN, dtype=dtype)(X.to(dtype))
    states.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(states.sum())
