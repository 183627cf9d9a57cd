"""Labelled text from files, and its split into a training and a validation part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError
from carryline.text.readers import Table, load

Label = str | int | float | bool


@dataclass(frozen=True)
class Dataset:
    """Texts and, where they are known, their labels, one a text."""

    texts: list[str]
    labels: list[Label] | None


def read(
    source: str | Path,
    *,
    text: Sequence[str] = (),
    label: str | None = None,
    labelled: bool = True,
) -> Dataset:
    """The texts and labels in `source`.

    source: a file (.csv, .tsv, .jsonl, .ndjson, .json, .parquet, .txt or .ft of fastText lines),
        a folder that holds one folder of .txt files for each class, or `-`, standard input.
    text: the columns to join into one text, with a space between those that are not empty;
        `text` when none is named.
    label: the column of the label; `label` when none is named.
    labelled: False when labels are not needed; a .txt file may then hold one text a line.

    Texts are as in the file; a missing one is empty. Labels are strings without white space
    around them; JSON and Parquet may also give numbers (1.0 becomes 1) and truth values.
    Raises `DataError`, and `MissingExtraError` for Parquet without pyarrow.
    """
    names = (text,) if isinstance(text, str) else tuple(text) or ("text",)
    try:
        table = load(source, labelled)
        if not table.rows:
            raise DataError(f"{table.name} holds no texts")
        texts = _texts(table, names)
        labels = _labels(table, label or "label") if labelled else None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no such file or folder: {source}") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot read {error.filename or source}: {reason}") from error
    return Dataset(texts, labels)


def _texts(table: Table, names: Sequence[str]) -> list[str]:
    columns = []
    for name in names:
        column: list[str] = []
        for row, value in enumerate(_column(table, name)):
            string = _text(value)
            if string is None:
                raise DataError(
                    f"{table.where(row)}: a text must be a string or a number; "
                    f"column {name!r} holds one of type {type(value).__name__}"
                )
            column.append(string)
        columns.append(column)
    if len(columns) == 1:
        return columns[0]
    return [" ".join(filter(None, parts)) for parts in zip(*columns, strict=True)]


def _text(value: Any) -> str | None:
    """`value` as a text, None when it cannot be one."""
    if isinstance(value, str):
        return value
    if _is_missing(value):
        return ""
    return str(value) if isinstance(value, int | float) else None


def _labels(table: Table, name: str) -> list[Label]:
    labels = [_label(value) for value in _column(table, name)]
    missing = [row for row, label in enumerate(labels) if label is None]
    if missing:
        raise DataError(
            f"{table.where(missing[0])} has no label in column {name!r}; "
            f"rows without one: {len(missing)} of {table.rows}"
        )
    for row, label in enumerate(labels):
        if not isinstance(label, str | int | float):
            raise DataError(
                f"{table.where(row)}: a label must be a string, a number or a truth value; "
                f"this one is of type {type(label).__name__}"
            )
    return labels


def _label(value: Any) -> Any:
    """`value` in its one form as a label, None when there is none."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer():
        return int(value)  # columns of integers with gaps are written as 1.0
    return None if _is_missing(value) else value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _column(table: Table, name: str) -> list[Any]:
    if name not in table.names:
        raise DataError(
            f"column {name!r} is not in {table.name}; its columns are {', '.join(table.names)}"
        )
    return table.column(name)


def split(
    labels: Sequence[Label], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a training and a validation part, shuffled, with labels in equal proportion.

    A label with two texts or more is in both parts (unless the fraction is 0), one with a single
    text is trained on. The validation part holds `round(fraction * len(labels))` texts or as near
    to it as that allows, and of each label its share to within one; where rare labels take more
    than theirs, or common ones cannot give it, the others make up for it by their size. The same
    `seed` gives the same parts. Raises `DataError` unless 0 <= fraction < 1.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"0 <= fraction of validation texts < 1, it is {fraction}")
    seen: dict[Label, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.int64)
    counts = np.bincount(codes, minlength=len(seen))
    shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(len(codes))
    by_label = shuffled[np.argsort(codes[shuffled], kind="stable")]
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    held_out = np.zeros(len(codes), dtype=bool)
    held_out[by_label] = rank < np.repeat(_quotas(counts, fraction), counts)
    return shuffled[~held_out[shuffled]], shuffled[held_out[shuffled]]


def _quotas(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """[labels] validation texts of each label: its share rounded down, then one more for those that
    lost most by rounding, until the total is reached."""
    if fraction == 0:
        return np.zeros_like(counts)
    least, most = np.minimum(counts - 1, 1), counts - 1
    total = int(np.clip(round(fraction * int(counts.sum())), least.sum(), most.sum()))
    shares = fraction * counts
    if ((shares < least) | (shares > most)).any():
        shares = _squeezed(counts, least, most, total)
    quotas: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    willing = np.flatnonzero(quotas < most)
    order = np.argsort((quotas - shares)[willing], kind="stable")
    quotas[willing[order[: total - int(quotas.sum())]]] += 1
    return quotas


def _squeezed(
    counts: NDArray[np.int64], least: NDArray[np.int64], most: NDArray[np.int64], total: int
) -> NDArray[np.float64]:
    """[labels] shares within `least` and `most` whose sum is `total`, in one proportion to the
    counts wherever neither holds; the proportion is found by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.clip(middle * counts, least, most).sum() < total:
            low = middle
        else:
            high = middle
    shares: NDArray[np.float64] = np.clip(low * counts, least, most)
    return shares
