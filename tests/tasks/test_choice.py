"""What texts held out choose, and figures of texts that had no say in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carryline.tasks import choice
from carryline.tasks.choice import Choice, Outside, smoothed_best

Array = np.ndarray[Any, Any]
CLASSES = ["a", "b", "c"]


def telling(targets: Array, much: float, seed: int) -> Array:
    """Logits that tell the class so well, beside noise."""
    noise = np.random.default_rng(seed).standard_normal((len(targets), 3))
    return (much * np.eye(3)[targets] + noise).astype(np.float32)


def turn(texts: int, epochs: list[float], linear: list[tuple[float, ...]], seed: int) -> Outside:
    """How well each epoch, and each piece of each candidate, tells the class."""
    targets = np.random.default_rng(seed).integers(0, 3, texts)
    recurrent = [telling(targets, much, seed + 1) for much in [epochs[-1], *epochs]]
    parts = [
        tuple(telling(targets, much, seed + 50 + 7 * n + m) for m, much in enumerate(each))
        for n, each in enumerate(linear)
    ]
    return Outside(recurrent, parts, targets)


def test_the_better_linear_part_the_best_epoch_and_a_share_for_each_piece() -> None:
    turns = [turn(900, [0, 1, 3, 3, 3, 1, 0], [(1, 0), (2, 2)], seed) for seed in (1, 2)]
    found = choice.chosen(turns, by_epoch=True)
    assert (found.epoch, found.linear) == (4, 1)
    assert len(found.shares) == 3
    assert all(share > 0.3 for share in found.shares)
    useless = [turn(900, [1, 1], [(1, 0)], seed) for seed in (1, 2)]
    assert choice.chosen(useless, by_epoch=True).shares[2] < 0.15


def test_the_kept_weights_are_measured_where_no_epoch_is_to_be_chosen() -> None:
    one = turn(300, [3, 0], [(1, 1)], 1)  # kept: the last epoch, which tells nothing
    found = choice.chosen([one], by_epoch=False)
    assert found.epoch == 0
    assert found.shares[0] < 0.15
    direct = choice.figures([one], False, CLASSES)
    guesses = found.added(one).argmax(axis=1)
    assert direct["accuracy"] == (guesses == one.targets).mean()


def test_without_a_linear_part_the_recurrent_ones_logits_stay_as_they_are() -> None:
    one = turn(60, [1], [], 1)
    assert choice.chosen([one], by_epoch=False) == Choice(0, 0, (1.0,))
    np.testing.assert_array_equal(choice.chosen([one], True).added(one), one.recurrent[1])


@pytest.mark.parametrize("count", [1, 3])
def test_figures_are_of_texts_that_had_no_say(count: int) -> None:
    """Of twenty epochs of noise the best has more than a third right on the texts that choose."""
    shown, kind = [], []
    for seed in range(0, 4000, 100):
        draw = np.random.default_rng(seed)
        turns = [
            Outside(
                [draw.standard_normal((30, 3)).astype(np.float32) for _ in range(21)],
                [],
                draw.integers(0, 3, 30),
            )
            for _ in range(count)
        ]
        found = choice.chosen(turns, True)
        right = [found.added(each).argmax(axis=1) == each.targets for each in turns]
        kind.append(np.mean(right))
        figures = choice.figures(turns, True, CLASSES)
        assert sum(map(sum, figures["confusion"])) == 30 * count
        shown.append(figures["accuracy"])
    assert np.mean(kind) > 0.36
    assert np.mean(shown) == pytest.approx(1 / 3, abs=0.03)


def test_a_turn_of_one_text_and_of_two() -> None:
    for texts in (1, 2):
        figures = choice.figures([turn(texts, [1, 1], [(1, 1)], 3)], True, CLASSES)
        assert figures["accuracy"] in (0.0, 0.5, 1.0)


def test_an_epoch_is_best_with_those_beside_it() -> None:
    assert smoothed_best([0.5, 0.9, 0.5, 0.8, 0.8, 0.8]) == 4
    assert smoothed_best([0.7, 0.7]) == 1
    assert smoothed_best([0.3]) == 0
