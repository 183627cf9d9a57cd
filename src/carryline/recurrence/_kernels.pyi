"""Types of the compiled module (csrc/binding.cc); kernels.py is the door to all that computes.

Arrays are float32 or all float64; index and where are int32, starts and lengths int64.
brief: whether factors of products are rounded to bfloat16; packed matrices must have been, too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]

def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str) -> None: ...
def peak(count: int, brief: bool, threads: int) -> int: ...
def plan(
    offsets: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def positions(
    offsets: NDArray[np.int64], order: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.int64]: ...
def time_major(
    values: NDArray[np.int32],
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> NDArray[np.int32]: ...
def distinct(
    ids: NDArray[np.int32], vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]: ...
def gates_size(gates: int, inner: int, hidden: int, twofold: bool, brief: bool) -> int: ...
def panels_size(inner: int, columns: int, twofold: bool, brief: bool) -> int: ...
def products_size(cell: int, hidden: int, twofold: bool, brief: bool) -> int: ...
def saved_width(cell: int, hidden: int, twofold: bool, brief: bool) -> int: ...
def pack_gates(weight: _Array, hidden: int, packed: _Array, brief: bool) -> None: ...
def pack_panels(matrix: _Array, transposed: bool, packed: _Array, brief: bool) -> None: ...
def pack_products(cell: int, weight: _Array, packed: _Array, brief: bool) -> None: ...
def matmul(
    x: _Array,
    panels: _Array,
    bias: _Array | None,
    out: _Array,
    accumulate: bool,
    brief: bool,
    threads: int,
) -> None: ...
def outer(left: _Array, right: _Array, out: _Array, brief: bool, threads: int) -> None: ...
def pool(
    starts: _Array,
    lengths: _Array,
    states: _Array,
    largest: _Array,
    where: _Array | None,
    mean: _Array,
    threads: int,
) -> None: ...
def pool_backward(
    starts: _Array,
    lengths: _Array,
    d_largest: _Array,
    where: _Array,
    d_mean: _Array,
    d_states: _Array,
    threads: int,
) -> None: ...
def recurrence_forward(
    cell: int,
    starts: _Array,
    projected: _Array,
    row: _Array | None,
    weight_hh: _Array,
    weight_ch: _Array | None,
    bias_candidate: _Array | None,
    h: _Array,
    c: _Array,
    states: _Array | None,
    largest: _Array | None,
    mean: _Array | None,
    saved: _Array | None,
    brief: bool,
    threads: int,
) -> None: ...
def recurrence_backward(
    cell: int,
    starts: _Array,
    d_states: _Array | None,
    states: _Array,
    saved: _Array,
    h_first: _Array,
    c_first: _Array,
    weight_hh: _Array,
    weight_ch: _Array | None,
    row: _Array | None,
    d_h: _Array,
    d_c: _Array,
    d_projected: _Array,
    d_weight_hh: _Array,
    d_weight_ch: _Array | None,
    d_bias: _Array,
    brief: bool,
    threads: int,
) -> None: ...
