"""The one door to the compiled kernels.

Arrays are NumPy's, float32 (or float64 for gradient checks), C-contiguous, tokens in the time-major
order of `ragged.Plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels, machine
from carryline.recurrence.cells import CARRY, GRU, Cell, Weights
from carryline.recurrence.memory import empty
from carryline.recurrence.ragged import Plan

Array = NDArray[Any]
Rows = NDArray[np.int32]


def _pack_gates(matrices: Sequence[Array], hidden: int, brief: bool) -> Array:
    """[directions, packed] of weights [gates * hidden, inner]."""
    machine.check()
    twofold = matrices[0].dtype == np.float64
    gates, inner = matrices[0].shape[0] // hidden, matrices[0].shape[1]
    size = _kernels.gates_size(gates, inner, hidden, twofold, brief)
    packed = empty((len(matrices), size), matrices[0].dtype, lasting=True)
    for matrix, out in zip(matrices, packed, strict=True):
        _kernels.pack_gates(np.ascontiguousarray(matrix), hidden, out, brief)
    return packed


def _pack_panels(matrices: Sequence[Array], transposed: bool, brief: bool) -> Array:
    """[directions, packed] of matrices [inner, columns], or of their transposes."""
    machine.check()
    inner, columns = matrices[0].shape[::-1] if transposed else matrices[0].shape
    size = _kernels.panels_size(inner, columns, matrices[0].dtype == np.float64, brief)
    packed = empty((len(matrices), size), matrices[0].dtype, lasting=True)
    for matrix, out in zip(matrices, packed, strict=True):
        _kernels.pack_panels(np.ascontiguousarray(matrix), transposed, out, brief)
    return packed


PRECISIONS = ("fp32", "bf16")


class Dense:
    """y = x W^T + b, every row the same to the bit whatever the rows beside it.

    weight: [outputs, inputs]; bias: [outputs].
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self._weight, self.outputs = weight, len(weight)
        self._panels = _pack_panels([weight], True, False)[0]
        self._bias = np.ascontiguousarray(bias)

    def __call__(self, x: Array, threads: int) -> Array:
        """x: [rows, inputs] -> [rows, outputs]."""
        out = np.empty((len(x), self.outputs), x.dtype)
        _kernels.matmul(x, self._panels, self._bias, out, False, False, threads)
        return out

    def backward(self, x: Array, d: Array, threads: int) -> tuple[Array, Array]:
        """Gradients by x and the weight, from that by y, d [rows, outputs]."""
        by_x, by_weight = np.empty_like(x), np.zeros_like(self._weight)
        panels = _pack_panels([self._weight], False, False)[0]
        _kernels.matmul(d, panels, None, by_x, False, False, threads)
        _kernels.outer(d, x, by_weight, False, threads)
        return by_x, by_weight


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
    None.
    """

    states: Array | None
    h: Array
    c: Array
    h_first: Array
    c_first: Array
    saved: Array | None
    largest: Array | None = None
    mean: Array | None = None


@dataclass(frozen=True, eq=False)
class Gradients:
    """What `Layer.backward` gives: by x [rows, input], the weights, the first h and c."""

    x: Array | None
    layer: list[dict[str, Array]]
    h: Array
    c: Array


class Layer:
    """One recurrent layer's weights, packed for the kernels.

    directions: the weights of each direction, one or two (see `cells.shapes`). precision: of the
    products' factors, "fp32" (as the weights are, float64 too) or "bf16": rounded to bfloat16, two
    at a time where the machine can; sums and states stay float32, gates are kept for the backward
    pass as bfloat16.
    Raises `ValueError` when there is no such precision for the weights' type.
    """

    def __init__(self, cell: Cell, directions: Sequence[Weights], precision: str = "fp32") -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.precision, self._brief = precision, precision == "bf16"
        self.cell, self.directions = cell, directions
        self.hidden = directions[0]["weight_hh"].shape[1]
        self.inputs = directions[0]["weight_ih"].shape[1]
        self.dtype = directions[0]["weight_hh"].dtype
        self._input = _pack_panels(self._each("weight_ih"), True, self._brief)
        self._recurrent = _pack_gates(self._each("weight_hh"), self.hidden, self._brief)
        self._carry = None
        if cell is CARRY:
            self._carry = _pack_panels(self._each("weight_ch"), True, self._brief)
        self._candidate = np.stack(self._each("bias_hh")) if cell is GRU else None
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
        number, brief, each = self.cell.number, self._brief, self._each
        size = _kernels.products_size(number, self.hidden, self.dtype == np.float64, brief)
        recurrent = empty((len(self.directions), size), self.dtype, lasting=True)
        for weight, packed in zip(each("weight_hh"), recurrent, strict=True):
            _kernels.pack_products(number, np.ascontiguousarray(weight), packed, brief)
        carry = _pack_panels(each("weight_ch"), False, brief) if self.cell is CARRY else None
        return _pack_panels(each("weight_ih"), False, brief), recurrent, carry

    def project(self, x: Array, threads: int) -> Array:
        """W x + b for each direction: x [rows, input] -> [directions, rows, gates * hidden]."""
        shape = (len(self.directions), len(x), self.cell.gates * self.hidden)
        projected = empty(shape, self.dtype)
        for out, panels, bias in zip(projected, self._input, self._each("bias_ih"), strict=True):
            _kernels.matmul(x, panels, np.ascontiguousarray(bias), out, False, self._brief, threads)
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
        largest = empty((plan.texts, width), self.dtype) if "max" in pool else None
        mean = empty((plan.texts, width), self.dtype) if "mean" in pool else None
        saved = None
        if save:
            kept = saved_width(self.cell, self.hidden, self.dtype, self.precision)
            saved = empty((count, plan.tokens, kept), self.dtype)
        _kernels.recurrence_forward(
            self.cell.number, plan.starts, projected, row, self._recurrent, self._carry,
            self._candidate, last_h, last_c, out, largest, mean, saved, self._brief, threads,
        )  # fmt: skip
        return Trace(out, last_h, last_c, h, c, saved, largest, mean)

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
        by_x: bool,
        threads: int,
    ) -> Gradients:
        """Gradients by everything that `forward` was given, from a trace that was saved.

        x, row: what `project` and `forward` were given. by_x: whether x's gradient is wanted.
        """
        assert trace.states is not None and trace.saved is not None
        panels, recurrent, carry = self._backward_weights()
        cell, hidden, count = self.cell, self.hidden, len(self.directions)
        rows, gates = plan.tokens if row is None else len(x), cell.gates * hidden
        d_h, d_c = np.array(d_h, order="C"), np.array(d_c, order="C")
        d_projected = empty((count, rows, gates), self.dtype)
        d_recurrent = np.zeros((count, gates, hidden), self.dtype)
        d_carry = np.zeros((count, hidden, hidden), self.dtype) if cell is CARRY else None
        d_bias = np.zeros((count, cell.gradients, hidden), self.dtype)
        _kernels.recurrence_backward(
            cell.number, plan.starts, d_states, trace.states, trace.saved, trace.h_first,
            trace.c_first, recurrent, carry, row, d_h, d_c, d_projected, d_recurrent, d_carry,
            d_bias, self._brief, threads,
        )  # fmt: skip
        d_layer: list[dict[str, Array]] = []
        for number, d in enumerate(d_projected):
            by_input = np.zeros((self.inputs, gates), self.dtype)
            _kernels.outer(x, d, by_input, self._brief, threads)
            by_bias = d_bias[number, cell.gradients - cell.gates :].reshape(-1)
            into = {"weight_ih": np.ascontiguousarray(by_input.T), "weight_hh": d_recurrent[number]}
            into |= {"bias_ih": by_bias}
            if cell is GRU:
                into["bias_hh"] = d_bias[number, 0]
            if d_carry is not None:
                into["weight_ch"] = d_carry[number]
            d_layer.append(into)
        d_x = empty(x.shape, self.dtype) if by_x else None
        if d_x is not None:
            for number, panel in enumerate(panels):
                add = number > 0
                _kernels.matmul(d_projected[number], panel, None, d_x, add, self._brief, threads)
        return Gradients(d_x, d_layer, d_h, d_c)


def distinct(ids: Array, plan: Plan, vocabulary: int) -> tuple[NDArray[np.int64], Rows]:
    """The different ids of a batch, rising, and for each token its id's place among them.

    ids: [tokens] text-major, below `vocabulary`; the places are in the plan's order.
    As np.unique, without its sort: 0.05 ms instead of 1.4 for the 21,000 tokens of 64 reviews.
    """
    return _kernels.distinct(plan.time_major(ids), vocabulary)


def pool(
    plan: Plan, states: Array, *, where: bool, threads: int
) -> tuple[Array, Array | None, Array]:
    """Largest and mean state of each text; an empty text's are zeros.

    states: [tokens, width] -> largest [texts, width] by rank, the step of each largest one
    [texts, width] int32 (None unless asked for), mean [texts, width].
    """
    shape = (plan.texts, states.shape[1])
    largest, mean = empty(shape, states.dtype), empty(shape, states.dtype)
    steps = empty(shape, np.int32) if where else None
    _kernels.pool(plan.starts, plan.lengths, states, largest, steps, mean, threads)
    return largest, steps, mean


def pool_backward(plan: Plan, d_largest: Array, where: Array, d_mean: Array, threads: int) -> Array:
    """Gradient of `pool` by the states: [tokens, width]."""
    d_states = empty((plan.tokens, d_largest.shape[1]), d_largest.dtype)
    _kernels.pool_backward(plan.starts, plan.lengths, d_largest, where, d_mean, d_states, threads)
    return d_states
