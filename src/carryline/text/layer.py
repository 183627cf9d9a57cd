"""The recurrent layer that comes with word vectors: how its weights lie in their file.

The weights are those of a network's first layer, a bidirectional LSTM (`cells.layer_shapes`), by
their names there: `recurrence.weight_ih_l0`, ….
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Layer = dict[str, Floats]

_DIRECTIONS = ("_l0", "_l0_reverse")
ROWS = 2 * 4  # of a unit: four gates in each direction


def side_by_side(layer: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """W and U [2 * 4 hidden, width + hidden], the forward direction's first, and b [2 * 4 hidden].

    A row's values are of one size, so that few bits hold them well.
    """
    each = [[layer[f"recurrence.{name}{end}"] for name in ("weight_ih", "weight_hh")]
            for end in _DIRECTIONS]  # fmt: skip
    matrix = np.concatenate([np.concatenate(both, axis=1) for both in each])
    bias = np.concatenate([layer[f"recurrence.bias_ih{end}"] for end in _DIRECTIONS])
    return matrix, bias


def apart(matrix: NDArray[Any], bias: Floats) -> Layer:
    """The layer again."""
    layer: Layer = {}
    width = matrix.shape[1] - matrix.shape[0] // ROWS
    both = zip(np.split(matrix, 2), np.split(bias, 2), strict=True)
    for end, (rows, own) in zip(_DIRECTIONS, both, strict=True):
        layer[f"recurrence.weight_ih{end}"] = rows[:, :width].astype(np.float32)
        layer[f"recurrence.weight_hh{end}"] = rows[:, width:].astype(np.float32)
        layer[f"recurrence.bias_ih{end}"] = own.astype(np.float32)
    return {name: np.ascontiguousarray(value) for name, value in layer.items()}
