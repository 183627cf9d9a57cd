"""Arrays on cache lines; large blocks are used again, and never while something refers to them."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from carryline.recurrence import memory
from carryline.recurrence.cells import CELLS, shapes
from carryline.recurrence.kernels import Layer
from carryline.recurrence.memory import LARGE, LINE

FRESH = memory._fresh


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with blocks of its own, as they are without sanitizers."""
    monkeypatch.setattr(memory, "_blocks", [])
    monkeypatch.setattr(memory, "_fresh", FRESH)
    monkeypatch.setattr(memory, "LARGE", LARGE)


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
    assert memory.empty((LARGE // 2 + 100,), np.float32).ctypes.data == address


def held(array: Any) -> int:
    """Bytes that the array keeps from being given out again."""
    return int(array.base.size)


def test_an_array_keeps_no_more_than_twice_its_size() -> None:
    """Small results that somebody collects, between large arrays that come and go."""
    kept = []
    for _ in range(12):
        memory.empty((100 * LARGE,), np.uint8)
        kept.append(memory.empty((LARGE + 9,), np.uint8))
    assert sum(map(held, kept)) <= memory.SLACK * 12 * (LARGE + 9)


def test_passing_work_shares_a_few_blocks_of_any_size() -> None:
    with memory.passing():
        for size in (3, 1, 7, 2, 5):
            for _ in range(3):
                memory.empty((size * LARGE,), np.uint8)
        assert len(memory._blocks) == 1
        within = memory.empty((LARGE,), np.uint8)
        assert held(within) > 7 * LARGE
        first = threading.Thread(
            target=lambda: sizes.append(held(memory.empty((LARGE,), np.uint8)))
        )
        sizes: list[int] = []
        first.start()
        first.join()
    del within
    after = memory.empty((LARGE,), np.uint8)
    assert max(*sizes, held(after)) <= memory.SLACK * LARGE  # another thread, and when it is over


def test_what_lasts_pins_no_large_block_of_passing_work() -> None:
    weights = {
        name: np.ones(shape, np.float32) for name, shape in shapes(CELLS["lstm"], 512, 512).items()
    }
    with memory.passing():
        memory.empty((100 * LARGE,), np.uint8)
        with memory.passing():
            pass
        assert held(memory.empty((LARGE,), np.uint8)) > 100 * LARGE  # still passing
        layer = Layer(CELLS["lstm"], [weights])
        packs = [layer._input, layer._recurrent, *layer._backward_weights()[:2]]
    for pack in packs:
        assert held(pack) <= memory.SLACK * pack.nbytes


def test_training_on_batches_of_all_sizes_finds_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five arrays a step, as the preset `lecture` has them, of 64 reviews of similar length."""
    made: list[int] = []
    fresh = memory._fresh
    monkeypatch.setattr(memory, "_fresh", lambda size: made.append(size) or fresh(size))  # type: ignore[func-returns-value]
    rng = np.random.default_rng(0)
    tokens = np.clip(rng.lognormal(np.log(64 * 240), 0.75, 400), 512, 128_000).astype(int)
    for count in tokens:
        step = [memory.empty((count, width), np.float32) for width in (128, 512, 128)]
        step.append(memory.empty((count // 6, 512), np.float32))
        del step
    assert len(made) < 0.03 * 4 * len(tokens)


def test_what_is_kept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while all is in use: what goes beyond is memory like any other."""
    monkeypatch.setattr(memory, "KEPT", 8 * LARGE)
    arrays = [memory.empty((LARGE,), np.uint8) for _ in range(20)]
    for number, array in enumerate(arrays):
        array.fill(number)
    assert sum(block.size for block, _ in memory._blocks) <= 8 * LARGE
    assert all((array == number).all() for number, array in enumerate(arrays))
    blocks = [weakref.ref(array.base) for array in arrays]
    arrays.clear()
    del array
    assert [block() is not None for block in blocks] == [False] * 15 + [True] * 5
    memory.empty((9 * LARGE,), np.uint8)
    assert not memory._blocks


def test_release_gives_back_what_is_free() -> None:
    free, used = memory.empty((LARGE,), np.uint8), memory.empty((2 * LARGE,), np.uint8)
    used.fill(3)
    blocks = [weakref.ref(array.base) for array in (free, used)]
    del free
    memory.release()
    assert [block() is None for block in blocks] == [True, False]
    assert not np.shares_memory(memory.empty((2 * LARGE,), np.uint8), used)
    assert (used == 3).all()
    del used
    assert blocks[1]() is None


FORK = """
import os, signal, threading, warnings
import numpy as np
from carryline.recurrence import memory

warnings.simplefilter("ignore")  # of later Pythons, about forks beside threads
held, go_on = threading.Event(), threading.Event()

def hold():
    with memory._lock:
        held.set()
        go_on.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(20)
    memory.empty((2 * memory.LARGE,), np.uint8).fill(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
go_on.set()
thread.join()
raise SystemExit(status != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_finds_the_lock_open(python: Callable[..., Any]) -> None:
    found = python(FORK)
    assert found.returncode == 0, found.stderr


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


def test_which_of_several_blocks_is_taken() -> None:
    """The one used last; in passing work the smallest."""
    arrays = [memory.empty((factor * LARGE,), np.uint8) for factor in (3, 4)]
    addresses = [array.ctypes.data for array in arrays]
    arrays.clear()
    assert memory.empty((4 * LARGE,), np.uint8).ctypes.data == addresses[1]
    with memory.passing():
        assert memory.empty((4 * LARGE,), np.uint8).ctypes.data == addresses[0]


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
        assert all(held(array) <= 2 * (array.size + 7) for array, _ in self.arrays)


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
