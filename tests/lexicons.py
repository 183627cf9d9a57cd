"""Word vectors in tests: few, narrow, and a model with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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


def vectors_file(path: Path, words: list[str] = KNOWN, width: int = WIDTH, bits: int = 4) -> Path:
    matrix = np.random.default_rng(7).normal(0, 0.3, (len(words), width)).astype(np.float32)
    Vectors(words, np.ones(len(words), np.int64), matrix, {}).save(path, bits)
    return path
