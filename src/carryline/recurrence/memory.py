"""Aligned arrays, and large ones used again.

A training step fills some 150 MB of arrays of ever-changing size. Fresh memory from the system is
given page by page and zeroed: that took half the time of the forward kernel (18 instead of 9 ms a
step of 20,000 tokens). So large blocks are kept and given out again once nothing refers to them.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LINE = 64  # bytes of a cache line, and of the widest vector
LARGE = 1 << 20  # bytes from which on blocks are kept
SLACK = 2  # a block is at most so many times as large as its array, which may live for long
# Bytes of all blocks that are kept, of which a third may never have been touched (see `_block`):
# the largest steps of `base` take 900 MB, and one of 262,144 tokens by `lecture` 1,200. Where they
# are not kept, such a step takes 2,200 instead of 620 ns a token, and twice the memory.
KEPT = 3 << 29

Block = tuple[NDArray[np.uint8], int]  # memory, and where in it the first whole cache line begins

_blocks: list[Block] = []  # the one given out last stands last
_lock = threading.Lock()
_thread = threading.local()


@contextmanager
def passing() -> Iterator[None]:
    """For work in this thread that keeps none of its arrays: while it lasts, they may lie in blocks
    of any size. A few large ones then serve batches of all sizes (an epoch of IMDB's reviews:
    1,170,000 tokens a second instead of 1,000,000, in 985 instead of 1,215 MB)."""
    before = getattr(_thread, "passing", False)
    _thread.passing = True
    try:
        yield
    finally:
        _thread.passing = before


def empty(shape: tuple[int, ...], dtype: Any, *, lasting: bool = False) -> Array:
    """An array that begins on a cache line, so that no vector straddles two.

    lasting: it is kept for longer, though it is made in passing work.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        array: Array = np.ndarray(shape, dtype, *_fresh(size))
        return array
    with _lock:
        array = np.ndarray(shape, dtype, *_block(size, lasting))
    return array


def release() -> None:
    """Gives all that is kept and free back to the system; what is in use follows its last array."""
    with _lock:
        _blocks.clear()


def _unlock() -> None:
    """In a process that was forked: the thread that held the lock is not in it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _fresh(size: int) -> Block:
    memory = np.empty(size + LINE, np.uint8)
    address: int = memory.__array_interface__["data"][0]  # memory.ctypes takes five times as long
    return memory, -address % LINE


def _block(size: int, lasting: bool) -> Block:
    """A free block that is large enough but not too large; if there is none, a new one.

    A view keeps its block alive by a reference, so a block without others is free. Of several the
    one used last is taken, which may still be in a cache, or the smallest where any would do. The
    blocks that were given out longest ago are the first to be kept no more.
    """
    passing = not lasting and getattr(_thread, "passing", False)
    most = sys.maxsize if passing else SLACK * size
    free = [i for i, count in enumerate(_references(_blocks)) if count == _UNUSED]
    fitting = [i for i in free if size + LINE <= _blocks[i][0].size <= most]
    if fitting:
        chosen = min(fitting, key=lambda i: _blocks[i][0].size) if passing else fitting[-1]
        block = _blocks.pop(chosen)
        _blocks.append(block)
        return block
    for i in reversed(free if passing else ()):  # all too small: they grow to what is needed
        del _blocks[i]
    block = _fresh(size + size // 2)  # pages never touched cost nothing
    _blocks.append(block)
    kept = sum(memory.size for memory, _ in _blocks)
    while kept > KEPT:
        kept -= _blocks.pop(0)[0].size
    return block


def _references(blocks: list[Block]) -> list[int]:
    return [sys.getrefcount(memory) for memory, _ in blocks]


_UNUSED = _references([_fresh(1)])[0]  # what a free block has, in this Python
