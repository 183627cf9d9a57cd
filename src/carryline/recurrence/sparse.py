"""Rows of which most values are zero, and their products with matrices; sums of long vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels


@dataclass(frozen=True, eq=False)
class Sparse:
    """A matrix [rows, width] by what is not zero: row i has the values[offsets[i]:offsets[i + 1]]
    in the columns ids[offsets[i]:offsets[i + 1]]; values float32, ids int32, offsets int64."""

    values: NDArray[np.float32]
    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def product(self, dense: NDArray[Any], threads: int) -> NDArray[Any]:
        """[rows, columns] of dense [width, columns], float32 or float64. A row's bits depend on
        nothing but it and `dense`."""
        out = np.empty((len(self), dense.shape[1]), dense.dtype)
        _kernels.sparse_product(self.values, self.ids, self.offsets, dense, out, threads)
        return out

    @cached_property
    def transposed(self) -> Sparse:
        """The same matrix by columns."""
        parts = _kernels.sparse_transposed(self.values, self.ids, self.offsets, self.width)
        return Sparse(*parts, width=len(self))


def dots(
    ones: Sequence[NDArray[Any]], others: Sequence[NDArray[Any]], threads: int
) -> NDArray[np.float64]:
    """The sums of products of vectors [ones, others], in double precision and, on any number of
    threads, to the same bits."""
    table = _kernels.dots(list(ones), list(others), threads)
    return table.reshape(len(ones), len(others))


def combined(
    factors: NDArray[np.float64], vectors: Sequence[NDArray[Any]], threads: int
) -> NDArray[Any]:
    """The sum of the vectors, each times its factor, in their order."""
    out = np.empty_like(vectors[0])
    _kernels.combine(factors, list(vectors), out, threads)
    return out
