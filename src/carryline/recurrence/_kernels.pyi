"""Types of the compiled module (csrc/binding*.cc); kernels.py is the door to all that computes.

Arrays are float32 or all float64; an index is int32, starts and lengths int64.
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
def pack_gates(
    weights: list[_Array], hidden: int, packed: _Array, brief: bool, threads: int
) -> None: ...
def pack_panels(
    matrices: list[_Array], transposed: bool, packed: _Array, brief: bool, threads: int
) -> None: ...
def pack_products(
    cell: int, weights: list[_Array], packed: _Array, brief: bool, threads: int
) -> None: ...
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
def adam(
    weights: list[_Array],
    firsts: list[_Array],
    seconds: list[_Array],
    averages: list[_Array] | None,
    gradients: list[_Array],
    scale: float,
    steps: _Array,
    rule: NDArray[np.float64],
    threads: int,
) -> None: ...
def adam_rows(
    weight: _Array,
    first: _Array,
    second: _Array,
    average: _Array | None,
    ids: NDArray[np.int64] | None,
    gradient: _Array | None,
    scale: float,
    done: NDArray[np.int32],
    last: int,
    steps: _Array,
    rule: NDArray[np.float64],
    still: bool,
    taken: _Array | None,
    threads: int,
) -> None: ...
def dropout(
    x: _Array, drawn: _Array, dropped: int, scale: float, out: _Array, threads: int
) -> None: ...
def squares(arrays: list[_Array], threads: int) -> float: ...
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
    where: _Array | None,
    mean: _Array | None,
    saved: _Array | None,
    brief: bool,
    threads: int,
) -> None: ...
def recurrence_backward(
    cell: int,
    starts: _Array,
    d_states: _Array | None,
    d_largest: _Array | None,
    where: _Array | None,
    d_mean: _Array | None,
    states: _Array,
    saved: _Array,
    h_first: _Array,
    c_first: _Array,
    weight_hh: _Array,
    weight_ch: _Array | None,
    row: _Array | None,
    d_h: _Array,
    d_c: _Array,
    by_first: bool,
    by_weights: bool,
    d_projected: _Array,
    d_weight_hh: _Array,
    d_weight_ch: _Array | None,
    d_bias: _Array,
    brief: bool,
    threads: int,
) -> None: ...
def skip_gram(
    inputs: _Array,
    outputs: _Array,
    ids: NDArray[np.int32],
    place: int,
    key: int,
    keep: NDArray[np.uint32],
    chance: NDArray[np.uint32],
    other: NDArray[np.int32],
    window: int,
    negatives: int,
    rate: float,
    fall: float,
    least: float,
    shards: int,
    stretch: int,
    threads: int,
) -> tuple[float, int]: ...
def word_keys(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]: ...
def character_keys(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], shortest: int, longest: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]: ...
def spread(
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    own: NDArray[np.int32],
    own_offsets: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def pair_keys(
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    own_offsets: NDArray[np.int64],
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]: ...
def text_counts(
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    own: NDArray[np.int32],
    own_offsets: NDArray[np.int64],
    features: int,
) -> NDArray[np.int64]: ...
def slots(keys: NDArray[np.uint64]) -> NDArray[np.int32]: ...
def find(
    keys: NDArray[np.uint64], slots: NDArray[np.int32], wanted: NDArray[np.uint64]
) -> NDArray[np.int32]: ...
def document_counts(
    keys: NDArray[np.uint64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]: ...
def weigh(
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    own: NDArray[np.int32],
    own_offsets: NDArray[np.int64],
    scale: NDArray[np.float32],
    threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]: ...
def weigh_pairs(
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    own_offsets: NDArray[np.int64],
    keys: NDArray[np.uint64],
    slots: NDArray[np.int32],
    scale: NDArray[np.float32],
    threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]: ...
def bags(
    matrix: NDArray[np.float32],
    weight: NDArray[np.float32],
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def sparse_transposed(
    values: NDArray[np.float32], ids: NDArray[np.int32], offsets: NDArray[np.int64], width: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]: ...
def sparse_product(
    values: NDArray[np.float32],
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    dense: _Array,
    out: _Array,
    threads: int,
) -> None: ...
def dots(ones: list[_Array], others: list[_Array], threads: int) -> NDArray[np.float64]: ...
def combine(
    factors: NDArray[np.float64], vectors: list[_Array], out: _Array, threads: int
) -> None: ...
