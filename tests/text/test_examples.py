"""Examples as people hold them in Python: columns, tables, gaps, the wrong way round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from carryline.errors import DataError
from carryline.text.examples import (
    ENOUGH,
    checked_examples,
    checked_texts,
    checked_weights,
    classes_of,
    targets_of,
)

FRAME = pd.DataFrame({"review": ["a", "b"], "label": ["x", "y"]})


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b"], ("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], object),
        FRAME["review"], FRAME["review"].astype("string"), FRAME["review"].to_numpy(),
        (text for text in "ab"), {"a": 1, "b": 2}.keys(), iter(["a", "b"]),
    ],
    ids=lambda texts: type(texts).__name__,
)  # fmt: skip
def test_a_column_of_any_kind(texts: Any) -> None:
    if isinstance(texts, type({}.keys())):
        texts = list(texts)
    found = checked_texts(texts)
    assert found == ["a", "b"]
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (FRAME, "one column, not a DataFrame with 'review', 'label': give one of them"),
        (FRAME[["review"]], "not a DataFrame with 'review'"),
        ({"review": ["a"]}, "one column, not a dict with 'review'"),
        (np.array([["a", "b"]]), r"must have one dimension, they have the shape \(1, 2\)"),
        (np.array("a"), r"must have one dimension, they have the shape \(\)"),
        ("ab", "must be a list of strings, not one string"),
        (b"ab", "must be a list of strings, not one string"),
        ({"a"}, "must be a list, an array or a column, not a set"),
        (7, "must be a list, an array or a column, not a int"),
        (None, "must be a list, an array or a column, not a NoneType"),
        ([["a"], ["b"]], r"every text must be a string, text 1 is \['a'\]"),
        (["a", b"b"], "text 2 is b'b'"),
    ],
    ids=str,
)
def test_what_is_no_column_of_texts(texts: Any, rule: str) -> None:
    with pytest.raises(DataError, match=f"{rule}"):
        checked_texts(texts)
    if isinstance(texts, dict | pd.DataFrame):
        with pytest.raises(DataError, match="labels must be one column"):
            checked_examples(["a"], texts)


def test_texts_that_are_missing_or_numbers() -> None:
    values = ["a", None, float("nan"), np.nan, pd.NA, 3, 2.5, np.int64(4), np.float32(0.5), True]
    assert checked_texts(values) == ["a", "", "", "", "", "3", "2.5", "4", "0.5", "True"]


@pytest.mark.parametrize(
    "labels",
    [
        ["x", "y", None], ["x", "y", float("nan")], ["x", "y", " "], [1, 0, np.nan],
        ["x", "y", pd.NA], np.array(["x", "y", np.nan]), np.array(["x", "y", np.nan], object),
        np.array([1, 0, np.nan]), np.array([1, 0, np.nan], np.float32), pd.Series(["x", "y", None]),
    ],
    ids=repr,
)  # fmt: skip
def test_a_missing_label_is_no_class(labels: Any) -> None:
    with pytest.raises(DataError, match=r"label 3 is missing .*; missing are 1 of 3"):
        checked_examples(["a", "b", "c"], labels)


def test_labels_as_a_file_gives_them() -> None:
    _, labels = checked_examples(["a"] * 6, [" x", "x\n", 1.0, np.float64(1), np.str_("y"), True])
    assert labels == ["x", "x", 1, 1, "y", True]
    assert [type(label) for label in labels] == [str, str, int, int, str, bool]
    assert checked_examples(["a"], ["nan"])[1] == ["nan"]  # somebody's class, not NumPy's gap


def test_labels_that_are_no_classes() -> None:
    texts = [f"text {i}" for i in range(ENOUGH)]
    for labels in (texts, [i / 7 for i in range(ENOUGH)]):
        with pytest.raises(DataError, match=f"all {ENOUGH} are different: "):
            classes_of(labels)
        assert len(classes_of(labels[:-1])) == ENOUGH - 1
        assert len(classes_of([*labels, labels[0]])) == ENOUGH


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ([1.0], r"needs a weight: 2 texts, weights \[1\]"),
        ([[1.0, 2.0]], r"2 texts, weights \[1, 2\]"),
        ([1.0, -1], r"finite number of 0 or more, weight 2 is -1\.0"),
        ([1.0, np.nan], "weight 2 is nan"),
        ([np.inf, 1.0], "weight 1 is inf"),
        ([0, 0], "must be above 0, all are zero"),
        (["a", "b"], "every sample weight must be a number"),
    ],
    ids=str,
)
def test_weights_that_are_refused(weights: Any, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        checked_weights(weights, 2)


def test_weights() -> None:
    assert checked_weights(None, 2) is None
    for weights in ([0, 2], np.array([0.0, 2.0]), pd.Series([0, 2])):
        found = checked_weights(weights, 2)
        assert found is not None
        assert found.tolist() == [0, 2]


def test_targets_by_name_or_number() -> None:
    assert targets_of([1, "2", 2], [1, 2]).tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="row 2 has the label 3, which .* never seen; it knows 1"):
        targets_of([1, 3], [1, 2])


def test_numbers_as_labels_of_any_size_but_finite() -> None:
    assert classes_of([10**400, 1, 0.5]) == [0.5, 1, 10**400]
    with pytest.raises(DataError, match="must be finite, label 2 is -inf"):
        checked_examples(["a", "b"], [1.0, float("-inf")])
