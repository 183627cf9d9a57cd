"""Vectors in few bits: a scale for each, and for each value the number of one of a few levels.

The levels are those of least squared error (Max 1960, Lloyd 1982) for the values of all vectors,
each vector divided by its root mean square. Decoding looks levels up and multiplies once, in
float32: the same bits everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]

BITS = (4, 8)  # of a value
_TOGETHER = 4096  # vectors decoded or encoded at a time
_SAMPLE = 1 << 20  # values that the levels are learned from
_ROUNDS = 200


def encode(matrix: Floats, bits: int) -> dict[str, NDArray[Any]]:
    """`codes` uint8 [words, bytes], `levels` float32 [2^bits], `scales` float32 [words].

    With 4 bits a byte holds two values, the first in its lower half; the last may stand for none.
    """
    words, width = matrix.shape
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    scales = np.sqrt(squares / width).astype(np.float32)
    by = np.where(scales > 0, scales, 1)[:, None].astype(np.float32)
    every = max(1, words * width // _SAMPLE)
    levels = _levels((matrix[::every] / by[::every]).ravel(), 1 << bits)
    codes = np.empty((words, stored_width(width, bits)), np.uint8)
    for at in range(0, words, _TOGETHER):
        part = slice(at, at + _TOGETHER)
        middles = (levels[1:] + levels[:-1]) / 2
        found = np.searchsorted(middles, matrix[part] / by[part]).astype(np.uint8)
        codes[part] = _packed(found) if bits == 4 else found
    return {"codes": codes, "levels": levels, "scales": scales}


def decode(codes: Codes, levels: Floats, scales: Floats, out: Floats) -> None:
    """Fills out [words, width] with the vectors."""
    words, width = out.shape
    table = levels[:, None]
    if len(levels) == 16:  # both values of a byte
        table = levels[np.stack([np.arange(256) % 16, np.arange(256) // 16], axis=1)]
    for at in range(0, words, _TOGETHER):
        part = slice(at, at + _TOGETHER)
        values = table[codes[part]].reshape(len(codes[part]), -1)
        with np.errstate(over="ignore"):  # a file's own numbers: who reads it looks at the result
            np.multiply(values[:, :width], scales[part, None], out=out[part])


def stored_width(width: int, bits: int) -> int:
    """Bytes of a vector."""
    return (width * bits + 7) // 8


def _packed(codes: Codes) -> Codes:
    """Two values of 4 bits in a byte."""
    if codes.shape[1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    packed: Codes = codes[:, ::2] + 16 * codes[:, 1::2]
    return packed


def _levels(values: Floats, count: int) -> Floats:
    """Rising: each the mean of the values that are nearest to it."""
    values = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    # many even levels begin near the best ones, few would leave the outer ones to single values
    levels = np.linspace(values[0], values[-1], count)
    if count == 16:
        levels = np.quantile(values, (np.arange(count) + 0.5) / count)
    for _ in range(_ROUNDS):
        cuts = np.searchsorted(values, (levels[1:] + levels[:-1]) / 2)
        ends = np.concatenate([[0], cuts, [len(values)]])
        sizes = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(sizes, 1)
        levels = np.where(sizes > 0, means, levels)
    rising: Floats = np.maximum.accumulate(levels).astype(np.float32)
    return rising
