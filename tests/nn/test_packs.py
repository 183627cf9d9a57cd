"""One pack for each set of weights: shared, made anew when they change, gone when they are."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from carryline.nn import GRU, LSTM, MODULES, Recurrent, packs
from carryline.recurrence import kernels, machine

INPUTS, HIDDEN = 4, 6
X = torch.ones(5, 2, INPUTS)

each = pytest.mark.parametrize("kind", MODULES.values(), ids=MODULES)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precision of each layer that is packed from now on."""
    precisions: list[str] = []

    class Counted(kernels.Layer):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            precisions.append(given[-1])

    monkeypatch.setattr(kernels, "Layer", Counted)
    monkeypatch.setattr(packs, "_packs", {})
    return precisions


def step(module: Recurrent, x: Tensor = X) -> Tensor:
    states: Tensor = module(x)[0]
    backward(states.square().sum())
    return states.detach()


@each
@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_packed_once(kind: type[Recurrent], bias: bool, made: list[str]) -> None:
    module = kind(INPUTS, HIDDEN, 2, bidirectional=True, bias=bias)
    first = step(module)
    for _ in range(3):
        assert torch.equal(step(module), first)
        with torch.no_grad():
            module(X[:1])  # as in decoding, a step at a time
    assert len(made) == 2  # a layer each


def test_kept_outputs_keep_no_packs() -> None:
    module, x = LSTM(256, 256), torch.ones(1, 256)
    tracemalloc.start()
    kept = [module(x)[0].detach() for _ in range(50)]
    graphs = [module(x)[0] for _ in range(50)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 2.1 MB of weights: their copy and their pack, and what is kept of 100 steps.
    assert held < 8e6
    assert len(kept) == len(graphs)


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "in place": lambda w: w.mul_(2),
    "data in place": lambda w: w.data.mul_(2),
    "data set": lambda w: setattr(w, "data", w.data * 2),
    "NumPy": lambda w: w.detach().numpy().__imul__(2),
    "one element": lambda w: w.data[-1:].mul_(2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "name", ["weight_ih_l0", "weight_hh_l0_reverse", "bias_ih_l0", "bias_hh_l0"]
)
def test_every_change_is_seen(change: Callable[[Tensor], Any], name: str) -> None:
    """Also those of which torch counts no version."""
    module = GRU(INPUTS, HIDDEN, bidirectional=True)
    torch.nn.init.uniform_(module.get_parameter("bias_hh_l0"))
    torch.nn.init.uniform_(module.get_parameter("bias_ih_l0"))
    before = module(X)[0].detach()
    with torch.no_grad():
        change(module.get_parameter(name))
    got = step(module)
    assert not torch.equal(got, before)
    fresh = GRU(INPUTS, HIDDEN, bidirectional=True)
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(got, step(fresh))
    for p, other in zip(module.parameters(), fresh.parameters(), strict=True):
        assert p.grad is not None
        assert other.grad is not None
        assert torch.equal(p.grad, other.grad)


def test_a_new_tensor_where_an_old_one_was() -> None:
    """As weight_norm makes them at every call: the allocator gives the same place again."""
    module = torch.nn.utils.parametrizations.weight_norm(LSTM(INPUTS, HIDDEN), "weight_hh_l0")
    for factor in (1.0, 2.0, 3.0):
        module.parametrizations.weight_hh_l0.original0.data.fill_(factor)
        got = module(X)[0]
        alone = LSTM(INPUTS, HIDDEN)
        alone.load_state_dict(module.torch_state_dict())
        assert torch.equal(got, alone(X)[0])


def test_backward_multiplies_by_the_weights_that_it_finds() -> None:
    """Weights swapped for an evaluation between forward and backward, through `.data`."""
    module = LSTM(INPUTS, HIDDEN)
    step(module)
    expected = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    module.zero_grad()
    states, _ = module(X)
    own = [p.data.clone() for p in module.parameters()]
    for p in module.parameters():
        p.data.zero_()
    module(X)
    for p, value in zip(module.parameters(), own, strict=True):
        p.data.copy_(value)
    backward(states.square().sum())
    for p, value in zip(module.parameters(), expected, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, value)


def test_packs_go_with_their_weights() -> None:
    modules = [LSTM(INPUTS, HIDDEN) for _ in range(3)]
    outputs = [module(X)[0] for module in modules]
    assert len(packs._packs) == 3
    del modules[0], outputs[0]
    gc.collect()
    assert len(packs._packs) == 2
    modules.clear()
    gc.collect()
    assert len(packs._packs) == 2  # backward is still to come
    outputs.clear()
    gc.collect()
    assert not packs._packs


def test_no_more_are_kept_than_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MOST", 3)
    modules = [LSTM(INPUTS, HIDDEN) for _ in range(5)]
    first = [module(X)[0].detach() for module in modules]
    assert len(packs._packs) == 3
    assert all(torch.equal(m(X)[0], states) for m, states in zip(modules, first, strict=True))
    assert len(packs._packs) == 3


def test_the_one_unused_for_longest_goes_first(
    monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    monkeypatch.setattr(packs, "MOST", 2)
    one, two, three = (LSTM(INPUTS, HIDDEN) for _ in range(3))
    for module in (one, two, one, three, one):
        module(X)
    assert len(made) == 3


def test_inference_tensors(made: list[str]) -> None:
    """Which have no version."""
    with torch.inference_mode():
        module = LSTM(INPUTS, HIDDEN)
        before = module(X)[0]
        assert torch.equal(module(X)[0], before)
        assert len(made) == 1
        module.get_parameter("weight_hh_l0").mul_(2)
        assert not torch.equal(module(X)[0], before)


def test_each_precision_and_instruction_set_has_its_own(
    instruction_set: str, made: list[str]
) -> None:
    module = LSTM(INPUTS, HIDDEN)
    for _ in range(2):
        module(X)
        with torch.autocast("cpu", torch.bfloat16):
            module(X)
        assert made == ["fp32", "bf16"]
    machine.use_instruction_set("")
    step(module)
    assert len(made) == 2 + (instruction_set != machine.instruction_set())


def test_saved_tensors_may_be_moved(made: list[str]) -> None:
    """As hooks do that keep them on disk: the weights are packed again."""
    module = LSTM(INPUTS, HIDDEN)
    step(module)
    expected = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    module.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        step(module)
    assert len(made) == 2
    for p, value in zip(module.parameters(), expected, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, value)


def test_threads_share_packs(made: list[str]) -> None:
    modules = [LSTM(INPUTS, HIDDEN, threads=1) for _ in range(4)]
    expected = [module(X)[0].detach() for module in modules]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(50):
            for i, module in enumerate(modules):
                with torch.no_grad():
                    if not torch.equal(module(X)[0], expected[i]):
                        wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(packs._packs) == 4
    assert len(made) < 4 + 20  # two that miss at once both pack
