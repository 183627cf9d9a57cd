"""Reliability, its error and Brier's score, by hand and on drawn answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from carryline.evaluation.calibration import brier, expected_error, reliability


def test_bins_by_hand() -> None:
    p = np.array([[0.95, 0.05], [0.05, 0.95], [0.42, 0.58], [0.45, 0.55], [1.0, 0.0]])
    bins = reliability(p, np.array([0, 0, 1, 0, 0]))
    assert [one.texts for one in bins] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 3]
    assert (bins[5].low, bins[5].high) == (0.5, 0.6)
    assert bins[5].confidence == pytest.approx(0.565)
    assert (bins[5].accuracy, bins[0].accuracy) == (0.5, None)
    assert bins[9].confidence == pytest.approx(2.9 / 3)
    assert bins[9].accuracy == pytest.approx(2 / 3)
    assert expected_error(bins) == pytest.approx((2 * 0.065 + 3 * 0.3) / 5)


def test_probabilities_that_mean_what_they_say_have_a_small_error() -> None:
    """40,000 texts: an error of a bin of 4,000 is some 0.008."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 40_000)
    targets = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)
    assert expected_error(reliability(p, targets)) < 0.01
    surer = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert expected_error(reliability(surer, targets)) > 0.1


def test_brier_is_scikit_learns() -> None:
    """Its score of two classes is of one of them, half as large."""
    rng = np.random.default_rng(1)
    p, y = rng.random(50), rng.integers(0, 2, 50)
    both = np.stack([1 - p, p], axis=1)
    kept = both.copy()
    assert brier(both, y) == pytest.approx(2 * brier_score_loss(y, p))
    assert (both == kept).all()
    assert brier(np.eye(3), np.arange(3)) == 0
    assert brier(np.eye(3), np.array([1, 2, 0])) == 2
