"""What the kernels leave to torch's own operations: second derivatives, forward mode, torch.func.

Against the kernels, torch's own modules on the same weights, and finite differences. In float64
two right answers of order 1 differ by some roundings of 1e-16; 1e-12 leaves room for thousands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from carryline import Ragged
from carryline.nn import GRU, LSTM, MODULES, RNN, Recurrent, operators, plain
from carryline.recurrence import cells
from carryline.recurrence.cells import CELLS, Cell

# torch itself calls torch.jit.script on entering forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is:DeprecationWarning")

TORCH: dict[type[Recurrent], Any] = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}
functional: Any = torch.autograd.functional
INPUTS, HIDDEN, STEPS, TEXTS = 3, 4, 5, 2
LENGTHS = [2, 0, 5, 1, 5]

each = pytest.mark.parametrize("kind", MODULES.values(), ids=MODULES)
known = pytest.mark.parametrize("kind", TORCH, ids=lambda kind: kind.__name__)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def assert_close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def twins(kind: type[Recurrent]) -> tuple[Recurrent, Any]:
    torch.manual_seed(0)
    theirs = TORCH[kind](INPUTS, HIDDEN, 2, bidirectional=True, dtype=torch.float64)
    ours = kind(INPUTS, HIDDEN, 2, bidirectional=True, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("lengths", [LENGTHS, [3], [0, 0], []], ids=str)
@pytest.mark.parametrize("distinct", [False, True])
def test_agrees_with_the_kernels(cell: Cell, lengths: list[int], distinct: bool) -> None:
    tokens, texts = sum(lengths), len(lengths)
    shapes = cells.shapes(cell, INPUTS, HIDDEN).values()
    weights = [normal(*shape, seed=i) for i, shape in enumerate([*shapes, *shapes])]
    row = torch.arange(tokens, dtype=torch.int32) % 4 if distinct else None
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    first = normal(2, texts, HIDDEN), normal(2, texts, HIDDEN, seed=1)
    given = (normal(4 if distinct else tokens, INPUTS), row, offsets, *first, weights, cell)
    assert_close(plain.recurrence(*given), operators.recurrence(*given, "fp32", 1))


@each
@pytest.mark.parametrize("bidirectional", [False, True])
def test_differentiates_twice(kind: type[Recurrent], bidirectional: bool) -> None:
    torch.manual_seed(0)
    module = kind(2, 2, bidirectional=bidirectional, dtype=torch.float64)
    names = [name for name, _ in module.named_parameters()]
    offsets = np.array([0, 2, 2, 3])

    def outputs(x: Tensor, *weights: Tensor) -> Tensor:
        named = dict(zip(names, weights, strict=True))
        states, _ = torch.func.functional_call(module, named, (Ragged(x, offsets),))
        return states.values  # type: ignore[no-any-return]

    x = normal(3, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(outputs, (x, *module.parameters()))


def penalty(module: Any) -> list[Tensor]:
    """Gradients of a gradient penalty whose inner loss is linear in the output."""
    x = normal(STEPS, TEXTS, INPUTS).requires_grad_()
    states, _ = module(x)
    (d,) = torch.autograd.grad(states.sum(), x, create_graph=True)
    names = ["weight_ih_l0", "weight_hh_l1_reverse", "bias_ih_l0"]
    weights = [module.get_parameter(name) for name in names]
    return list(torch.autograd.grad(d.square().sum(), [x, *weights]))


@known
def test_gradient_penalty_of_a_linear_loss(kind: type[Recurrent]) -> None:
    ours, theirs = twins(kind)
    got = penalty(ours)
    assert all(d.abs().max() > 1e-4 for d in got)
    assert_close(got, penalty(theirs))


def test_third_derivative() -> None:
    ours, theirs = twins(LSTM)
    found = []
    for module in (ours, theirs):
        x = normal(STEPS, TEXTS, INPUTS).requires_grad_()
        d = module(x)[0].sum()
        for _ in range(3):
            (d,) = torch.autograd.grad(d, x, create_graph=True)
            d = d.sum()
        found.append(d.detach())
    assert abs(found[0]) > 1e-4
    assert_close(found[0], found[1])


def test_bf16_products_differentiate_twice() -> None:
    module, x = LSTM(INPUTS, HIDDEN), torch.ones(STEPS, TEXTS, INPUTS, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        states, _ = module(x)
        (d,) = torch.autograd.grad(states.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(d.sum(), x)
    assert d.dtype == second.dtype == torch.float32
    assert second.abs().max() > 1e-4


def total(module: Any) -> Callable[[Tensor], Tensor]:
    """Linear in the output, and in the final states."""

    def run(x: Tensor) -> Tensor:
        states, last = module(x)
        finals = last if isinstance(last, tuple) else (last,)
        return states.sum() + sum(s.sum() for s in finals)  # type: ignore[no-any-return]

    return run


def dual(f: Any, x: Tensor, tangent: Tensor) -> Tensor:
    with forward_ad.dual_level():
        given = forward_ad.make_dual(x, tangent)  # type: ignore[no-untyped-call]
        found = forward_ad.unpack_dual(f(given)).tangent  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


TANGENT = normal(STEPS, TEXTS, INPUTS, seed=5)
TRANSFORMS: dict[str, Callable[[Any, Tensor], Any]] = {
    "grad": lambda f, x: torch.func.grad(f)(x),
    "grad of grad": lambda f, x: torch.func.grad(lambda x: torch.func.grad(f)(x).sum())(x),
    "vjp": lambda f, x: torch.func.vjp(f, x)[1](torch.ones((), dtype=x.dtype)),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (TANGENT,)),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "hessian": lambda f, x: torch.func.hessian(f)(x),
    "forward_ad": lambda f, x: dual(f, x, TANGENT),
    "forward over backward": lambda f, x: dual(torch.func.grad(f), x, TANGENT),
    "hvp": lambda f, x: functional.hvp(f, x, TANGENT),
    "functional hessian": lambda f, x: functional.hessian(f, x),
    "functional jvp": lambda f, x: functional.jvp(f, x, TANGENT),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@known
def test_transforms_are_torchs(kind: type[Recurrent], transform: Callable[..., Any]) -> None:
    x, (ours, theirs) = normal(STEPS, TEXTS, INPUTS), twins(kind)
    for module in (ours, theirs):
        module.requires_grad_(False)
    assert_close(transform(total(ours), x), transform(total(theirs), x))


@known
def test_whole_jacobians(kind: type[Recurrent]) -> None:
    x, found = normal(STEPS, TEXTS, INPUTS), []
    for module in twins(kind):
        run = lambda x, module=module: module(x)[0]  # noqa: E731
        found.append(functional.jacobian(run, x))
        assert_close(torch.func.jacrev(run)(x), found[-1])
        assert_close(torch.func.jacfwd(run)(x), found[-1])
    assert_close(*found)


def test_many_gradients_at_once_are_refused() -> None:
    """By is_grads_batched, not by torch.func."""
    with pytest.raises(RuntimeError, match="Batching rule not implemented for carryline::"):
        functional.jacobian(
            lambda x: LSTM(INPUTS, HIDDEN)(x)[0], torch.ones(STEPS, INPUTS), vectorize=True
        )


ORDER = torch.tensor([1, 0, 3, 2])
BATCHES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "ragged": lambda m, x: m(Ragged(x.reshape(-1, INPUTS), np.array([0, 3, 3, 10])))[0].values,
    "lengths": lambda m, x: m(x, lengths=[2, 5])[0],
    "packed": lambda m, x: (
        m(PackedSequence(x.reshape(-1, INPUTS), torch.tensor([4, 3, 2, 1]), ORDER, ORDER))[0].data
    ),
    "one text": lambda m, x: m(x.reshape(-1, INPUTS))[0],
}


@each
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_every_kind_of_batch(kind: type[Recurrent], batch: Callable[..., Tensor]) -> None:
    """Forward mode and torch.func beside the kernels' own gradient."""
    torch.manual_seed(0)
    x = normal(STEPS, TEXTS, INPUTS).requires_grad_()
    module = kind(INPUTS, HIDDEN, bidirectional=True, dtype=torch.float64)
    (expected,) = torch.autograd.grad(batch(module, x).square().sum(), x)
    plain_x = x.detach()

    def loss(x: Tensor) -> Tensor:
        return batch(module, x).square().sum()

    assert_close(torch.func.grad(loss)(plain_x), expected)
    assert_close(torch.func.jvp(loss, (plain_x,), (TANGENT,))[1], (expected * TANGENT).sum())
    assert_close(dual(loss, plain_x, TANGENT), (expected * TANGENT).sum())


@each
def test_vmap_over_inputs_and_over_weights(kind: type[Recurrent]) -> None:
    modules = [kind(INPUTS, HIDDEN, dtype=torch.float64) for _ in range(3)]
    xs = normal(3, STEPS, TEXTS, INPUTS)
    same = torch.func.vmap(lambda x: modules[0](x)[0])(xs)
    assert_close(same, torch.stack([modules[0](x)[0] for x in xs]))
    weights, _ = torch.func.stack_module_state(modules)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(modules[0], weights, (x,))[0].square().sum()  # type: ignore[no-any-return]

    found = torch.func.vmap(torch.func.grad(loss))(weights, xs)
    for i, (module, x) in enumerate(zip(modules, xs, strict=True)):
        names, values = zip(*module.named_parameters(), strict=True)
        expected = torch.autograd.grad(module(x)[0].square().sum(), values)
        for name, value in zip(names, expected, strict=True):
            assert_close(found[name][i], value)


@pytest.fixture
def compiled() -> Iterator[Any]:
    reset: Any = torch._dynamo.reset
    reset()
    yield torch.compile(LSTM(INPUTS, HIDDEN, dtype=torch.float64), backend="aot_eager")
    reset()


def test_compiled_modules_under_forward_mode(compiled: Any) -> None:
    """With weights that want no gradient; else torch refuses, as with its own modules."""
    module: Any = compiled._orig_mod.requires_grad_(False)
    x = normal(STEPS, TEXTS, INPUTS)
    compiled(x)  # for the kernels, and again for what follows
    expected = torch.func.jvp(lambda x: module(x)[0], (x,), (TANGENT,))[1]
    assert_close(dual(lambda x: compiled(x)[0], x, TANGENT), expected)


def test_second_derivatives_of_compiled_modules_are_refused(compiled: Any) -> None:
    x = normal(STEPS, TEXTS, INPUTS).requires_grad_()
    (d,) = torch.autograd.grad(compiled(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="not currently support double backward"):
        torch.autograd.backward(d.sum())


def test_forward_mode_in_another_thread_changes_no_bit() -> None:
    """A level of it is the whole process's."""
    module, x = LSTM(8, 16), torch.randn(30, 4, 8)
    expected = module(x)[0]
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with forward_ad.dual_level():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    try:
        assert (module(x)[0] == expected).all()
    finally:
        leave.set()
        thread.join()
