"""Word vectors in tests: few, narrow, and a model with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from carryline.recurrence.cells import LSTM, layer_shapes
from carryline.text.vectors import Vectors

WIDTH = 8
KNOWN = [
    "the",
    "film",
    "of",
    "good",
    "bad",
    "never",
    "read",
    "night",
]  # of conftest's corpus, but two


def vectors_file(
    path: Path, words: list[str] = KNOWN, width: int = WIDTH, bits: int = 4, hidden: int = 0
) -> Path:
    matrix = np.random.default_rng(7).normal(0, 0.3, (len(words), width)).astype(np.float32)
    layer = layer_of(width, hidden) if hidden else None
    Vectors(words, np.ones(len(words), np.int64), matrix, {}, layer).save(path, bits)
    return path


def layer_of(width: int, hidden: int) -> dict[str, Any]:
    """The weights of a recurrent layer that reads vectors."""
    rng, shapes = np.random.default_rng(1), layer_shapes(LSTM, width, [hidden], 2)
    return {
        f"recurrence.{name}": rng.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
