"""Labelled examples in memory: checked, in plain Python values, some held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError
from carryline.text.data import Label

Examples = tuple[list[str], list[Label]]


def checked_texts(texts: Sequence[str]) -> list[str]:
    """A list of the texts. Raises `DataError` for a bare string or what is no string."""
    if isinstance(texts, str | bytes):
        raise DataError(f"texts must be a list of strings, not one string ({texts[:40]!r})")
    texts = list(texts)
    for row, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise DataError(f"every text must be a string, text {row} is {text!r}")
    return texts


def checked_examples(texts: Sequence[str], labels: Sequence[Label]) -> Examples:
    """Texts and labels as plain Python values. Raises `DataError` when they do not fit."""
    texts = checked_texts(texts)
    labels = [_plain(label) for label in labels]
    if len(texts) != len(labels):
        raise DataError(f"every text needs a label: {len(texts)} texts, {len(labels)} labels")
    if not texts:
        raise DataError("there must be at least one text, there is none")
    for row, label in enumerate(labels, 1):
        if not isinstance(label, str | int | float) or label != label:  # NaN: a missing number
            raise DataError(f"every label must be a string or a number, label {row} is {label!r}")
    return texts, labels


def _plain(label: Label) -> Label:
    """NumPy's scalars as Python's, 1.0 as 1: whole numbers are floats where a column has gaps."""
    if isinstance(label, np.generic):
        label = label.item()
    return int(label) if isinstance(label, float) and label.is_integer() else label


def classes_of(labels: Sequence[Label]) -> list[Label]:
    """The different labels: numbers by size, else by name. Raises `DataError` below two."""
    by_name = {str(label): label for label in labels}
    if len(by_name) < 2:
        raise DataError(f"there must be two classes or more, every label is {labels[0]!r}")
    classes = list(by_name.values())
    if all(isinstance(label, int | float) for label in classes):
        return sorted(classes, key=float)
    return sorted(classes, key=str)


def targets_of(labels: Sequence[Label], classes: Sequence[Label]) -> NDArray[np.int64]:
    """[texts] the number of each label's class. Raises `DataError` for a label not among them."""
    numbers = {str(label): number for number, label in enumerate(classes)}
    for row, label in enumerate(labels, 1):
        if str(label) not in numbers:
            raise DataError(
                f"row {row} has the label {label!r}, which the model has never seen; "
                f"it knows {', '.join(numbers)}"
            )
    return np.array([numbers[str(label)] for label in labels], np.int64)
