"""The plain reference: against its equations written out, torch's own cells and finite differences.

Tolerances: everything is float64 and of order 1, so two right answers differ by some roundings of
1e-16 (1e-12 leaves room for thousands). Central differences of step 1e-6 err by its square, 1e-12,
and by rounding over the step, 1e-10: 1e-7 is far below any mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from carryline.model.config import CELLS as NAMES
from carryline.recurrence import cells
from carryline.recurrence.cells import CARRY, CELLS, GRU, LSTM, RNN, Cell

INPUTS, HIDDEN = 3, 4
LENGTHS = [3, 0, 5, 1]
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
each_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def random_weights(rng: np.random.Generator, cell: Cell) -> dict[str, Any]:
    return {
        name: rng.uniform(-1, 1, shape)
        for name, shape in cells.shapes(cell, INPUTS, HIDDEN).items()
    }


def test_the_configuration_knows_the_same_cells() -> None:
    assert tuple(CELLS) == NAMES
    assert all(cell.name == name for name, cell in CELLS.items())


def test_shapes_have_one_bias_a_gate() -> None:
    for cell, gates in [(RNN, 1), (LSTM, 4), (GRU, 3), (CARRY, 4)]:
        shapes = cells.shapes(cell, 5, 7)
        assert shapes.pop("weight_ih") == (gates * 7, 5)
        assert shapes.pop("weight_hh") == (gates * 7, 7)
        assert shapes.pop("bias_ih") == (gates * 7,)
        assert shapes == {GRU: {"bias_hh": (7,)}, CARRY: {"weight_ch": (7, 7)}}.get(cell, {})


def test_layers_are_named_as_in_torch() -> None:
    ours = cells.layer_shapes(LSTM, 5, [7, 7], 2)
    theirs = torch.nn.LSTM(5, 7, 2, bidirectional=True).named_parameters()
    expected = {name: tuple(p.shape) for name, p in theirs if not name.startswith("bias_hh")}
    assert ours == expected
    stacked = cells.layer_shapes(LSTM, 64, [64, 32], 2)
    assert stacked["weight_ih_l1_reverse"] == (4 * 32, 2 * 64)


@given(arrays.arrays(np.float64, 5, elements=st.floats(-1e300, 1e300)))
def test_sigmoid_neither_overflows_nor_errs(x: Any) -> None:
    got = cells.sigmoid(x)
    expected = [1 / (1 + exp(-v)) if v > -700 else 0.0 for v in x]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-15)


def written_out(name: str, w: Any, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """The table of the design, a unit at a time, with nothing shared with the code."""

    def gate(number: int, unit: int) -> float:
        row = number * HIDDEN + unit
        return float(w["weight_ih"][row] @ x + w["weight_hh"][row] @ h + w["bias_ih"][row])

    def sigma(value: float) -> float:
        return 1 / (1 + exp(-value))

    h_next, c_next = np.zeros(HIDDEN), np.array(c)
    for j in range(HIDDEN):
        if name == "rnn":
            h_next[j] = np.tanh(gate(0, j))
        elif name == "gru":
            r, z, row = sigma(gate(0, j)), sigma(gate(1, j)), 2 * HIDDEN + j
            late = w["weight_hh"][row] @ h + w["bias_hh"][j]
            n = np.tanh(w["weight_ih"][row] @ x + w["bias_ih"][row] + r * late)
            h_next[j] = (1 - z) * n + z * h[j]
        else:
            i, f, k = sigma(gate(0, j)), sigma(gate(1, j)), np.tanh(gate(2, j))
            c_next[j] = i * k + f * c[j]
            if name == "lstm":
                h_next[j] = sigma(gate(3, j)) * np.tanh(c_next[j])
            else:  # the output reads the carry that comes in
                h_next[j] = np.tanh(gate(3, j) + w["weight_ch"][j] @ c)
    return h_next, c_next


@each_cell
def test_a_step_is_the_equation(cell: Cell) -> None:
    rng = np.random.default_rng(1)
    w = random_weights(rng, cell)
    x, h, c = rng.normal(size=INPUTS), rng.normal(size=HIDDEN), rng.normal(size=HIDDEN)
    for got, expected in zip(
        cells.step(cell, w, x, h, c), written_out(cell.name, w, x, h, c), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def torch_module(cell: Cell, layer: list[dict[str, Any]]) -> torch.nn.RNNBase:
    """Torch's own module with the same weights, its second bias zero but for gru's candidate."""
    kind: Any = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[cell]
    module: torch.nn.RNNBase = kind(
        INPUTS, HIDDEN, bidirectional=len(layer) == 2, dtype=torch.float64
    )
    with torch.no_grad():
        for suffix, w in zip(("", "_reverse"), layer, strict=False):
            second = np.zeros_like(w["bias_ih"])
            second[2 * HIDDEN :] = w.get("bias_hh", 0)
            for name, value in {**w, "bias_hh": second}.items():
                getattr(module, f"{name}_l0{suffix}").copy_(torch.from_numpy(value))
    return module


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", [RNN, LSTM, GRU], ids=lambda cell: cell.name)
def test_forward_is_torch_a_text_at_a_time(cell: Cell, directions: int) -> None:
    rng = np.random.default_rng(2)
    layer = [random_weights(rng, cell) for _ in range(directions)]
    x = rng.normal(size=(OFFSETS[-1], INPUTS))
    h, c = rng.normal(size=(2, directions, len(LENGTHS), HIDDEN))
    states, last_h, last_c = cells.forward(cell, layer, x, OFFSETS, h, c)
    module = torch_module(cell, layer)
    for text, (begin, end) in enumerate(pairwise(OFFSETS)):
        if begin == end:  # nothing moves the states of an empty text
            assert (last_h[:, text] == h[:, text]).all()
            assert (last_c[:, text] == c[:, text]).all()
            continue
        first = [torch.from_numpy(state[:, text]) for state in (h, c)]
        out, last = module(torch.from_numpy(x[begin:end]), first if cell.carry else first[0])
        finals = zip((last_h, last_c), last if cell.carry else (last,), strict=False)
        for ours, theirs in [(states[begin:end], out), *((f[:, text], t) for f, t in finals)]:
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-12)


def test_the_backward_direction_ends_at_the_first_token() -> None:
    rng = np.random.default_rng(3)
    layer = [random_weights(rng, CARRY) for _ in range(2)]
    x, zeros = rng.normal(size=(5, INPUTS)), np.zeros((2, 1, HIDDEN))
    states, h, c = cells.forward(CARRY, layer, x, np.array([0, 5]), zeros, zeros)
    assert (h[0, 0] == states[-1, :HIDDEN]).all()
    assert (h[1, 0] == states[0, HIDDEN:]).all()
    only = zeros[:1]
    mirrored = cells.forward(CARRY, layer[1:], x[::-1], np.array([0, 5]), only, only)
    assert (mirrored[0] == states[::-1, HIDDEN:]).all()
    assert (mirrored[2] == c[1:]).all()


def slopes(value: Callable[[], float], at: Any, step: float = 1e-6) -> Any:
    """Central differences of `value` by every element of the array `at`."""
    slope = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        kept, ends = at[index], []
        for shift in (step, -step):
            at[index] = kept + shift
            ends.append(value())
        at[index] = kept
        slope[index] = (ends[0] - ends[1]) / (2 * step)
    return slope


@pytest.mark.parametrize("directions", [1, 2])
@each_cell
def test_backward_is_the_slope_of_forward(cell: Cell, directions: int) -> None:
    rng = np.random.default_rng(4)
    layer = [random_weights(rng, cell) for _ in range(directions)]
    x = rng.normal(size=(OFFSETS[-1], INPUTS))
    h, c, d_h, d_c = rng.normal(size=(4, directions, len(LENGTHS), HIDDEN))
    d_states = rng.normal(size=(OFFSETS[-1], directions * HIDDEN))

    def value() -> float:
        states, last_h, last_c = cells.forward(cell, layer, x, OFFSETS, h, c)
        return float((states * d_states).sum() + (last_h * d_h).sum() + (last_c * d_c).sum())

    d_x, d_layer, d_first_h, d_first_c = cells.backward(
        cell, layer, x, OFFSETS, h, c, d_states, d_h, d_c
    )
    pairs = {"x": (d_x, x), "h": (d_first_h, h), "c": (d_first_c, c)}
    for direction, w in enumerate(layer):
        assert d_layer[direction].keys() == w.keys()
        pairs |= {f"{name} {direction}": (d_layer[direction][name], w[name]) for name in w}
    for name, (got, at) in pairs.items():
        np.testing.assert_allclose(got, slopes(value, at), rtol=0, atol=1e-7, err_msg=name)


@each_cell
def test_forward_leaves_what_it_was_given_alone(cell: Cell) -> None:
    rng = np.random.default_rng(5)
    layer, x = [random_weights(rng, cell)], rng.normal(size=(OFFSETS[-1], INPUTS))
    h, c = rng.normal(size=(2, 1, len(LENGTHS), HIDDEN))
    before = h.copy(), c.copy(), x.copy()
    states, _, _ = cells.forward(cell, layer, x, OFFSETS, h, c)
    cells.backward(cell, layer, x, OFFSETS, h, c, states, h, c)
    for now, then in zip((h, c, x), before, strict=True):
        assert (now == then).all()
