from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from carryline.text.values import as_label, as_text, is_missing


class NAType:
    """Like pandas' NA: it says neither yes nor no to anything."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


MISSING = [None, math.nan, np.float64("nan"), np.float32("nan"), np.datetime64("NaT"), NAType()]


@pytest.mark.parametrize("value", MISSING)
def test_what_is_missing(value: Any) -> None:
    assert is_missing(value)
    assert as_text(value) == ""
    assert as_label(value) is None


@pytest.mark.parametrize("word", ["NaN", "NA", "null", "None", "n/a", "-"])
def test_words_are_not_missing(word: str) -> None:
    assert not is_missing(word)
    assert as_text(word) == as_label(word) == word


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0"])
def test_blank_strings_are_texts_but_no_labels(blank: str) -> None:
    assert as_text(blank) == blank
    assert as_label(blank) is None


@pytest.mark.parametrize(
    ("value", "text", "label"),
    [
        (" a ", " a ", "a"),
        (1, "1", 1),
        (2.0, "2.0", 2),
        (2.5, "2.5", 2.5),
        (True, "True", True),
        (0, "0", 0),
    ],
)
def test_what_is_there(value: Any, text: str, label: Any) -> None:
    assert as_text(value) == text
    assert (as_label(value), type(as_label(value))) == (label, type(label))


@pytest.mark.parametrize("value", [b"x", [], {}, datetime.date(2020, 1, 1), Decimal(1)])
def test_what_is_no_text(value: Any) -> None:
    assert as_text(value) is None
    assert not is_missing(value)


@pytest.mark.parametrize("value", [np.int64(3), np.float32(3), np.float64(3.0)])
def test_labels_of_numpy(value: Any) -> None:
    assert (as_label(value), type(as_label(value))) == (3, int)
