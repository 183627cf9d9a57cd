"""Curves against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from carryline.evaluation import curves

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5001, 0.9, 1.0]), st.booleans()),
    min_size=2,
    max_size=30,
).filter(lambda rows: len({true for _, true in rows}) == 2)


@given(ROWS)
def test_roc_and_precision_are_scikit_learns(rows: list[tuple[float, bool]]) -> None:
    chances, true = (np.array(column) for column in zip(*rows, strict=True))
    found = curves.roc(chances, true)
    expected = metrics.roc_curve(true, chances, drop_intermediate=False)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert curves.area(found) == pytest.approx(metrics.roc_auc_score(true, chances))
    precise = curves.precision_recall(chances, true)
    precision, recall, at = metrics.precision_recall_curve(true, chances)
    np.testing.assert_allclose(precise.x[1:], recall[-2::-1])
    np.testing.assert_allclose(precise.y[1:], precision[-2::-1])
    np.testing.assert_allclose(precise.at[1:], at[::-1])
    assert (precise.x[0], precise.y[0]) == (0, precise.y[1])
    average = curves.average_precision(precise)
    assert average == pytest.approx(metrics.average_precision_score(true, chances))


def test_coverage_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])
    found = curves.coverage(p, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(found.at, [0.9, 0.8, 0.6])
    np.testing.assert_allclose(found.x, [0.25, 0.5, 1.0])
    np.testing.assert_allclose(found.y, [0, 0.5, 0.25])


def test_thinned_keeps_both_ends() -> None:
    curve = curves.Curve(*(np.arange(1000.0) + i for i in range(3)))
    found = curves.thinned(curve, 50)
    assert len(found.x) == 50
    assert (found.x[0], found.x[-1], found.at[-1]) == (0, 999, 1001)
    assert curves.thinned(found, 50) is found
