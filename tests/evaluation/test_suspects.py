"""Labels that were made wrong are found."""

from __future__ import annotations

import numpy as np

from carryline.evaluation.suspects import suspects


def test_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.95, 0.05], [0.6, 0.4]])
    found = suspects(p, np.array([0, 0, 1, 1, 1, 0]))
    assert [(one.text, one.label, one.likely) for one in found] == [(4, 1, 0)]
    assert found[0].margin == 0.95 - 0.05


def test_most_of_the_labels_that_were_made_wrong_come_first() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 2000)
    logits = rng.standard_normal((2000, 4)) + 4 * np.eye(4)[true]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(2000) < 0.05
    labels = np.where(wrong, (true + rng.integers(1, 4, 2000)) % 4, true)
    found = suspects(p, labels)
    first = [one.text for one in found[: wrong.sum()]]
    assert wrong[first].mean() > 0.8
    likely = {one.text: one.likely for one in found}
    assert np.mean([likely[i] == true[i] for i in first if wrong[i]]) > 0.95


def test_classes_without_texts_suspect_none() -> None:
    p = np.array([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0]])
    assert suspects(p, np.array([0, 0])) == []
    assert suspects(np.eye(3), np.arange(3)) == []
