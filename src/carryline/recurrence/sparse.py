"""Rows of which most values are zero, and their products with matrices."""

from __future__ import annotations

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
