"""Labelled examples in memory: checked, in plain Python values, some held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import DataError
from carryline.text.data import Label
from carryline.text.values import as_label, as_text

Examples = tuple[list[str], list[Label]]
ENOUGH = 20  # labels, all of them different, are numbers to be predicted or texts, not classes
# A model keeps its confusion matrix: of so many classes 34 MB as numbers, 50 MB as a file.
MOST_CLASSES = 2048


def checked_texts(texts: Iterable[Any]) -> list[str]:
    """A list of texts: strings as they are, numbers written out, missing ones (None, NaN) empty.

    As files are read (docs/data.md). Raises `DataError` for a bare string, for what holds several
    columns, and for a text that is none of these.
    """
    each = []
    for row, value in enumerate(_column(texts, "texts"), 1):
        text = as_text(value)
        if text is None:
            raise DataError(f"every text must be a string, text {row} is {value!r}")
        each.append(text)
    return each


def checked_examples(texts: Iterable[Any], labels: Iterable[Any]) -> Examples:
    """Texts and labels as plain Python values. Raises `DataError` when they do not fit."""
    texts = checked_texts(texts)
    labels = [as_label(value) for value in _column(labels, "labels")]
    if len(texts) != len(labels):
        raise DataError(f"every text needs a label: {len(texts)} texts, {len(labels)} labels")
    if not texts:
        raise DataError("there must be at least one text, there is none")
    missing = [row for row, label in enumerate(labels, 1) if label is None]
    if missing:
        raise DataError(
            f"every text needs a label, label {missing[0]} is missing (None, NaN or blank); "
            f"missing are {len(missing)} of {len(labels)}"
        )
    for row, label in enumerate(labels, 1):
        if not isinstance(label, str | int | float):
            raise DataError(f"every label must be a string or a number, label {row} is {label!r}")
        if label in (float("inf"), float("-inf")):
            raise DataError(f"every label must be finite, label {row} is {label!r}")
    return texts, labels


def checked_weights(weights: ArrayLike | None, texts: int) -> NDArray[np.float64] | None:
    """[texts] what each text weighs. Raises `DataError` unless they are finite, none of them below
    0 and not all of them 0."""
    if weights is None:
        return None
    try:
        each = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise DataError("every sample weight must be a number") from None
    if each.shape != (texts,):
        raise DataError(f"every text needs a weight: {texts} texts, weights {list(each.shape)}")
    odd = np.flatnonzero(~((each >= 0) & np.isfinite(each)))
    if len(odd):
        raise DataError(
            f"every sample weight must be a finite number of 0 or more, weight {odd[0] + 1} is "
            f"{each[odd[0]]}"
        )
    if not each.any():
        raise DataError("at least one sample weight must be above 0, all are zero")
    return each


def _column(values: Any, what: str) -> list[Any]:
    """A list of what a column holds. Iterated over, a table would give its columns' names."""
    if isinstance(values, str | bytes):
        raise DataError(f"{what} must be a list of strings, not one string ({values[:40]!r})")
    kind = type(values).__name__
    if type(values).__module__.startswith("scipy.sparse"):
        raise DataError(f"{what} must be a list, an array or a column, not a sparse {kind}")
    if isinstance(values, Mapping) or hasattr(values, "columns"):
        names = ", ".join(map(repr, list(getattr(values, "columns", values))[:20]))
        raise DataError(
            f"{what} must be one column, not a {kind} with {names}: "
            "give one of them, such as data['text']"
        )
    if hasattr(values, "__array__") and not isinstance(values, Iterable):
        values = np.asarray(values)
    if getattr(values, "ndim", 1) != 1:
        raise DataError(f"{what} must have one dimension, they have the shape {values.shape}")
    if isinstance(values, Set) or not isinstance(values, Iterable):
        raise DataError(f"{what} must be a list, an array or a column, not a {kind}")
    return list(values)


def classes_of(labels: Sequence[Label]) -> list[Label]:
    """The different labels: numbers by size, else by name.

    Raises `DataError` below two, above `MOST_CLASSES`, and when `ENOUGH` labels or more are all
    different: then they are no classes (texts and labels the wrong way round, numbers to be
    predicted, a column of ids).
    """
    by_name = {str(label): label for label in labels}
    if len(by_name) < 2:
        raise DataError(f"there must be two classes or more, every label is {labels[0]!r}")
    if len(by_name) == len(labels) >= ENOUGH:
        raise DataError(
            f"labels must be classes that texts share, all {len(labels)} are different: "
            f"{labels[0]!r}, {labels[1]!r}, …"
        )
    if len(by_name) > MOST_CLASSES:
        raise DataError(
            f"there can be at most {MOST_CLASSES} classes, there are {len(by_name)}; "
            "is it the right column that holds the labels?"
        )
    classes = list(by_name.values())
    if all(isinstance(label, int | float) for label in classes):
        return sorted(classes)  # not by key=float: whole numbers may be of any size
    return sorted(classes, key=str)


def targets_of(
    labels: Sequence[Label], classes: Sequence[Label], *, validation: bool = False
) -> NDArray[np.int64]:
    """[texts] the number of each label's class. Raises `DataError` for a label not among them.

    validation: whether it is a run's validation part that has them, not texts for a model.
    """
    where, who = ("row", "the model has never seen; it knows")
    if validation:
        where, who = ("validation text", "no text to train on has; those have")
    numbers = {str(label): number for number, label in enumerate(classes)}
    for row, label in enumerate(labels, 1):
        if str(label) not in numbers:
            raise DataError(
                f"{where} {row} has the label {label!r}, which {who} {', '.join(numbers)}"
            )
    return np.array([numbers[str(label)] for label in labels], np.int64)
