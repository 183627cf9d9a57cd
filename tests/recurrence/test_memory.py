"""Arrays on cache lines; large blocks are used again, and never while something refers to them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from carryline.recurrence import memory
from carryline.recurrence.memory import LARGE, LINE


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with blocks of its own."""
    monkeypatch.setattr(memory, "_blocks", [])


@pytest.mark.parametrize("shape", [(0,), (3,), (0, 5), (2, 3, 4), (1, LARGE), (LARGE - 1,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_shape_type_and_cache_line(shape: tuple[int, ...], dtype: Any) -> None:
    array = memory.empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.ctypes.data % LINE == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_a_large_block_is_used_again_once_it_is_free() -> None:
    first, second = memory.empty((2 * LARGE,), np.uint8), memory.empty((LARGE,), np.uint8)
    assert not np.shares_memory(first, second)
    address = first.ctypes.data
    del first
    assert memory.empty((LARGE // 4 + 100,), np.float32).ctypes.data == address


VIEWS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda array: array[1:3, 5:],
    "type": lambda array: array.view(np.float32),
    "transpose": lambda array: array.T,
    "torch": lambda array: torch.from_numpy(array)[1:].numpy(),
    "buffer": lambda array: memoryview(array)[2:],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_whatever_refers_to_a_block_keeps_it(view: Callable[[Any], Any]) -> None:
    array = memory.empty((4, LARGE), np.uint8)
    array.fill(1)
    kept = view(array)
    before = np.array(kept)
    del array
    for _ in range(3):
        memory.empty((4, LARGE), np.uint8).fill(2)
    assert (np.array(kept) == before).all()


def test_small_free_blocks_make_way_for_a_larger_one() -> None:
    for factor in (1, 2, 3, 4):
        memory.empty((factor * LARGE,), np.uint8)
    sizes = [block.size for block, _ in memory._blocks]
    assert len(sizes) == 1
    assert sizes[0] >= 4 * LARGE + LINE


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    arrays = [memory.empty((factor * LARGE,), np.uint8) for factor in (3, 1, 2)]
    addresses = [array.ctypes.data for array in arrays]
    arrays.clear()
    assert memory.empty((2 * LARGE - 9,), np.uint8).ctypes.data == addresses[2]


class Blocks(RuleBasedStateMachine):
    """Arrays made and dropped in any order: each keeps what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        memory._blocks.clear()
        self.arrays: list[tuple[Any, int]] = []

    @rule(size=st.integers(1, 5), number=st.integers(0, 255), part=st.booleans())
    def make(self, size: int, number: int, part: bool) -> None:
        array = memory.empty((size * LARGE // 2,), np.uint8)
        array.fill(number)
        self.arrays.append((array[7:] if part else array, number))

    @precondition(lambda self: self.arrays)
    @rule(choice=st.integers(0))
    def drop(self, choice: int) -> None:
        self.arrays.pop(choice % len(self.arrays))

    def teardown(self) -> None:
        for array, number in self.arrays:
            assert (array == number).all()
        assert len(memory._blocks) <= len(self.arrays) + 10


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def test_threads_never_share_a_block() -> None:
    errors: list[int] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(number: int) -> None:
        for _ in range(1500):
            arrays = [memory.empty((LARGE + 64 * i,), np.uint8) for i in range(3)]
            for array in arrays:
                array[:8] = number
            errors.extend(number for array in arrays if (array[:8] != number).any())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert not errors
