"""Shares of the members: the least loss on held-out texts, and no surprise on few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carryline.tasks.members import WEIGHT, Held
from carryline.training import losses

Array = np.ndarray[Any, Any]
USUAL = (0.5, 1.0)


def held(
    texts: int, outputs: int = 3, recurrent: float = 1.0, linear: float = 1.0, seed: int = 0
) -> Held:
    """Logits that tell the class so well, beside noise."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, max(2, outputs), texts)
    truth = (2.0 * targets - 1)[:, None] if outputs == 1 else 2 * np.eye(outputs)[targets]
    noise = draw.standard_normal((2, texts, outputs)) * 1.5
    parts = [share * truth + each for share, each in zip((recurrent, linear), noise, strict=True)]
    return Held((parts[0].astype(np.float32), parts[1].astype(np.float32)), targets)


def objective(each: Held, shares: tuple[float, ...]) -> float:
    logits = shares[0] * np.float64(each.members[0]) + shares[1] * np.float64(each.members[1])
    away = np.subtract(shares, USUAL)
    loss, _ = losses.loss(logits, each.targets, None)
    return loss + 0.5 * WEIGHT / len(each.targets) * float(away @ away)


@pytest.mark.parametrize("outputs", [1, 3])
def test_no_other_shares_are_better(outputs: int) -> None:
    each = held(600, outputs)
    found = each.shares(USUAL)
    least = objective(each, found)
    for a in np.linspace(0, 2, 21):
        for b in np.linspace(0, 2, 21):
            assert objective(each, (a, b)) >= least - 1e-9
    for step in (1e-3, -1e-3):
        assert objective(each, (found[0] + step, found[1])) >= least
        assert objective(each, (found[0], found[1] + step)) >= least


def test_a_useless_part_gets_next_to_nothing() -> None:
    for part in (0, 1):
        tells: dict[str, Any] = {"recurrent": float(part == 1), "linear": float(part == 0)}
        shares = held(5_000, **tells).shares(USUAL)
        assert shares[part] < 0.05
        assert shares[1 - part] > 0.3


def test_a_part_that_tells_the_opposite_gets_nothing() -> None:
    assert held(2_000, recurrent=-1.0).shares(USUAL)[0] == 0


def test_a_part_that_is_too_sure_is_held_back() -> None:
    """It has its texts by heart: ten times as sure as it may be."""
    each = held(2_000)
    sure = Held((each.members[0] * 10, each.members[1]), each.targets)
    assert sure.shares(USUAL)[0] == pytest.approx(each.shares(USUAL)[0] / 10, rel=0.1)


@pytest.mark.parametrize("texts", [1, 2])
def test_few_texts_stay_near_the_usual(texts: int) -> None:
    for seed in range(20):
        np.testing.assert_allclose(held(texts, seed=seed).shares(USUAL), USUAL, atol=0.5)
        np.testing.assert_allclose(
            held(texts, recurrent=-1.0, seed=seed).shares(USUAL), USUAL, atol=0.7
        )


def test_constant_logits_stay_at_the_usual() -> None:
    nothing = np.zeros((10, 3), np.float32)
    assert Held((nothing, nothing), np.zeros(10, np.int64)).shares(USUAL) == pytest.approx(USUAL)


def test_added_and_its_loss() -> None:
    each, shares = held(7), (0.5, 2.0)
    added = each.added(shares)
    np.testing.assert_array_equal(added, np.float32(0.5) * each.members[0] + 2 * each.members[1])
    assert each.loss(shares) == losses.loss(np.float64(added), each.targets, None)[0]


def test_three_members_have_a_share_each() -> None:
    """The third is noise, and so gets next to nothing."""
    two = held(2_000)
    noise = np.random.default_rng(9).standard_normal(two.members[0].shape).astype(np.float32)
    three = Held((*two.members, noise), two.targets)
    found = three.shares((0.5, 1.0, 1.0))
    assert found[2] < 0.1
    np.testing.assert_allclose(found[:2], two.shares(USUAL), atol=0.05)


def test_accuracy_of_both_parts_together() -> None:
    each = held(50)
    guesses = each.added((0.5, 1.0)).argmax(axis=1)
    assert each.accuracy((0.5, 1.0)) == (guesses == each.targets).mean()
