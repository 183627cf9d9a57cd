"""The four recurrent cells in plain NumPy: shapes, equations, gradients.

This is the specification that the compiled kernels are tested against, and the text to read to
learn what they compute. `x` is the input of a step, `h` the state, `c` the carry, `W` `weight_ih`,
`U` `weight_hh`, `b` `bias_ih`. Gates stand in the order of torch.nn: i, f, g, o and r, z, n.
Sources: Elman 1990 (rnn); Hochreiter & Schmidhuber 1997 with Gers' forget gate (lstm); Cho et al.
2014 in the form of cuDNN (gru).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = Mapping[str, Array]  # of one layer and direction, see `shapes`


@dataclass(frozen=True)
class Cell:
    """What the kernels must know of a cell.

    gates: columns of `W x + b`, in units of the hidden size. gradients: columns of the gates'
    gradients in the backward pass; the last `gates` of them belong to `W x + b`.
    """

    name: str
    number: int
    gates: int
    gradients: int
    carry: bool


RNN = Cell("rnn", 0, gates=1, gradients=1, carry=False)
LSTM = Cell("lstm", 1, gates=4, gradients=4, carry=True)
GRU = Cell("gru", 2, gates=3, gradients=4, carry=False)
CARRY = Cell("carry", 3, gates=4, gradients=4, carry=True)
CELLS: dict[str, Cell] = {cell.name: cell for cell in (RNN, LSTM, GRU, CARRY)}


def shapes(cell: Cell, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of one layer and direction, in the order they are stored.

    One bias a gate. `gru` keeps a second one for its candidate, since the reset gate stands
    between the two; `carry` has one more matrix, from the carry to the output.
    """
    rows = cell.gates * hidden
    weights: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, inputs),
        "weight_hh": (rows, hidden),
        "bias_ih": (rows,),
    }
    if cell is GRU:
        weights["bias_hh"] = (hidden,)
    if cell is CARRY:
        weights["weight_ch"] = (hidden, hidden)
    return weights


def layer_shapes(
    cell: Cell, inputs: int, hidden: Sequence[int], directions: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, as `weight_ih_l0`, …, `weight_ih_l0_reverse`, …."""
    named: dict[str, tuple[int, ...]] = {}
    for layer, size in enumerate(hidden):
        for suffix in ("", "_reverse")[:directions]:
            for name, shape in shapes(cell, inputs, size).items():
                named[f"{name}_l{layer}{suffix}"] = shape
        inputs = size * directions
    return named


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in the form that cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def gates(cell: Cell, w: Weights, x: Array, h: Array, c: Array) -> dict[str, Array]:
    """Of one step what stands between x [input], h and c [hidden] and the next ones, by the names
    of the textbook [hidden]: i, f, g and o of `lstm`, r, z and n of `gru`, n of `rnn`, which is its
    output, i, f, k and o of `carry`, whose o is its output."""
    projected = w["weight_ih"] @ x + w["bias_ih"]
    recurrent = w["weight_hh"] @ h
    if cell is GRU:
        px, ph = np.split(projected, 3), np.split(recurrent, 3)
        r, z = sigmoid(px[0] + ph[0]), sigmoid(px[1] + ph[1])
        return {"r": r, "z": z, "n": np.tanh(px[2] + r * (ph[2] + w["bias_hh"]))}
    if cell is RNN:
        return {"n": np.tanh(projected + recurrent)}
    i, f, g, o = np.split(projected + recurrent, 4)
    if cell is LSTM:
        return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}
    return {"i": sigmoid(i), "f": sigmoid(f), "k": np.tanh(g), "o": np.tanh(o + w["weight_ch"] @ c)}


def step(cell: Cell, w: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """One step of one text: x [input], h and c [hidden] -> the next h and c."""
    return next_state(cell, gates(cell, w, x, h, c), h, c)


def next_state(cell: Cell, of_step: Mapping[str, Array], h: Array, c: Array) -> tuple[Array, Array]:
    """The next h and c by a step's gates."""
    if cell is RNN:
        return of_step["n"], c
    if cell is GRU:
        return (1 - of_step["z"]) * of_step["n"] + of_step["z"] * h, c
    if cell is LSTM:
        following = of_step["f"] * c + of_step["i"] * of_step["g"]
        return of_step["o"] * np.tanh(following), following
    return of_step["o"], of_step["f"] * c + of_step["i"] * of_step["k"]


Gates = tuple[Array, Array, Array]  # gradients by W x + b, by U h, and of h before (directly)


def _rnn_gradient(w: Weights, x: Array, h: Array, d_h: Array) -> Gates:
    after, _ = step(RNN, w, x, h, h)
    d = d_h * (1 - after**2)
    return d, d, np.zeros_like(h)


def _gru_gradient(w: Weights, x: Array, h: Array, d_h: Array) -> Gates:
    px = np.split(w["weight_ih"] @ x + w["bias_ih"], 3)
    ph = np.split(w["weight_hh"] @ h, 3)
    r, z, late = sigmoid(px[0] + ph[0]), sigmoid(px[1] + ph[1]), ph[2] + w["bias_hh"]
    n = np.tanh(px[2] + r * late)
    d_n = d_h * (1 - z) * (1 - n**2)
    d_r, d_z = d_n * late * r * (1 - r), d_h * (h - n) * z * (1 - z)
    return np.concatenate([d_r, d_z, d_n]), np.concatenate([d_r, d_z, d_n * r]), d_h * z


def _carry_gradient(
    cell: Cell, w: Weights, x: Array, h: Array, c: Array, d_h: Array, d_c: Array
) -> tuple[Array, Array]:
    """Gradients by the gates and by the carry before, of `lstm` and `carry`."""
    gates = np.split(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h, 4)
    i, f, g = sigmoid(gates[0]), sigmoid(gates[1]), np.tanh(gates[2])
    if cell is LSTM:
        o, tanh_c = sigmoid(gates[3]), np.tanh(f * c + i * g)
        d_o = d_h * tanh_c * o * (1 - o)
        d_c = d_c + d_h * o * (1 - tanh_c**2)
    else:
        d_o = d_h * (1 - np.tanh(gates[3] + w["weight_ch"] @ c) ** 2)
    d = np.concatenate([d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - g**2), d_o])
    d_before = d_c * f
    if cell is CARRY:
        d_before = d_before + w["weight_ch"].T @ d_o
    return d, d_before


def step_backward(
    cell: Cell, w: Weights, x: Array, h: Array, c: Array, d_h: Array, d_c: Array
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Gradients of `step` by x, h, c and the weights, given those of what it returned."""
    if cell.carry:
        d_input, d_c = _carry_gradient(cell, w, x, h, c, d_h, d_c)
        d_recurrent, direct = d_input, np.zeros_like(h)
    elif cell is GRU:
        d_input, d_recurrent, direct = _gru_gradient(w, x, h, d_h)
    else:
        d_input, d_recurrent, direct = _rnn_gradient(w, x, h, d_h)
    hidden = len(h)
    d_w = {
        "weight_ih": np.outer(d_input, x),
        "weight_hh": np.outer(d_recurrent, h),
        "bias_ih": d_input,
    }
    if cell is GRU:
        d_w["bias_hh"] = d_recurrent[2 * hidden :]
    if cell is CARRY:
        d_w["weight_ch"] = np.outer(d_input[3 * hidden :], c)
    return w["weight_ih"].T @ d_input, direct + w["weight_hh"].T @ d_recurrent, d_c, d_w


def forward(
    cell: Cell, layer: Sequence[Weights], x: Array, offsets: Array, h: Array, c: Array
) -> tuple[Array, Array, Array]:
    """One layer over ragged texts.

    layer: weights by direction (the second one walks from a text's last token to its first).
    x: [tokens, input], texts end to end; offsets: [texts + 1]; h, c: [directions, texts, hidden].
    Returns states [tokens, directions * hidden] and the final h and c.
    """
    h, c = h.copy(), c.copy()
    hidden = h.shape[2]
    states = np.zeros((len(x), len(layer) * hidden), x.dtype)
    for d, w in enumerate(layer):
        for text in range(len(offsets) - 1):
            for at in _walk(offsets, text, backwards=d == 1):
                h[d, text], c[d, text] = step(cell, w, x[at], h[d, text], c[d, text])
                states[at, d * hidden : (d + 1) * hidden] = h[d, text]
    return states, h, c


def backward(
    cell: Cell,
    layer: Sequence[Weights],
    x: Array,
    offsets: Array,
    h: Array,
    c: Array,
    d_states: Array,
    d_h: Array,
    d_c: Array,
) -> tuple[Array, list[dict[str, Array]], Array, Array]:
    """Gradients of `forward` by x, the weights, the first h and the first c."""
    d_x, d_h, d_c = np.zeros_like(x), d_h.copy(), d_c.copy()
    d_layer = [{name: np.zeros_like(value) for name, value in w.items()} for w in layer]
    hidden = h.shape[2]
    for d, w in enumerate(layer):
        for text in range(len(offsets) - 1):
            walk = _walk(offsets, text, backwards=d == 1)
            before = [(h[d, text], c[d, text])]
            for at in walk:
                before.append(step(cell, w, x[at], *before[-1]))
            for at, (h_before, c_before) in zip(reversed(walk), before[-2::-1], strict=True):
                d_h[d, text] += d_states[at, d * hidden : (d + 1) * hidden]
                gradients = step_backward(
                    cell, w, x[at], h_before, c_before, d_h[d, text], d_c[d, text]
                )
                d_x[at] += gradients[0]
                d_h[d, text], d_c[d, text] = gradients[1], gradients[2]
                for name, value in gradients[3].items():
                    d_layer[d][name] += value
    return d_x, d_layer, d_h, d_c


def _walk(offsets: Array, text: int, backwards: bool) -> list[int]:
    positions = list(range(offsets[text], offsets[text + 1]))
    return positions[::-1] if backwards else positions
