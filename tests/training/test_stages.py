"""Each stage's way back against finite differences, and what a way keeps and lets go."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from carryline.model import network
from carryline.model.config import POOLINGS
from carryline.recurrence import cells, kernels
from carryline.recurrence.cells import CELLS
from carryline.recurrence.ragged import Plan
from carryline.training import losses, stages
from carryline.training.draws import DROPOUT, generator
from carryline.training.stages import Rows, States, Way
from gradients import assert_derivatives, assert_way_back

POOLS: list[tuple[str, ...]] = [(), ("max",), ("mean",), ("max", "mean")]
SHAPES = [[3, 0, 7, 1, 4, 4], [1], [0], [0, 0, 1], [5, 5], []]
Lengths = list[int]
lengths_of = pytest.mark.parametrize("lengths", SHAPES, ids=str)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def plan_of(lengths: Lengths) -> Plan:
    return Plan(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def test_embedding(rng: np.random.Generator) -> None:
    for ids in ([], [3], [0, 2, 6]):
        rows, weight = np.array(ids, np.int64), rng.standard_normal((7, 4))

        def stage(given: Any, rows: Any = rows) -> Any:
            return stages.embedding(given["weight"], rows)

        assert_way_back(stage, {"weight": weight}, rng)
        out, back = stage({"weight": weight})
        assert np.array_equal(out, weight[rows])
        by_rows, gradients = back(out)
        assert isinstance(gradients["weight"], Rows)
        assert np.array_equal(by_rows, gradients["weight"].values)
        shift = rng.standard_normal(out.shape)
        assert np.array_equal(stages.embedding(weight, rows, shift)[0], out + shift)


def test_the_worst_change_is_along_the_gradient(rng: np.random.Generator) -> None:
    """No other of the same lengths raises the product with it more; rows without a gradient, and
    rows of zeros, stay."""
    x, d = rng.standard_normal((2, 6, 4))
    x[2], d[3] = 0, 0
    tiny = stages.worst(x.astype(np.float32), np.full_like(x, 1e-24, np.float32), 0.1)
    assert (np.linalg.norm(tiny, axis=1) <= 0.11 * np.linalg.norm(x, axis=1)).all()
    change = stages.worst(x, d, 0.1)
    lengths, most = (np.linalg.norm(rows, axis=1) for rows in (change, 0.1 * x))
    np.testing.assert_allclose(lengths, np.where(d.any(axis=1), most, 0), rtol=1e-12)
    np.testing.assert_allclose((change * d).sum(1), lengths * np.linalg.norm(d, axis=1), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1 - 1e-9])
def test_dropout(rate: float, rng: np.random.Generator) -> None:
    def stage(given: Any) -> Any:
        return stages.dropout(given["x"], rate, generator(1, DROPOUT, 2, 3), 1)

    for shape in ((0, 3), (1, 1), (5, 7)):
        assert_way_back(stage, {"x": rng.standard_normal(shape)}, rng)
    x = rng.standard_normal((5, 7))
    assert stages.dropout(x, rate, None, 1)[0] is x


def test_dropout_keeps_its_share_and_the_mean() -> None:
    """Of 200,000 values the share is within 4 of its deviations, 0.001."""
    x, rng = np.ones((400, 500), np.float32), generator(0, DROPOUT)
    first, second = (stages.dropout(x, 0.3, rng, 2)[0] for _ in range(2))
    dropped = round(0.3 * 65536) / 65536
    assert first.dtype == np.float32
    assert set(first.ravel()) == {np.float32(0), np.float32(1 / (1 - dropped))}
    assert abs((first == 0).mean() - 0.3) < 0.0042
    assert abs(first.mean() - 1) < 0.006
    assert 0.3 < (first != second).mean() < 0.54  # 0.42: those of another draw


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
@lengths_of
def test_recurrence(cell: str, directions: int, lengths: Lengths, rng: np.random.Generator) -> None:
    plan, inputs, hidden = plan_of(lengths), 3, 4
    shapes = cells.shapes(CELLS[cell], inputs, hidden)
    endings = ("_l0", "_l0_reverse")[:directions]
    weights = {n + e: rng.uniform(-0.7, 0.7, s) for e in endings for n, s in shapes.items()}
    first = rng.standard_normal((2, directions, len(lengths), hidden))
    if not CELLS[cell].carry:
        first[1] = 0
    rows = rng.integers(0, 5, plan.tokens).astype(np.int32)  # some not read, some often
    for pool, row, begin in product(POOLS, (None, rows), (None, (first[0], first[1]))):

        def stage(given: Any, pool: Any = pool, row: Any = row, begin: Any = begin) -> Any:
            own = {e: {n: given[n + e] for n in shapes} for e in endings}
            packed = stages.packed(CELLS[cell], own, "fp32", 1)
            return stages.recurrence(packed, plan, given["x"], row, 1, pool, begin)

        x = rng.standard_normal((plan.tokens if row is None else 5, inputs))
        states = stage(weights | {"x": x})[0]
        given = [True, True, CELLS[cell].carry, "max" in pool, "mean" in pool]
        assert [part is not None for part in states] == given
        assert_way_back(stage, weights | {"x": x}, rng)


@pytest.mark.parametrize("part", range(5))
def test_states_without_a_gradient_count_as_zeros(part: int, rng: np.random.Generator) -> None:
    shapes = cells.shapes(cells.LSTM, 3, 4)
    weights = {"_l0": {name: rng.standard_normal(shape) for name, shape in shapes.items()}}
    x = rng.standard_normal((8, 3))
    packed = stages.packed(cells.LSTM, weights, "fp32", 1)
    of = packed, plan_of([3, 0, 5]), x, None, 1, ("max", "mean")
    states, back = stages.recurrence(*of)
    only = [rng.standard_normal(value.shape) if i == part else None
            for i, value in enumerate(states) if value is not None]  # fmt: skip
    zeros = [np.zeros(value.shape) if own is None else own
             for own, value in zip(only, states, strict=True) if value is not None]  # fmt: skip
    (by_x, found), (same_x, same) = back(States(*only)), stages.recurrence(*of)[1](States(*zeros))
    assert np.array_equal(by_x, same_x)
    assert all(np.array_equal(found[name], same[name]) for name in same)
    assert np.any(by_x)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["every", *POOLINGS])
def test_pooling(kind: str, directions: int, rng: np.random.Generator) -> None:
    """Which part of the states it reads, where in its output, and the same on the way back."""
    tokens, texts, hidden = 6, 3, 4
    wide = directions * hidden
    given = {
        "all": rng.standard_normal((tokens, wide)),
        "last": rng.standard_normal((directions, texts, hidden)),
        "largest": rng.standard_normal((texts, wide)),
        "mean": rng.standard_normal((texts, wide)),
    }
    pool, states = network.POOLED.get(kind, ()), States(**given)
    if "max" not in pool:
        states = states._replace(largest=None)
    if "mean" not in pool:
        states = states._replace(mean=None)

    def stage(own: States) -> Any:
        return stages.every(own) if kind == "every" else stages.pooling(own, kind)

    out, back = stage(states)
    last = np.concatenate(list(given["last"]), axis=1)
    parts = {"every": ["all"], "last": ["last"], "max": ["largest"], "mean": ["mean"],
             "concat": ["last", "largest", "mean"]}[kind]  # fmt: skip
    expected = [last if part == "last" else given[part] for part in parts]
    assert np.array_equal(out, np.concatenate(expected, axis=1))
    factor = rng.standard_normal(out.shape)
    by_states, gradients = back(factor)
    assert gradients == {}
    assert {n for n, v in by_states._asdict().items() if v is not None} == set(parts)

    def value(changed: Any) -> float:
        return float((stage(states._replace(**changed))[0] * factor).sum())

    found = {n: v for n, v in by_states._asdict().items() if v is not None}
    assert_derivatives(value, {n: given[n] for n in parts}, found, rng)


def test_dense_and_relu(rng: np.random.Generator) -> None:
    for rows, inputs, outputs in [(0, 3, 2), (1, 1, 1), (7, 19, 5), (3, 4, 33)]:
        given = {"weight": (outputs, inputs), "bias": (outputs,), "x": (rows, inputs)}
        arrays = {name: rng.standard_normal(shape) for name, shape in given.items()}
        assert_way_back(lambda a: stages.dense(a["x"], a, 1), arrays, rng)
        out, _ = stages.dense(arrays["x"], arrays, 1)
        expected = arrays["x"] @ arrays["weight"].T + arrays["bias"]
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-13)
        assert_way_back(lambda a: stages.relu(a["x"]), {"x": arrays["x"]}, rng)
    out, back = stages.relu(np.array([-1.0, -0.0, 0.0, 2.0]))
    assert out.tolist() == [0, 0, 0, 2]
    assert back(np.ones(4))[0].tolist() == [0, 0, 0, 1]


# --- losses


def plain_loss(logits: Any, targets: Any, weights: Any) -> float:
    """The same from chances, as the definition has it."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(np.average(-np.log(chances[np.arange(len(targets)), targets]), weights=weights))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_loss(classes: int, weighted: bool, rng: np.random.Generator) -> None:
    for rows in (1, 2, 9):
        logits = 3 * rng.standard_normal((rows, network.outputs(classes)))
        targets = rng.integers(0, classes, rows)
        weights = rng.uniform(0.1, 4, rows).astype(np.float32) if weighted else None
        found, _ = losses.loss(logits, targets, weights)
        # Shares of float32 weights add up to 1 within some roundings of 6e-8.
        np.testing.assert_allclose(found, plain_loss(logits, targets, weights), rtol=1e-6)

        def stage(given: Any, targets: Any = targets, weights: Any = weights) -> Any:
            return losses.loss(given["x"], targets, weights)

        assert_way_back(stage, {"x": logits}, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [1, 3])
def test_loss_of_extreme_logits(outputs: int, dtype: Any) -> None:
    """It grows with the logit and its gradient is 1; nothing overflows on the way."""
    logits = np.zeros((4, outputs), dtype)
    logits[:, -1] = [1e4, -1e4, 1e4, -1e4]
    targets = np.array([1, 0, 0, 1]) * max(1, outputs - 1)
    found, back = losses.loss(logits, targets, None)
    rest = np.log(outputs - 1) if outputs > 1 else 0.0  # the other logits are alike
    np.testing.assert_allclose(found, (2e4 + rest + rest) / 4, rtol=1e-7)
    by_logits = back(1.0)[0]
    assert by_logits.dtype == dtype
    np.testing.assert_allclose(by_logits[:, -1], [0, 0, 0.25, -0.25], rtol=0, atol=1e-7)
    assert losses.right(logits, targets) == 2


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
@pytest.mark.parametrize("outputs", [1, 3])
def test_loss_of_logits_that_are_not_finite(outputs: int, wrong: float) -> None:
    """Nor is it, and nothing warns; whichever class the text has."""
    for target in range(max(2, outputs)):
        logits = np.zeros((3, outputs), np.float32)
        logits[1, -1] = wrong
        for weights in (None, np.array([1, 0, 1], np.float32)):
            found, back = losses.loss(logits, np.array([0, target, 0]), weights)
            assert not np.isfinite(found)
            back(1.0)
    far = np.array([[3e38, -3e38, 0]], np.float32)  # their difference is none of float32's
    assert losses.loss(far, np.array([1]), None)[0] == np.inf
    assert losses.loss(far, np.array([0]), None)[0] == 0


def test_texts_that_count_nothing_have_no_loss() -> None:
    logits, targets = np.array([[1.0, 2.0, 5.0]] * 2), np.array([0, 1])
    found, back = losses.loss(logits, targets, np.zeros(2, np.float32))
    assert found == 0
    assert not back(1.0)[0].any()


# --- the way


def test_a_way_names_the_gradients_and_chains_them() -> None:
    way = Way()
    assert way((5, lambda d: (2 * d, {"weight": d})), "a") == 5
    way((6, lambda d: (3 * d, {})))
    way((7, lambda d: (d + 1, {"weight": d, "bias": -d})), "b")
    assert way.back(1) == (12, {"a.weight": 6, "b.weight": 1, "b.bias": -1})
    assert way.back(1) == (1, {})  # it is gone once


def test_what_a_stage_kept_dies_while_the_way_is_walked() -> None:
    way, kept, alive = Way(), list[weakref.ref[Any]](), list[list[bool]]()

    def stage() -> tuple[Any, Callable[[Any], Any]]:
        array = np.ones(3)
        kept.append(weakref.ref(array))

        def back(d: Any) -> Any:
            alive.append([of() is not None for of in kept])
            return d * array.sum(), {}

        return None, back

    for _ in range(3):
        way(stage())
    way.back(1.0)
    assert alive == [[True, True, True], [True, True, False], [True, False, False]]


def test_distinct_ids_of_a_batch_are_the_rows_that_have_a_gradient(
    rng: np.random.Generator,
) -> None:
    plan, ids = plan_of([2, 0, 3]), np.array([7, 3, 3, 9, 7], np.int32)
    different, place = kernels.distinct(ids, plan, 12)
    weight = rng.standard_normal((12, 2))
    out, back = stages.embedding(weight, different)
    assert np.array_equal(out[place], weight[ids[plan.positions]])
    assert back(out)[1]["weight"].ids.tolist() == [3, 7, 9]


@pytest.mark.parametrize("rows_first", [False, True])
def test_stages_of_one_name_add_up_by_weight(rows_first: bool, rng: np.random.Generator) -> None:
    """As an embedding that the output layer shares."""
    ids, by_rows = np.array([1, 3]), rng.standard_normal((2, 4))
    whole = rng.standard_normal((5, 4))
    given = [Rows(ids, by_rows), whole.copy()]
    way = Way()

    def back(by_weight: Any) -> Any:
        return lambda d: (d, {"weight": by_weight})

    for by_weight in given[:: 1 if rows_first else -1]:
        way((None, back(by_weight)), "embedding")
    for _ in range(2):
        way((None, back(np.ones(3))), "head")
    _, gradients = way.back(1.0)
    whole[ids] += by_rows
    assert np.array_equal(gradients["embedding.weight"], whole)
    assert np.array_equal(gradients["head.weight"], np.full(3, 2.0))
