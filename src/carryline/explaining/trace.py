"""The memory made visible: gates, carry and states of a layer over the tokens of a text.

By the reference in plain NumPy (`recurrence/cells.py`), step by step as the textbook writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError
from carryline.model import network
from carryline.model.network import PAD, Network
from carryline.recurrence import cells
from carryline.text.tokens import Tokenizer

Array = NDArray[Any]
MOST_TOKENS = 2000  # of a text: each is a step in Python
DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True, eq=False)
class Trace:
    """One layer and direction over a text.

    pieces: the tokens as a person sees them; gates: by the names of `cells.gates` [tokens, hidden];
    states, carry: what they lead to [tokens, hidden], the carry None of a cell without one. All in
    the order of the text, which the backward direction reads from its end.
    """

    cell: cells.Cell
    layer: int
    direction: str
    pieces: list[str]
    gates: dict[str, Array]
    states: Array
    carry: Array | None

    def liveliest(self, most: int) -> Array:
        """The numbers of the units whose carry, or else state, varies most over the text, in the
        order of the tokens at which it is largest."""
        memory = self.states if self.carry is None else self.carry
        if not len(memory):
            return np.arange(min(most, memory.shape[1]))
        chosen = np.argsort(-memory.std(axis=0), kind="stable")[:most]
        peaks = np.abs(memory[:, chosen]).argmax(axis=0)
        found: Array = chosen[np.argsort(peaks, kind="stable")]
        return found

    def to_dict(self, most: int) -> dict[str, Any]:
        """The liveliest units, JSON-ready: each kind of values [tokens, units] by its name."""
        chosen = self.liveliest(most)
        values = {**self.gates, "states": self.states}
        values |= {} if self.carry is None else {"carry": self.carry}
        return {
            "cell": self.cell.name,
            "layer": self.layer,
            "direction": self.direction,
            "pieces": self.pieces,
            "units": chosen.tolist(),
            **{name: of_tokens[:, chosen].tolist() for name, of_tokens in values.items()},
        }


def traced(
    model: Network, tokenizer: Tokenizer, text: str, layer: int = 1, direction: str = "forward"
) -> Trace:
    """Of a layer (1 is the first) in a direction.

    Raises `DataError` for a layer or a direction that there is not, and for a text that is too
    long.
    """
    config = model.config
    ids = np.array(tokenizer.encode(text), np.int32)
    if config.mask:
        ids = ids[ids != PAD]
    _check(len(config.hidden), config.bidirectional, layer, direction, len(ids))
    x = model.weights["embedding.weight"][tokenizer.rows_of(ids)]
    cell = cells.CELLS[config.cell]
    for below in range(layer - 1):
        weights = list(network.layer(config, model.weights, below).values())
        first = np.zeros((len(weights), 1, config.hidden[below]), np.float32)
        x, _, _ = cells.forward(cell, weights, x, np.array([0, len(x)]), first, first)
    weights = list(network.layer(config, model.weights, layer - 1).values())
    backwards = direction == "backward"
    gates, states, carry = _walked(cell, weights[backwards], x, backwards)
    return Trace(
        cell, layer, direction, tokenizer.pieces(ids.tolist()), gates, states,
        carry if cell.carry else None,
    )  # fmt: skip


def _check(layers: int, both: bool, layer: int, direction: str, tokens: int) -> None:
    if not 1 <= layer <= layers:
        raise DataError(f"1 <= layer <= {layers} of this model, it is {layer}")
    known = DIRECTIONS[: 1 + both]
    if direction not in known:
        raise DataError(f"direction must be one of {', '.join(known)}, it is {direction!r}")
    if tokens > MOST_TOKENS:
        raise DataError(
            f"a text to look into has at most {MOST_TOKENS:,} tokens, it has {tokens:,}"
        )


def _walked(
    cell: cells.Cell, weights: cells.Weights, x: Array, backwards: bool
) -> tuple[dict[str, Array], Array, Array]:
    hidden = weights["weight_hh"].shape[1]
    h, c = np.zeros(hidden, np.float32), np.zeros(hidden, np.float32)
    states, carry = np.empty((len(x), hidden), np.float32), np.empty((len(x), hidden), np.float32)
    gates: dict[str, Array] = {
        name: np.empty_like(states)
        for name in cells.gates(cell, weights, 0 * weights["weight_ih"][0], h, c)
    }
    for at in reversed(range(len(x))) if backwards else range(len(x)):
        found = cells.gates(cell, weights, x[at], h, c)
        h, c = cells.next_state(cell, found, h, c)
        states[at], carry[at] = h, c
        for name, values in found.items():
            gates[name][at] = values
    return gates, states, carry
