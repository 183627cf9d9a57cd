"""Forward, backward and the plain reference agree, for every cell, shape, type and instruction set.

Tolerance: a sum of n rounded products errs by at most n times half a unit in the last place of its
terms (Higham 2002, 3.1); the terms here are of order 1 and errors pass through at most the longest
text's steps, each of which contracts or keeps them (|weights| are at most 1/sqrt(hidden)).
2e-5 in single precision (unit 6e-8) is 300 such roundings; 1e-11 in double is far below any
mistake.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryline.recurrence import cells, kernels
from carryline.recurrence.cells import CELLS, Cell
from carryline.recurrence.ragged import Plan

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}
Dtype = type[np.float32] | type[np.float64]


def random_layer(
    rng: np.random.Generator, cell: Cell, inputs: int, hidden: int, directions: int, dtype: Dtype
) -> list[dict[str, np.ndarray]]:
    bound = 1 / np.sqrt(hidden)
    return [
        {
            name: rng.uniform(-bound, bound, shape).astype(dtype)
            for name, shape in cells.shapes(cell, inputs, hidden).items()
        }
        for _ in range(directions)
    ]


class Case:
    """A random layer, batch and gradients, and what reference and kernels make of them."""

    def __init__(
        self, cell: Cell, lengths: list[int], inputs: int, hidden: int, directions: int,
        dtype: Dtype, seed: int = 0,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        self.cell = cell
        self.layer = random_layer(rng, cell, inputs, hidden, directions, dtype)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.plan = Plan(self.offsets)
        tokens, texts = int(self.offsets[-1]), len(lengths)

        def normal(*shape: int) -> Any:
            return rng.standard_normal(shape).astype(dtype)

        self.x = normal(tokens, inputs)
        self.h, self.c = normal(directions, texts, hidden), normal(directions, texts, hidden)
        self.d_states = normal(tokens, directions * hidden)
        self.d_h, self.d_c = normal(*self.h.shape), normal(*self.c.shape)
        if not cell.carry:
            self.d_c[:] = 0

    def reference(self) -> tuple[Any, Any]:
        wide = [{k: v.astype(np.float64) for k, v in w.items()} for w in self.layer]
        given = (wide, self.x.astype(np.float64), self.offsets, self.h, self.c)
        return cells.forward(self.cell, *given), cells.backward(
            self.cell, *given, self.d_states, self.d_h, self.d_c
        )

    def compiled(self, threads: int = 1, precision: str = "fp32") -> tuple[Any, Any]:
        plan, order = self.plan, self.plan.order
        layer = kernels.Layer(self.cell, self.layer, precision)
        x = np.ascontiguousarray(self.x[plan.positions])
        projected = layer.project(x, threads)
        trace = layer.forward(
            plan, projected, None, self.h[:, order], self.c[:, order],
            states=True, save=True, threads=threads,
        )  # fmt: skip
        assert trace.states is not None
        d = layer.backward(
            plan, trace, x, None, np.ascontiguousarray(self.d_states[plan.positions]),
            self.d_h[:, order], self.d_c[:, order], by_x=True, threads=threads,
        )  # fmt: skip
        assert d.x is not None
        back, rank = plan.inverse_positions, plan.inverse_order
        forward = trace.states[back], trace.h[:, rank], trace.c[:, rank]
        return forward, (d.x[back], d.layer, d.h[:, rank], d.c[:, rank])

    def walk(self, *pool: str, states: bool = False, threads: int = 1) -> kernels.Trace:
        """Forward, as when predicting."""
        layer = kernels.Layer(self.cell, self.layer)
        projected = layer.project(np.ascontiguousarray(self.x[self.plan.positions]), threads)
        return layer.forward(
            self.plan, projected, None, self.h[:, self.plan.order], self.c[:, self.plan.order],
            states=states, save=False, threads=threads, pool=pool,
        )  # fmt: skip

    def pooled(self, threads: int = 1) -> tuple[Any, Any]:
        """Largest and mean state by text, of kernels that write no states."""
        trace = self.walk("max", "mean", threads=threads)
        assert trace.states is None and trace.largest is not None and trace.mean is not None
        return trace.largest[self.plan.inverse_order], trace.mean[self.plan.inverse_order]


def flat(forward: Any, backward: Any) -> dict[str, np.ndarray]:
    names = {"states": forward[0], "h": forward[1], "c": forward[2], "d_x": backward[0]}
    names |= {"d_h": backward[2], "d_c": backward[3]}
    for direction, weights in enumerate(backward[1]):
        names |= {f"{name} {direction}": value for name, value in weights.items()}
    return names


def assert_agree(
    case: Case, dtype: Dtype, precision: str = "fp32", tolerance: float | None = None
) -> None:
    expected, got = flat(*case.reference()), flat(*case.compiled(precision=precision))
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        scale = max(1.0, float(np.abs(value).max(initial=0)))
        assert got[name].dtype == dtype
        np.testing.assert_allclose(
            got[name], value, rtol=0, atol=(tolerance or TOLERANCE[dtype]) * scale, err_msg=name
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_reference_and_kernels_agree(
    instruction_set: str, cell: Cell, directions: int, dtype: Dtype
) -> None:
    for hidden, inputs in [(64, 16), (5, 3), (33, 7), (128, 1)]:
        assert_agree(
            Case(cell, [7, 0, 3, 7, 1, 12, 2, 2, 9], inputs, hidden, directions, dtype), dtype
        )


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_products_of_bfloat16(instruction_set: str, cell: Cell) -> None:
    """A factor is off by at most 2^-9 of itself, a product by 2^-8, a sum of products of random
    signs by much less than its terms together; five times that for what a few steps make of it."""
    for hidden, inputs, lengths in [
        (64, 16, [7, 0, 3, 7, 1, 12, 2, 2, 9]),
        (33, 7, [40] * 3 + [1] * 70),
        (1, 1, [3]),
    ]:
        case = Case(cell, lengths, inputs, hidden, 2, np.float32)
        assert_agree(case, np.float32, "bf16", 5 * 2**-8)
        rough, fine = flat(*case.compiled(2, "bf16")), flat(*case.compiled())
        for name, value in flat(*case.compiled(1, "bf16")).items():
            assert np.array_equal(value, rough[name]), name  # whatever the threads
        for name in ("states", "d_x", "weight_hh 0", "weight_ih 1"):
            assert not np.array_equal(rough[name], fine[name]), name  # it does round


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_factors_that_are_bfloat16_are_multiplied_exactly(instruction_set: str, cell: Cell) -> None:
    case = Case(cell, [1, 1, 1, 0, 1, 1], 9, 37, 2, np.float32)

    def rounded(a: Any) -> Any:
        return (a.view(np.uint32) & 0xFFFF0000).view(np.float32)

    case.layer = [{name: rounded(weight) for name, weight in w.items()} for w in case.layer]
    case.x, case.h, case.c = rounded(case.x), rounded(case.h), rounded(case.c)
    (states, h, c), _ = case.compiled(precision="bf16")
    (own_states, own_h, own_c), _ = case.compiled()
    for got, expected in ((states, own_states), (h, own_h), (c, own_c)):
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)  # sums in another order


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
def test_tanh_and_sigmoid_of_any_number(instruction_set: str, function: str, dtype: Dtype) -> None:
    """By a step of a cell without products: rnn's state is tanh, gru's from h = 1 its update gate.

    Within 2.5e-7, four units in the last place of 1; also where an exponential would overflow.
    """
    cell = CELLS["rnn" if function == "tanh" else "gru"]
    far = np.array([0, -0.0, 1e-30, 50, -50, 89, -89, 1e4, -1e4, 3e38, -3e38, np.inf, -np.inf])
    near = np.concatenate([np.linspace(-30, 30, 6001), np.geomspace(1e-9, 1, 200), far])
    numbers = near.astype(dtype)
    hidden = len(numbers)
    weights = {n: np.zeros(shape, dtype) for n, shape in cells.shapes(cell, 1, 1).items()}
    layer = kernels.Layer(cell, [weights])
    projected = np.zeros((1, hidden, cell.gates), dtype)
    projected[0, :, 0 if function == "tanh" else 1] = numbers
    first = np.ones((1, hidden, 1), dtype)
    got = layer.forward(
        Plan(np.arange(hidden + 1)), projected, None, first, first,
        states=False, save=False, threads=1,
    ).h[0, :, 0]  # fmt: skip
    with np.errstate(over="ignore"):
        wide = numbers.astype(np.float64)
        expected = np.tanh(wide) if function == "tanh" else 1 / (1 + np.exp(-wide))
    np.testing.assert_allclose(got, expected, rtol=0, atol=2.5e-7 if dtype == np.float32 else 1e-15)
    small = np.abs(wide) < 1e-3
    if function == "tanh":  # no digits lost near 0: some ten roundings of 6e-8, none of 1 - 1
        np.testing.assert_allclose(got[small], expected[small], rtol=1e-6, atol=0)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_number_that_is_none_stays_one(instruction_set: str, cell: Cell) -> None:
    case = Case(cell, [3], 2, 20, 1, np.float32)
    case.x[1, 0] = np.nan
    states = case.compiled()[0][0]
    assert np.isfinite(states[0]).all()
    assert np.isnan(states[1:]).all()


@pytest.mark.parametrize("precision", kernels.PRECISIONS)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_way_back_without_the_weights(instruction_set: str, cell: Cell, precision: str) -> None:
    """The same gradients by the input to the bit, and nothing added for what is not wanted."""
    case = Case(cell, [9, 30, 0, 17] * 9, 5, 21, 2, np.float32)
    plan, order = case.plan, case.plan.order
    layer = kernels.Layer(cell, case.layer, precision)
    projected = layer.project(case.x, 1)
    first = case.h[:, order], case.c[:, order]
    trace = layer.forward(plan, projected, None, *first, states=True, save=True, threads=1)

    def back(by_weights: bool) -> kernels.Steps:
        return layer.walk_back(
            plan, trace, plan.tokens, None, case.d_states, case.d_h, case.d_c,
            by_weights=by_weights, threads=1,
        )  # fmt: skip

    whole, found = back(True), back(False)
    for name in ("projected", "h", "c"):
        assert (getattr(found, name) == getattr(whole, name)).all(), name
    for name in ("recurrent", "carry", "bias"):
        if getattr(whole, name) is not None:
            assert not getattr(found, name).any() and getattr(whole, name).any(), name


def test_a_precision_that_is_none_is_refused() -> None:
    layer = random_layer(np.random.default_rng(0), cells.LSTM, 2, 2, 1, np.float64)
    with pytest.raises(ValueError, match="fp32, bf16, not 'fp16'"):
        kernels.Layer(cells.LSTM, layer, "fp16")
    with pytest.raises(ValueError, match="single precision"):
        kernels.Layer(cells.LSTM, layer, "bf16")


@settings(max_examples=60, deadline=None)
@given(
    cell=st.sampled_from(list(CELLS.values())),
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    inputs=st.integers(1, 20),
    hidden=st.integers(1, 40),
    directions=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_ragged_shapes_agree(
    cell: Cell, lengths: list[int], inputs: int, hidden: int, directions: int, seed: int
) -> None:
    assert_agree(Case(cell, lengths, inputs, hidden, directions, np.float64, seed), np.float64)


def assert_pooled(case: Case, dtype: Dtype) -> None:
    """As from the states of the plain reference; the largest, of the kernels' own, to the bit."""
    states, own = case.reference()[0][0], case.compiled()[0][0]
    largest, mean = case.pooled()
    assert largest.dtype == mean.dtype == dtype
    for text, (begin, end) in enumerate(pairwise(case.offsets)):
        if begin == end:
            assert not largest[text].any() and not mean[text].any()
            continue
        assert np.array_equal(largest[text], own[begin:end].max(axis=0))
        expected = states[begin:end].max(axis=0), states[begin:end].mean(axis=0)
        for got, value in zip((largest[text], mean[text]), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_pooling_in_the_loop_is_that_of_the_states(
    instruction_set: str, cell: Cell, directions: int, dtype: Dtype
) -> None:
    for hidden, inputs in [(64, 16), (5, 3), (33, 7)]:
        assert_pooled(
            Case(cell, [7, 0, 3, 7, 1, 12, 2, 0, 9], inputs, hidden, directions, dtype), dtype
        )
    assert_pooled(Case(cell, [0, 0], 2, 5, directions, dtype), dtype)


@settings(max_examples=40, deadline=None)
@given(
    cell=st.sampled_from(list(CELLS.values())),
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    hidden=st.integers(1, 40),
    directions=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooling_of_random_ragged_shapes(
    cell: Cell, lengths: list[int], hidden: int, directions: int, seed: int
) -> None:
    assert_pooled(Case(cell, lengths, 3, hidden, directions, np.float64, seed), np.float64)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_only_what_is_asked_for_is_pooled(pool: str) -> None:
    """To the same bits whether or not the other one and the states are wanted, too."""
    case = Case(cells.LSTM, [5, 0, 2], 3, 12, 1, np.float32)
    trace = case.walk(pool, states=True)
    found: dict[str, Any] = {"max": trace.largest, "mean": trace.mean}
    assert trace.states is not None
    both = case.walk("max", "mean")
    expected: dict[str, Any] = {"max": both.largest, "mean": both.mean}
    assert np.array_equal(found.pop(pool), expected[pool])
    assert [*found.values()] == [None]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("hidden", [64, 20])
def test_pooled_bits_depend_on_the_text_alone(
    instruction_set: str, cell: Cell, hidden: int
) -> None:
    lengths = [*np.random.default_rng(0).integers(0, 4, 300).tolist(), 40, 17, 9]
    together = Case(cell, lengths, 6, hidden, 2, np.float32)
    expected = together.pooled()
    for threads in (2, 3):
        assert all(map(np.array_equal, together.pooled(threads), expected))
    for text in (0, 7, 300, 302):
        alone = Case(cell, [lengths[text]], 6, hidden, 2, np.float32)
        begin, end = together.offsets[text : text + 2]
        alone.layer, alone.x = together.layer, together.x[begin:end]
        alone.h, alone.c = together.h[:, text : text + 1], together.c[:, text : text + 1]
        for own, whole in zip(alone.pooled(), expected, strict=True):
            assert np.array_equal(own[0], whole[text])


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("token", [0, 1, 2])
def test_a_number_that_is_none_is_the_largest(instruction_set: str, cell: Cell, token: int) -> None:
    """Of the whole text, whichever direction meets it first or last; not of the text beside."""
    case = Case(cell, [3, 3], 2, 20, 2, np.float32)
    case.x[token, 0] = np.nan
    for pooled in case.pooled():
        assert np.isnan(pooled[0]).all()
        assert np.isfinite(pooled[1]).all()


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize(("hidden", "precision"), [(64, "fp32"), (20, "fp32"), (20, "bf16")])
def test_a_text_gets_the_same_bits_in_every_batch_and_on_every_thread(
    instruction_set: str, cell: Cell, hidden: int, precision: str
) -> None:
    lengths = [9, 4, 30, 1, 17, 17, 2, 8, 25, 3, 3, 12, 6]
    together = Case(cell, lengths, 24, hidden, 2, np.float32)
    (states, h, c), _ = together.compiled(1, precision)
    for threads in (2, 3, 5):
        again = together.compiled(threads, precision)
        for name, value in flat(*together.compiled(1, precision)).items():
            assert np.array_equal(value, flat(*again)[name]), name
    for text, length in enumerate(lengths):
        alone = Case(cell, [length], 24, hidden, 2, np.float32)
        alone.layer = together.layer
        begin, end = together.offsets[text : text + 2]
        alone.x = together.x[begin:end]
        alone.h, alone.c = together.h[:, text : text + 1], together.c[:, text : text + 1]
        (own, own_h, own_c), _ = alone.compiled(1, precision)
        assert np.array_equal(own, states[begin:end])
        assert np.array_equal(own_h[:, 0], h[:, text])
        assert np.array_equal(own_c[:, 0], c[:, text])


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_more_texts_than_are_walked_together(cell: Cell, directions: int) -> None:
    lengths = np.random.default_rng(0).integers(0, 4, 600).tolist()
    case = Case(cell, lengths, 3, 5, directions, np.float64)
    assert_agree(case, np.float64)
    assert_pooled(case, np.float64)
    alone, shared = (flat(*case.compiled(threads)) for threads in (1, 3))
    for name, value in alone.items():
        assert np.array_equal(value, shared[name]), name


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_parts_of_very_different_lengths(cell: Cell, directions: int) -> None:
    """Each part has steps of its own: the first more than the others, some none at all."""
    lengths = [*[1] * 400, 90, *[2] * 300, *[0] * 600, 33]
    case = Case(cell, lengths, 2, 3, directions, np.float64)
    assert_agree(case, np.float64)
    assert_pooled(case, np.float64)


def test_time_is_that_of_the_tokens_not_of_steps_times_texts() -> None:
    """One long text among very many short ones costs what they cost apart.

    The processor's time of this thread, the better of two runs: 1.0 times; where each 252 texts
    walked all steps, 20.
    """
    count = 300_000

    def seconds(lengths: list[int]) -> float:
        case, taken = Case(cells.RNN, lengths, 1, 1, 2, np.float32), []
        layer = kernels.Layer(case.cell, case.layer)
        for _ in range(2):
            began = time.thread_time()
            trace = layer.forward(
                case.plan, layer.project(case.x, 1), None, case.h, case.c,
                states=True, save=True, threads=1, pool=("max", "mean"),
            )  # fmt: skip
            layer.backward(
                case.plan, trace, case.x, None, None, case.h, case.c, by_x=False, threads=1
            )
            taken.append(time.thread_time() - began)
        return min(taken)

    many, one = [1] * count, [count]
    assert seconds(many + one) < 4 * (seconds(many) + seconds(one))


ENDING = """
import threading, time
import numpy as np
from carryline.recurrence import kernels

dense = kernels.Dense(np.eye(200, dtype=np.float32), np.ones(200, np.float32))
x = np.ones((400, 200), np.float32)

def work(threads):
    while True:
        dense(x, threads)

for threads in (1, 2):
    threading.Thread(target=work, args=(threads,), daemon=True).start()
time.sleep(0.05)
"""


def test_a_daemon_thread_in_a_kernel_does_not_abort_the_exit(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(python, [ENDING] * 8):
            assert (done.returncode, done.stderr) == (0, "")


FORKED = """
import os, warnings
import numpy as np
from carryline.recurrence import kernels

warnings.simplefilter("ignore")  # Python 3.12 warns of every fork beside threads
dense = kernels.Dense(np.eye(200, dtype=np.float32), np.ones(200, np.float32))
x = np.ones((4000, 200), np.float32)
assert (dense(x, 2) == 2).all()
child = os.fork()
if child == 0:
    before = len(os.listdir("/proc/self/task"))
    right = all((dense(x, 2) == 2).all() for _ in range(20))
    os._exit(0 if right and len(os.listdir("/proc/self/task")) == before + 1 else 1)
assert os.waitpid(child, 0)[1] == 0
assert (dense(x, 2) == 2).all()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc")
def test_a_forked_process_has_threads_of_its_own(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    done = python(FORKED)
    assert done.returncode == 0, done.stderr


def test_callers_on_many_threads_share_the_helpers() -> None:
    cases = [Case(cells.LSTM, [30, 7, 12, 1], 24, 40, 2, np.float32, seed) for seed in range(8)]
    expected = [flat(*case.compiled(1)) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = [flat(*result) for result in pool.map(lambda case: case.compiled(3), cases)]
            for names, own in zip(expected, found, strict=True):
                assert all(np.array_equal(value, own[name]) for name, value in names.items())
