"""The stages of the network, each with its way back.

A stage gives its output and a function, the way back: from the gradient of the loss by its output
to that by its input, and to those by its own weights. The derivatives are the textbook's; see
docs/backpropagation.md, which writes them beside this code. Tokens stand in the kernels' order
(`ragged.Plan`), texts by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import kernels
from carryline.recurrence.cells import Cell, Weights
from carryline.recurrence.ragged import Plan

Array = NDArray[Any]


class Rows(NamedTuple):
    """The gradient by a matrix of which a batch reads some rows; by the others it is zero."""

    ids: NDArray[np.int64]  # [rows] rising, none twice
    values: Array  # [rows, width]


class States(NamedTuple):
    """What a recurrent layer gives, and the gradient by it (None: of zeros)."""

    all: Array | None = None  # [tokens, directions * hidden]
    last: Array | None = None  # [directions, texts, hidden], by rank
    carry: Array | None = None  # the same of the carry, if the cell has one
    largest: Array | None = None  # [texts, directions * hidden] of each text's, by rank
    mean: Array | None = None  # the same


Gradients = dict[str, Any]  # by a weight's name: an array of its shape, or `Rows`
Back = Callable[[Any], tuple[Any, Gradients]]


class Way:
    """The stages that were passed, and the way back through them."""

    def __init__(self) -> None:
        self._passed: list[tuple[str, Back]] = []

    def __call__(self, stage: tuple[Any, Back], name: str = "") -> Any:
        """The output of a stage; its weights' gradients will be called `name.…`."""
        out, back = stage
        self._passed.append((name, back))
        return out

    def back(self, d: Any) -> tuple[Any, Gradients]:
        """From the gradient by the last output to that by the first input, and to all weights'.

        It can be gone once: what a stage kept for it is let go as soon as it is passed.
        """
        gradients: Gradients = {}
        while self._passed:
            name, back = self._passed.pop()
            d, own = back(d)
            for key, by_weight in own.items():
                full = f"{name}.{key}"
                gradients[full] = _together(gradients.get(full), by_weight)
        return d, gradients


def _together(one: Any, other: Any) -> Any:
    """The gradient by a weight that several stages share."""
    if one is None:
        return other
    if isinstance(one, Rows):
        one, other = other, one
    if isinstance(other, Rows):
        assert not isinstance(one, Rows)
        one[other.ids] += other.values
        return one
    return one + other


def embedding(
    weight: Any, ids: NDArray[np.int64], shift: Array | None = None
) -> tuple[Array, Back]:
    """The rows `ids` (rising, none twice) of weight [vocabulary, width]: e = E[id] + shift.

    The gradient by the input is that by the rows, for `worst`.
    """

    def back(d: Array) -> tuple[Array, Gradients]:
        return d, {"weight": Rows(ids, d)}

    return weight[ids] if shift is None else weight[ids] + shift, back


def worst(x: Array, d: Array, size: float) -> Array:
    """The change of rows x that makes the loss rise most, as far as its gradient d by them tells:
    s |x| d / |d|, row by row (Miyato et al. 2017, of words for texts).

    Its length is a share of the row's own: there is nothing to gain by long ones.
    """
    length, own = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (d, x))
    tells = length > 1e-18  # shorter ones are lost when float32 squares them: such rows stay
    change: Array = np.where(tells, d * (size * own / np.where(tells, length, 1)), 0)
    return change


def dropout(
    x: Array, rate: float, rng: np.random.Generator | None, threads: int
) -> tuple[Array, Back]:
    """Each value 0 with probability `rate`, the others over 1 - rate (Srivastava et al. 2014).

    x: [rows, width]. The probability is a multiple of 2^-16. All stay without an `rng`.
    """
    if rng is None or not rate:
        return x, lambda d: (d, {})
    # Drawing is what takes time, so no bit more than needed: 0.03 ms for 750 rows of 128 at a rate
    # of 1/2, 0.06 at most; rng.random(float32) takes 0.19.
    number, all_of_them = (np.uint8, 256) if (rate * 256).is_integer() else (np.uint16, 65536)
    dropped = min(round(rate * all_of_them), all_of_them - 1)
    words = rng.bit_generator.random_raw(-(-x.size * np.dtype(number).itemsize // 8))
    how = words.view(number), dropped, 1 / (1 - dropped / all_of_them), threads
    return kernels.dropout(x, *how), lambda d: (kernels.dropout(d, *how), {})


class Packed(NamedTuple):
    """A recurrent layer's weights as the kernels read them, for any number of batches; endings: of
    the names of each direction's."""

    layer: kernels.Layer
    endings: Sequence[str]


def packed(cell: Cell, weights: Mapping[str, Weights], precision: str, threads: int) -> Packed:
    """weights: of each direction, by what their names end with."""
    return Packed(kernels.Layer(cell, list(weights.values()), precision, threads), list(weights))


def recurrence(
    weights: Packed,
    plan: Plan,
    x: Array,
    row: kernels.Rows | None,
    threads: int,
    pool: Collection[str] = (),
    first: tuple[Array, Array] | None = None,
) -> tuple[States, Back]:
    """A recurrent layer over all texts, by back-propagation through time (Werbos 1990).

    x: [rows, input], of which each token reads its `row` (None: its own); pool: "max", "mean" or
    both, made beside; first: h and c to begin with, by rank [directions, texts, hidden], zeros
    unless given.
    """
    layer, endings = weights
    shape = (len(endings), plan.texts, layer.hidden)
    h, c = first or (np.zeros(shape, x.dtype), np.zeros(shape, x.dtype))
    trace = layer.forward(
        plan, layer.project(x, threads), row, h, c,
        states=True, save=True, threads=threads, pool=pool,
    )  # fmt: skip

    def back(d: States) -> tuple[Any, Gradients]:
        none = np.zeros(shape, x.dtype)
        last, carry = (none if by is None else by for by in (d.last, d.carry))
        found = layer.backward(
            plan, trace, x, row, d.all, last, carry,
            d_largest=d.largest, d_mean=d.mean, by_x=True, by_first=False, threads=threads,
        )  # fmt: skip
        return found.x, {
            name + ending: by_weight
            for ending, own in zip(endings, found.layer, strict=True)
            for name, by_weight in own.items()
        }

    carry = trace.c if layer.cell.carry else None
    return States(trace.states, trace.h, carry, trace.largest, trace.mean), back


def every(states: States) -> tuple[Array, Back]:
    """All tokens' states [tokens, width]: for the layer above, or a loss at every position."""
    assert states.all is not None
    return states.all, lambda d: (States(all=d), {})


def pooling(states: States, kind: str) -> tuple[Array, Back]:
    """One vector a text [texts, width], of `config.POOLINGS`; an empty text's is zeros."""
    assert states.last is not None
    directions, texts, hidden = states.last.shape
    last = np.ascontiguousarray(states.last.swapaxes(0, 1)).reshape(texts, directions * hidden)

    def by_last(d: Array) -> Array:
        turned: Array = d.reshape(texts, directions, hidden).swapaxes(0, 1)
        return turned

    if kind == "last":
        return last, lambda d: (States(last=by_last(d)), {})
    if kind == "max":
        assert states.largest is not None
        return states.largest, lambda d: (States(largest=d), {})
    if kind == "mean":
        assert states.mean is not None
        return states.mean, lambda d: (States(mean=d), {})
    assert states.largest is not None and states.mean is not None

    def back(d: Array) -> tuple[States, Gradients]:
        by_h, by_largest, by_mean = np.split(d, 3, axis=1)
        largest = np.ascontiguousarray(by_largest)
        return States(last=by_last(by_h), largest=largest, mean=by_mean), {}

    return np.concatenate([last, states.largest, states.mean], axis=1), back


def dense(x: Array, weights: Mapping[str, Array], threads: int) -> tuple[Array, Back]:
    """y = x W^T + b of x [rows, inputs], `weight` [outputs, inputs] and `bias` [outputs]."""
    layer = kernels.Dense(weights["weight"], weights["bias"])

    def back(d: Array) -> tuple[Array, Gradients]:
        by_x, by_weight = layer.backward(x, d, threads)
        return by_x, {"weight": by_weight, "bias": d.sum(axis=0)}

    return layer(x, threads), back


def relu(x: Array) -> tuple[Array, Back]:
    """max(x, 0), whose derivative at 0 is taken as 0."""
    positive = x > 0
    return np.maximum(x, 0), lambda d: (d * positive, {})
