"""The recurrence as operators of torch, so that torch.compile and torch.library know it.

    carryline::recurrence           one layer, all directions: `kernels.Layer` on tensors
    carryline::recurrence_backward  its gradient
    carryline::time_major           where each token of a batch stands in the kernels' order
    carryline::rows                 a batch brought to that order, or back

Batches are described by offsets, a tensor [texts + 1] int64 on the CPU; `ragged.plan_of` keeps the
plan that is made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from carryline.nn import plain
from carryline.nn.packs import packed
from carryline.recurrence import cells, kernels, machine
from carryline.recurrence.cells import Cell
from carryline.recurrence.ragged import plan_of

_library: Any = torch.library.Library("carryline", "DEF")  # type: ignore[no-untyped-call]
for _schema in (
    "recurrence(Tensor x, Tensor? row, Tensor offsets, Tensor h, Tensor c, Tensor[] weights, "
    "str cell, str precision, int? threads, bool save=False) -> (Tensor, Tensor, Tensor, Tensor)",
    "recurrence_backward(Tensor? d_states, Tensor? d_h, Tensor? d_c, Tensor x, Tensor? row, "
    "Tensor offsets, Tensor[] weights, Tensor[] trace, str cell, str precision, int? threads, "
    "bool by_x) -> Tensor[]",
    "time_major(Tensor offsets, Tensor begin, SymInt stride, SymInt steps, SymInt tokens, "
    "SymInt rows) -> (Tensor, Tensor, Tensor, Tensor)",
    "rows(Tensor x, Tensor index, Tensor back, bool fills, bool drops) -> Tensor",
):
    _library.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))


def recurrence(
    x: Tensor,
    row: Tensor | None,
    offsets: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    cell: Cell,
    precision: str,
    threads: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer over a batch in the kernels' order (see `ragged.Plan`).

    x: [rows, input]; row: [tokens] int32, the row of x that each token reads, None for its own;
    h, c: first states by rank [directions, texts, hidden]; weights: of each direction those of
    `cells.shapes`, in that order; precision: of the products, "fp32" or "bf16"; threads: None for
    all cores. Returns the states [tokens, directions * hidden] and the final h and c.
    """
    if _transformed(x, h, c, *weights):
        return plain.recurrence(x, row, offsets, h, c, weights, cell)
    given = (x, row, offsets, h, c, list(weights), cell.name, precision, threads)
    states, last_h, last_c, _ = torch.ops.carryline.recurrence.default(*given)
    return states, last_h, last_c


def time_major(
    offsets: Tensor, begin: Tensor, stride: int, steps: int, tokens: int, rows: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where the tokens of a batch stand that has token t of text i in row begin[i] + stride * t.

    offsets: [texts + 1]; begin: [texts] int64; steps: more tokens no text may have; tokens: of all
    texts; rows: of the batch, at least as many. Returns int64 tensors on the CPU: the row of each
    token in the kernels' order [tokens], the place in that order of each row [rows] (`tokens` for
    rows that hold none), the text at each rank and the rank of each text [texts].
    Raises `ValueError` when a text has fewer than 0 or more than `steps` tokens.
    """
    found: tuple[Tensor, Tensor, Tensor, Tensor] = torch.ops.carryline.time_major.default(
        offsets, begin, stride, steps, tokens, rows
    )
    return found


def rows(
    x: Tensor, index: Tensor, back: Tensor, fills: bool = False, drops: bool = False
) -> Tensor:
    """x[index] of x [rows, width], whose gradient is gathered by `back`, the inverse of index.

    A row that one of them lacks is written as the other's length, which stands for zeros: `fills`
    says that index may have such, `drops` that back may. For 20,000 rows of 64 the gradient of
    x[index] takes torch 8 ms, and so does index_select's; this one takes 0.5.
    """
    if _transformed(x):
        return _rows(x, index, back, fills, drops)
    taken: Tensor = torch.ops.carryline.rows.default(x, index, back, fills, drops)
    return taken


def _transformed(*given: Tensor | None) -> bool:
    """Whether torch.func or forward mode is at work, which see torch's own operations alone.

    A level of forward mode may be another thread's: it counts for tensors that have a tangent.
    """
    if torch._C._are_functorch_transforms_active():
        return True
    if forward_ad._current_level < 0:
        return False
    if torch.compiler.is_compiling():
        return True  # what is traced shows no tangent
    unpack: Any = forward_ad.unpack_dual
    return any(unpack(tensor).tangent is not None for tensor in given if tensor is not None)


def _forward(
    x: Tensor, row: Tensor | None, offsets: Tensor, h: Tensor, c: Tensor, weights: list[Tensor],
    cell: str, precision: str, threads: int | None, save: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """save: whether to give what the backward pass needs, besides; else an empty tensor."""
    threads, layer = machine.checked_threads(threads), packed(cell, precision, weights)
    trace = layer.forward(
        plan_of(offsets.numpy()), layer.project(_array(x), threads), _array(row),
        h.numpy(), c.numpy(), states=True, save=save, threads=threads,
    )  # fmt: skip
    states, last_h, last_c = map(torch.from_numpy, (trace.states, trace.h, trace.c))
    saved = x.new_empty(0) if trace.saved is None else torch.from_numpy(trace.saved)
    return states, last_h, last_c, saved


def _backward(
    d_states: Tensor | None, d_h: Tensor | None, d_c: Tensor | None, x: Tensor, row: Tensor | None,
    offsets: Tensor, weights: list[Tensor], trace: list[Tensor], cell: str, precision: str,
    threads: int | None, by_x: bool,
) -> list[Tensor]:  # fmt: skip
    """trace: the fields of `kernels.Trace`. Gives the gradients by h, c, the weights and, if
    by_x, x."""
    layer = packed(cell, precision, weights)
    traced = kernels.Trace(*map(_array, trace))
    d = layer.backward(
        plan_of(offsets.numpy()), traced, _array(x), _array(row), _array(d_states),
        np.zeros_like(traced.h) if d_h is None else _array(d_h),
        np.zeros_like(traced.c) if d_c is None else _array(d_c),
        by_x=by_x, threads=machine.checked_threads(threads),
    )  # fmt: skip
    names = cells.shapes(layer.cell, 1, 1)
    gradients = [d.h, d.c, *(by[name] for by in d.layer for name in names)]
    return [torch.from_numpy(gradient) for gradient in [*gradients, *([d.x] if by_x else [])]]


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.contiguous().numpy()


def _time_major(
    offsets: Tensor, begin: Tensor, stride: int, steps: int, tokens: int, rows: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    lengths = np.diff(offsets.numpy())
    least, most = lengths.min(initial=0), lengths.max(initial=0)
    if least < 0 or most > steps:
        raise ValueError(f"a text has 0 to {steps} tokens, one has {least if least < 0 else most}")
    plan = plan_of(offsets.numpy())
    text = plan.order[plan.rank]
    index = begin.numpy()[text] + stride * (plan.positions - plan.offsets[text])
    back = np.full(rows, tokens)
    back[index] = np.arange(tokens)
    # Copies: what an operator gives may be written to, and the plan is kept.
    return tuple(
        torch.from_numpy(a) for a in (index, back, plan.order.copy(), plan.inverse_order.copy())
    )  # type: ignore[return-value]


def _rows(x: Tensor, index: Tensor, back: Tensor, fills: bool, drops: bool) -> Tensor:
    return (torch.nn.functional.pad(x, (0, 0, 0, 1)) if fills else x).index_select(0, index)


class _Rows(torch.autograd.Function):
    """carryline::rows under autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, *zeros: bool) -> Tensor:
        ctx.save_for_backward(index, back)
        ctx.fills, ctx.drops = zeros
        with torch._C._AutoDispatchBelowAutograd():
            return rows(x, index, back, *zeros)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        index, back = ctx.saved_tensors
        return rows(d, back, index, ctx.drops, ctx.fills), None, None, None, None


def _rows_with_gradient(x: Tensor, *how: Any) -> Any:
    if torch.is_grad_enabled() and x.requires_grad:
        return _Rows.apply(x, *how)  # type: ignore[no-untyped-call]
    with torch._C._AutoDispatchBelowAutograd():
        return rows(x, *how)


class _Recurrence(torch.autograd.Function):
    """carryline::recurrence under autograd.

    torch.library.register_autograd would do, but takes 0.1 ms longer forward and as much backward:
    it looks for tensors in every argument and wraps the list of weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        (row, offsets, *how), weights = rest[:5], rest[5:]
        with torch._C._AutoDispatchBelowAutograd():
            states, last_h, last_c, saved = torch.ops.carryline.recurrence.default(
                x, row, offsets, h, c, weights, *how, save=True
            )
        # Through autograd, which raises when one of them was changed in place before backward.
        ctx.save_for_backward(x, row, offsets, states, last_h, last_c, h, c, saved, *weights)
        ctx.how = how
        ctx.mark_non_differentiable(saved)
        ctx.set_materialize_grads(False)
        return states, last_h, last_c, saved

    @staticmethod
    def backward(ctx: Any, d_states: Any, d_h: Any, d_c: Any, _: Any) -> tuple[Any, ...]:
        x, row, offsets, *saved = ctx.saved_tensors
        trace, weights, by_x = saved[:6], saved[6:], ctx.needs_input_grad[0]
        # create_graph; many gradients at once, or forward mode over this gradient
        if torch.is_grad_enabled() or _transformed(d_states, d_h, d_c, x, *weights):
            given = (x, row, offsets, *trace[3:5], weights, cells.CELLS[ctx.how[0]])
            d_x, d_first, d_carry, *by_weights = plain.gradient((d_states, d_h, d_c), *given)
            return d_x, d_first, d_carry, *(None,) * 5, *by_weights
        d_first, d_carry, *d = torch.ops.carryline.recurrence_backward.default(
            d_states, d_h, d_c, x, row, offsets, weights, trace, *ctx.how, by_x
        )
        by_weights = d[: len(weights)]
        return d[-1] if by_x else None, d_first, d_carry, *(None,) * 5, *by_weights


def _recurrence_with_gradient(
    x: Tensor, row: Tensor | None, offsets: Tensor, h: Tensor, c: Tensor, weights: list[Tensor],
    cell: str, precision: str, threads: int | None, save: bool = False,
) -> Any:  # fmt: skip
    how = cell, precision, threads
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, h, c, *weights)):
        return _Recurrence.apply(x, h, c, row, offsets, *how, *weights)  # type: ignore[no-untyped-call]
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.carryline.recurrence.default(x, row, offsets, h, c, weights, *how, save)


def _shapes_forward(
    x: Tensor, row: Tensor | None, offsets: Tensor, h: Tensor, c: Tensor, weights: list[Tensor],
    cell: str, precision: str, threads: int | None, save: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    tokens, (directions, _, hidden) = (x if row is None else row).shape[0], h.shape
    dtype = np.float64 if x.dtype == torch.float64 else np.float32
    width = kernels.saved_width(cells.CELLS[cell], hidden, dtype, precision)
    saved = (directions, tokens, width) if save else (0,)
    states = x.new_empty(tokens, directions * hidden)
    return states, h.new_empty(h.shape), c.new_empty(c.shape), x.new_empty(saved)


def _shapes_backward(
    d_states: Any, d_h: Any, d_c: Any, x: Tensor, row: Any, offsets: Tensor, weights: list[Tensor],
    trace: list[Tensor], cell: str, precision: str, threads: int | None, by_x: bool,
) -> list[Tensor]:  # fmt: skip
    _, _, _, h, c, _ = trace
    return [t.new_empty(t.shape) for t in (h, c, *weights, *([x] if by_x else []))]


def _shapes_time_major(
    offsets: Tensor, begin: Tensor, stride: int, steps: int, tokens: int, rows: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    texts = begin.shape[0]
    return tuple(begin.new_empty(size) for size in (tokens, rows, texts, texts))  # type: ignore[return-value]


def _register(name: str, kernel: Callable[..., Any], shapes: Callable[..., Any]) -> None:
    _library.impl(name, kernel, "CPU")
    torch.library.register_fake(f"carryline::{name}", shapes, lib=_library)


_register("recurrence", _forward, _shapes_forward)
_register("recurrence_backward", _backward, _shapes_backward)
_register("time_major", _time_major, _shapes_time_major)
_library.impl("recurrence", _recurrence_with_gradient, "Autograd")
_library.impl("rows", _rows, "CompositeExplicitAutograd")  # by torch's own, on any device
_library.impl("rows", _rows_with_gradient, "Autograd")
