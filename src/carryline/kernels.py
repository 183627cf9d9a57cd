"""The one door to the compiled kernels.

Arrays are NumPy's, float32 (or float64 for gradient checks), C-contiguous, tokens in the time-major
order of `ragged.Plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline import _kernels, machine
from carryline.cells import CARRY, GRU, Cell, Weights
from carryline.memory import empty, zeros
from carryline.ragged import Plan

Array = NDArray[Any]
Rows = NDArray[np.int32]


def _pack_gates(matrices: Sequence[Array], hidden: int) -> Array:
    """[directions, packed] of weights [gates * hidden, inner]."""
    machine.check()
    twofold = matrices[0].dtype == np.float64
    gates, inner = matrices[0].shape[0] // hidden, matrices[0].shape[1]
    size = _kernels.gates_size(gates, inner, hidden, twofold)
    packed = empty((len(matrices), size), matrices[0].dtype)
    for matrix, out in zip(matrices, packed, strict=True):
        _kernels.pack_gates(np.ascontiguousarray(matrix), hidden, out)
    return packed


def _pack_panels(matrices: Sequence[Array], transposed: bool) -> Array:
    """[directions, packed] of matrices [inner, columns], or of their transposes."""
    machine.check()
    inner, columns = matrices[0].shape[::-1] if transposed else matrices[0].shape
    size = _kernels.panels_size(inner, columns, matrices[0].dtype == np.float64)
    packed = empty((len(matrices), size), matrices[0].dtype)
    for matrix, out in zip(matrices, packed, strict=True):
        _kernels.pack_panels(np.ascontiguousarray(matrix), transposed, out)
    return packed


class Dense:
    """y = x W^T + b, every row the same to the bit whatever the rows beside it.

    weight: [outputs, inputs]; bias: [outputs].
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self.outputs = len(weight)
        self._panels = _pack_panels([weight], transposed=True)[0]
        self._bias = np.ascontiguousarray(bias)

    def __call__(self, x: Array, threads: int) -> Array:
        """x: [rows, inputs] -> [rows, outputs]."""
        out = empty((len(x), self.outputs), x.dtype)
        _kernels.matmul(x, self._panels, self._bias, out, False, threads)
        return out


@dataclass(frozen=True, eq=False)
class Trace:
    """What `Layer.forward` gives.

    states: [tokens, directions * hidden] or None; h, c: the final states by text's rank
    [directions, texts, hidden]; h_first, c_first: the first ones; saved: for backward, or None.
    """

    states: Array | None
    h: Array
    c: Array
    h_first: Array
    c_first: Array
    saved: Array | None


@dataclass(frozen=True, eq=False)
class Gradients:
    """What `Layer.backward` gives: by x [rows, input], the weights, the first h and c."""

    x: Array | None
    layer: list[dict[str, Array]]
    h: Array
    c: Array


class Layer:
    """One recurrent layer's weights, packed for the kernels.

    directions: the weights of each direction, one or two (see `cells.shapes`).
    """

    def __init__(self, cell: Cell, directions: Sequence[Weights]) -> None:
        self.cell, self.directions = cell, directions
        self.hidden = directions[0]["weight_hh"].shape[1]
        self.inputs = directions[0]["weight_ih"].shape[1]
        self.dtype = directions[0]["weight_hh"].dtype
        self._input = _pack_panels(self._each("weight_ih"), transposed=True)
        self._recurrent = _pack_gates(self._each("weight_hh"), self.hidden)
        self._carry = _pack_gates(self._each("weight_ch"), self.hidden) if cell is CARRY else None
        self._candidate = np.stack(self._each("bias_hh")) if cell is GRU else None

    def _each(self, name: str) -> list[Array]:
        return [weights[name] for weights in self.directions]

    @cached_property
    def _backward_weights(self) -> tuple[Array, Array, Array | None]:
        """Panels of W, U and the carry's weights as the backward pass multiplies by them."""
        recurrent = self._each("weight_hh")
        if self.cell is GRU:  # the kernel gives the gradients in the order n, r, z
            recurrent = [np.roll(weight, self.hidden, axis=0) for weight in recurrent]
        carry = _pack_panels(self._each("weight_ch"), False) if self.cell is CARRY else None
        return _pack_panels(self._each("weight_ih"), False), _pack_panels(recurrent, False), carry

    def project(self, x: Array, threads: int) -> Array:
        """W x + b for each direction: x [rows, input] -> [directions, rows, gates * hidden]."""
        shape = (len(self.directions), len(x), self.cell.gates * self.hidden)
        projected = empty(shape, self.dtype)
        for out, panels, bias in zip(projected, self._input, self._each("bias_ih"), strict=True):
            _kernels.matmul(x, panels, np.ascontiguousarray(bias), out, False, threads)
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
    ) -> Trace:
        """The time loop over all directions.

        projected: from `project`; row: [tokens] the row of it that a token reads (None: its own
        position); h, c: first states by rank [directions, texts, hidden].
        """
        count, width = len(self.directions), self.cell.saved * self.hidden
        h, c = np.ascontiguousarray(h), np.ascontiguousarray(c)
        last_h, last_c = h.copy(), c.copy()
        out = empty((plan.tokens, count * self.hidden), self.dtype) if states or save else None
        saved = empty((count, plan.tokens, width), self.dtype) if save else None
        _kernels.recurrence_forward(
            self.cell.number, plan.starts, projected, row, self._recurrent, self._carry,
            self._candidate, last_h, last_c, out, saved, threads,
        )  # fmt: skip
        return Trace(out, last_h, last_c, h, c, saved)

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
        panels, recurrent, carry = self._backward_weights
        d_h, d_c = np.array(d_h, order="C"), np.array(d_c, order="C")
        gradients = self.cell.gradients * self.hidden
        d_gates = empty((len(self.directions), plan.tokens, gradients), self.dtype)
        _kernels.recurrence_backward(
            self.cell.number, plan.starts, d_states, trace.states, trace.saved, trace.h_first,
            trace.c_first, recurrent, carry, d_h, d_c, d_gates, threads,
        )  # fmt: skip
        d_layer: list[dict[str, Array]] = [{} for _ in self.directions]
        d_inputs: list[Array] = [d_gates] * len(self.directions)

        def one(direction: int) -> None:
            d, into, share = d_gates[direction], d_layer[direction], threads // len(d_gates) or 1
            into |= self._recurrent_gradients(plan, trace, direction, d, share)
            d_inputs[direction] = self._input_gradients(x, row, d, into, share)

        _each_on_a_thread(one, len(d_gates), threads)
        d_x = zeros(x.shape, self.dtype) if by_x else None
        if d_x is not None:
            for d_input, panel in zip(d_inputs, panels, strict=True):
                _kernels.matmul(d_input, panel, None, d_x, True, threads)
        return Gradients(d_x, d_layer, d_h, d_c)

    def _input_gradients(
        self, x: Array, row: Rows | None, d: Array, into: dict[str, Array], threads: int
    ) -> Array:
        """By W and b, written to `into`, and by W x + b: [rows of x, gates * hidden].

        Tokens that read the same row have their gradients summed first: a batch of reviews has
        one distinct token in five, so the products shrink as much.
        """
        gates = self.cell.gates * self.hidden
        d = d[:, d.shape[1] - gates :]
        if row is not None:
            summed = zeros((len(x), gates), self.dtype)
            _kernels.sum_rows(d, row, summed, threads)
            d = summed
        into["weight_ih"] = self._outer(d, None, x, threads)
        into["bias_ih"] = d.sum(axis=0)
        return d

    def _recurrent_gradients(
        self, plan: Plan, trace: Trace, direction: int, d: Array, threads: int
    ) -> dict[str, Array]:
        """By U, and by what gru and carry have besides."""
        assert trace.states is not None and trace.saved is not None
        hidden, before = self.hidden, plan.previous(reverse=direction == 1)
        first = np.flatnonzero(before < 0)
        rank = plan.rank[first]
        states = trace.states[:, direction * hidden : (direction + 1) * hidden]

        def by(left: Array, left_first: Array, right: Array) -> Array:
            out = self._outer(left, before, right, threads)
            if left_first.any():
                _kernels.outer(left_first[rank], None, np.ascontiguousarray(right[first]), out, 1)
            return out

        products = hidden * (3 if self.cell is GRU else self.cell.gates)
        by_hh = by(states, trace.h_first[direction], d[:, :products])
        into = {"weight_hh": np.ascontiguousarray(by_hh.T)}
        if self.cell is GRU:
            into["weight_hh"] = np.roll(into["weight_hh"], -hidden, axis=0)
            into["bias_hh"] = d[:, :hidden].sum(axis=0)
        if self.cell is CARRY:
            carries = trace.saved[direction][:, 3 * hidden :]
            by_ch = by(carries, trace.c_first[direction], d[:, 3 * hidden :])
            into["weight_ch"] = np.ascontiguousarray(by_ch.T)
        return into

    def _outer(self, left: Array, left_row: Rows | None, right: Array, threads: int) -> Array:
        """Sum over tokens of the outer products of left's and right's rows."""
        out = zeros((left.shape[1], right.shape[1]), self.dtype)
        _kernels.outer(left, left_row, right, out, threads)
        return out


def _each_on_a_thread(work: Callable[[int], None], count: int, threads: int) -> None:
    """work(0), work(1), …: side by side when there are threads for all (kernels drop the GIL)."""
    if threads < count:
        for number in range(count):
            work(number)
        return
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))


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
