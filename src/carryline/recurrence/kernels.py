"""The door to the compiled kernels; the optimiser (training/adam.py) has its own.

Arrays are NumPy's, float32 (or float64 for gradient checks), C-contiguous, tokens in the time-major
order of `ragged.Plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels, machine
from carryline.recurrence.cells import CARRY, GRU, Cell, Weights
from carryline.recurrence.memory import empty
from carryline.recurrence.ragged import Plan

Array = NDArray[Any]
Rows = NDArray[np.int32]


def _pack_gates(matrices: Sequence[Array], hidden: int, brief: bool, threads: int) -> Array:
    """[directions, packed] of weights [gates * hidden, inner]."""
    machine.check()
    twofold = matrices[0].dtype == np.float64
    gates, inner = matrices[0].shape[0] // hidden, matrices[0].shape[1]
    size = _kernels.gates_size(gates, inner, hidden, twofold, brief)
    packed = empty((len(matrices), size), matrices[0].dtype, lasting=True)
    _kernels.pack_gates(_contiguous(matrices), hidden, packed, brief, threads)
    return packed


def _pack_panels(
    matrices: Sequence[Array], transposed: bool, brief: bool = False, threads: int = 1
) -> Array:
    """[directions, packed] of matrices [inner, columns], or of their transposes."""
    machine.check()
    inner, columns = matrices[0].shape[::-1] if transposed else matrices[0].shape
    size = _kernels.panels_size(inner, columns, matrices[0].dtype == np.float64, brief)
    packed = empty((len(matrices), size), matrices[0].dtype, lasting=True)
    _kernels.pack_panels(_contiguous(matrices), transposed, packed, brief, threads)
    return packed


def _contiguous(arrays: Sequence[Array]) -> list[Array]:
    return [np.ascontiguousarray(array) for array in arrays]


PRECISIONS = ("fp32", "bf16")


class Dense:
    """y = x W^T + b, every row the same to the bit whatever the rows beside it.

    weight: [outputs, inputs]; bias: [outputs].
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self._weight = weight
        self._panels = _pack_panels([weight], True)
        self._bias = np.ascontiguousarray(bias)[None]

    def __call__(self, x: Array, threads: int) -> Array:
        """x: [rows, inputs] -> [rows, outputs]."""
        out = np.empty((1, len(x), len(self._weight)), x.dtype)
        _kernels.matmul(x, self._panels, self._bias, out, False, False, threads)
        y: Array = out[0]
        return y

    def backward(self, x: Array, d: Array, threads: int) -> tuple[Array, Array]:
        """Gradients by x and the weight, from that by y, d [rows, outputs]."""
        by_x = np.empty_like(x)
        panels = _pack_panels([self._weight], False)
        _kernels.matmul(d, panels, None, by_x[None], False, False, threads)
        return by_x, outer(d, x, threads)


def outer(d: Array, x: Array, threads: int) -> Array:
    """d^T x [columns of d, columns of x]."""
    out = np.empty((d.shape[1], x.shape[1]), x.dtype)
    _kernels.outer(d[None], x, out[None], False, threads)
    return out


def saved_width(cell: Cell, hidden: int, dtype: Any, precision: str) -> int:
    """Values of the weights' type that forward keeps of a token and direction."""
    twofold, brief = dtype == np.float64, precision == "bf16"
    return _kernels.saved_width(cell.number, hidden, twofold, brief)


@dataclass(frozen=True, eq=False)
class Trace:
    """What `Layer.forward` gives.

    states: [tokens, directions * hidden] or None; h, c: the final states by text's rank
    [directions, texts, hidden]; h_first, c_first: the first ones; saved: for backward, or None;
    largest, mean: of each text's states [texts, directions * hidden], zeros of an empty one's, or
    None; where: the step of each largest one, as numbers of their type, if all is saved.
    """

    states: Array | None
    h: Array
    c: Array
    h_first: Array
    c_first: Array
    saved: Array | None
    largest: Array | None = None
    where: Array | None = None
    mean: Array | None = None


@dataclass(frozen=True, eq=False)
class Gradients:
    """What `Layer.backward` gives: by x [rows, input], the weights, the first h and c; where not
    asked for, x is None, h and c are anything."""

    x: Array | None
    layer: list[dict[str, Array]]
    h: Array
    c: Array


class Steps(NamedTuple):
    """What `Layer.walk_back` gives, by direction: the gradients by what `project` gave [rows, gates
    * hidden], U, the carry's weights (None without), the biases, and the first h and c."""

    projected: Array
    recurrent: Array
    carry: Array | None
    bias: Array
    h: Array
    c: Array


class Layer:
    """One recurrent layer's weights, packed for the kernels.

    directions: the weights of each direction, one or two (see `cells.shapes`). precision: of the
    products' factors, "fp32" (as the weights are, float64 too) or "bf16": rounded to bfloat16, two
    at a time where the machine can; sums and states stay float32, gates are kept for the backward
    pass as bfloat16. threads: to pack with.
    Raises `ValueError` when there is no such precision for the weights' type.
    """

    def __init__(
        self,
        cell: Cell,
        directions: Sequence[Weights],
        precision: str = "fp32",
        threads: int = 1,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.precision, self._brief = precision, precision == "bf16"
        self.cell, self.directions, self._threads = cell, directions, threads
        self.hidden = directions[0]["weight_hh"].shape[1]
        self.inputs = directions[0]["weight_ih"].shape[1]
        self.dtype = directions[0]["weight_hh"].dtype
        how = self._brief, threads
        self._input = _pack_panels(self._each("weight_ih"), True, *how)
        self._bias = np.array(self._each("bias_ih"))
        self._recurrent = _pack_gates(self._each("weight_hh"), self.hidden, *how)
        carry = self._each("weight_ch") if cell is CARRY else None
        self._carry = _pack_panels(carry, True, *how) if carry else None
        self._candidate = np.array(self._each("bias_hh")) if cell is GRU else None
        self._back: tuple[Array, Array, Array | None] | None = None

    def _each(self, name: str) -> list[Array]:
        return [weights[name] for weights in self.directions]

    def _backward_weights(self) -> tuple[Array, Array, Array | None]:
        """W, U and the carry's weights as the backward pass multiplies by them, packed once.

        No cached_property: until Python 3.12 it has a lock, which a forked child would find held.
        """
        if self._back is None:
            self._back = self._packed_back()
        return self._back

    def _packed_back(self) -> tuple[Array, Array, Array | None]:
        number, each, how = self.cell.number, self._each, (self._brief, self._threads)
        size = _kernels.products_size(number, self.hidden, self.dtype == np.float64, self._brief)
        recurrent = empty((len(self.directions), size), self.dtype, lasting=True)
        _kernels.pack_products(number, _contiguous(each("weight_hh")), recurrent, *how)
        carry = _pack_panels(each("weight_ch"), False, *how) if self.cell is CARRY else None
        return _pack_panels(each("weight_ih"), False, *how), recurrent, carry

    def project(self, x: Array, threads: int) -> Array:
        """W x + b for each direction: x [rows, input] -> [directions, rows, gates * hidden]."""
        shape = (len(self.directions), len(x), self.cell.gates * self.hidden)
        projected = empty(shape, self.dtype)
        _kernels.matmul(x, self._input, self._bias, projected, False, self._brief, threads)
        return projected

    def forward(
        self,
        plan: Plan,
        projected: Array,
        row: Rows | None,
        h: Array,
        c: Array,
        *,
        states: bool,
        save: bool,
        threads: int,
        pool: Collection[str] = (),
    ) -> Trace:
        """The time loop over all directions.

        projected: from `project`; row: [tokens] the row of it that a token reads (None: its own
        position); h, c: first states by rank [directions, texts, hidden]; pool: "max", "mean" or
        both, made of the states as they come, whether or not these are wanted.
        """
        count = len(self.directions)
        h, c = np.ascontiguousarray(h), np.ascontiguousarray(c)
        last_h, last_c = h.copy(), c.copy()
        width = count * self.hidden
        out = empty((plan.tokens, width), self.dtype) if states or save else None
        pooled = plan.texts, width
        largest = empty(pooled, self.dtype) if "max" in pool else None
        where = empty(pooled, self.dtype) if "max" in pool and save else None
        mean = empty(pooled, self.dtype) if "mean" in pool else None
        saved = None
        if save:
            kept = saved_width(self.cell, self.hidden, self.dtype, self.precision)
            saved = empty((count, plan.tokens, kept), self.dtype)
        _kernels.recurrence_forward(
            self.cell.number, plan.starts, projected, row, self._recurrent, self._carry,
            self._candidate, last_h, last_c, out, largest, where, mean, saved,
            self._brief, threads,
        )  # fmt: skip
        return Trace(out, last_h, last_c, h, c, saved, largest, where, mean)

    def backward(
        self,
        plan: Plan,
        trace: Trace,
        x: Array,
        row: Rows | None,
        d_states: Array | None,
        d_h: Array,
        d_c: Array,
        *,
        d_largest: Array | None = None,
        d_mean: Array | None = None,
        by_x: bool,
        by_first: bool = True,
        threads: int,
    ) -> Gradients:
        """Gradients by everything that `forward` was given, from a trace that was saved.

        x, row: what `project` and `forward` were given. d_states, …: the gradients by what the
        trace has, None for zeros. by_x, by_first: whether those by x, and by the first h and c, are
        wanted.
        """
        panels, _, _ = self._backward_weights()
        found = self.walk_back(
            plan, trace, len(x), row, d_states, d_h, d_c,
            d_largest=d_largest, d_mean=d_mean, by_first=by_first, threads=threads,
        )  # fmt: skip
        d_projected, count = found.projected, len(self.directions)
        d_input = np.empty((count, self.cell.gates * self.hidden, self.inputs), self.dtype)
        _kernels.outer(d_projected, x, d_input, self._brief, threads)
        d_layer = [self._by_weights(d_input[i], found, i) for i in range(count)]
        if not by_x:
            return Gradients(None, d_layer, found.h, found.c)
        d_x = empty((1, *x.shape), self.dtype)
        for i in range(count):
            panel = panels[i : i + 1]
            _kernels.matmul(d_projected[i], panel, None, d_x, i > 0, self._brief, threads)
        return Gradients(d_x[0], d_layer, found.h, found.c)

    def walk_back(
        self,
        plan: Plan,
        trace: Trace,
        rows: int,
        row: Rows | None,
        d_states: Array | None,
        d_h: Array,
        d_c: Array,
        *,
        d_largest: Array | None = None,
        d_mean: Array | None = None,
        by_first: bool = True,
        by_weights: bool = True,
        threads: int,
    ) -> Steps:
        """The time loop's share of `backward`, which has the arguments; rows: of `projected`.

        by_weights: whether those by U, the carry's weights and the biases are wanted: zeros if not,
        and a third of the products saved. row: a row of `projected` gets the sum of its tokens'.
        """
        assert trace.states is not None and trace.saved is not None
        _, recurrent, carry = self._backward_weights()
        cell, hidden, count = self.cell, self.hidden, len(self.directions)
        gates = cell.gates * hidden
        d_h, d_c = np.array(d_h, order="C"), np.array(d_c, order="C")
        if d_mean is not None:
            d_mean = np.divide(d_mean, np.maximum(plan.lengths, 1)[:, None], dtype=self.dtype)
        d_projected = empty((count, plan.tokens if row is None else rows, gates), self.dtype)
        d_recurrent = np.zeros((count, gates, hidden), self.dtype)
        d_carry = np.zeros((count, hidden, hidden), self.dtype) if cell is CARRY else None
        d_bias = np.zeros((count, cell.gradients, hidden), self.dtype)
        _kernels.recurrence_backward(
            cell.number, plan.starts, d_states, d_largest,
            None if d_largest is None else trace.where, d_mean, trace.states, trace.saved,
            trace.h_first, trace.c_first, recurrent, carry, row, d_h, d_c, by_first, by_weights,
            d_projected, d_recurrent, d_carry, d_bias, self._brief, threads,
        )  # fmt: skip
        return Steps(d_projected, d_recurrent, d_carry, d_bias, d_h, d_c)

    def _by_weights(self, d_input: Array, steps: Steps, i: int) -> dict[str, Array]:
        """Of direction i, by the names of `cells.shapes`."""
        cell, d_bias = self.cell, steps.bias[i]
        bias = d_bias[cell.gradients - cell.gates :].reshape(-1)
        found = {"weight_ih": d_input, "weight_hh": steps.recurrent[i], "bias_ih": bias}
        if cell is GRU:
            found["bias_hh"] = d_bias[0]
        if steps.carry is not None:
            found["weight_ch"] = steps.carry[i]
        return found


def dropout(x: Array, drawn: Array, dropped: int, scale: float, threads: int) -> Array:
    """x [rows, width], each value times `scale` where its number of `drawn` (uint8 or uint16, one
    for each value) is not below `dropped`, else 0."""
    out = empty(x.shape, x.dtype)
    _kernels.dropout(x, drawn, dropped, scale, out, threads)
    return out


def distinct(ids: Array, plan: Plan, vocabulary: int) -> tuple[NDArray[np.int64], Rows]:
    """The different ids of a batch, rising, and for each token its id's place among them.

    ids: [tokens] text-major, below `vocabulary`; the places are in the plan's order.
    As np.unique, without its sort: 0.05 ms instead of 1.4 for the 21,000 tokens of 64 reviews.
    """
    return _kernels.distinct(plan.time_major(ids), vocabulary)
