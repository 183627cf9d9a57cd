"""Labelled text from files, and its split into a training and a validation part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError
from carryline.text.columns import Columns, chosen
from carryline.text.opening import digest
from carryline.text.readers import check_packages, load
from carryline.text.table import Bad, Reading, Table
from carryline.text.values import as_label, as_text

Label = str | int | float | bool


def key(label: Label) -> str:
    """A label as JSON writes it in a key: `pos`, `3`, `true`."""
    return label if isinstance(label, str) else json.dumps(label)


@dataclass(frozen=True)
class Dataset:
    """Texts and, where they are known, their labels, one a text; and where they come from.

    sources: the name of each file, and the SHA-256 of its bytes in hexadecimal; None for folders,
    for standard input, and where reading may have stopped before the end. skipped: what was said of
    each row that was left out. guessed: the columns of the text and the label, as far as nobody
    named them, under `text` and `label`.
    """

    texts: list[str]
    labels: list[Label] | None
    sources: list[tuple[str, str | None]] = field(default_factory=list, compare=False)
    skipped: list[str] = field(default_factory=list, compare=False)
    guessed: dict[str, str] = field(default_factory=dict, compare=False)


def read(
    source: str | Path | Sequence[str | Path],
    *,
    text: Sequence[str] = (),
    label: str | None = None,
    labelled: bool = True,
    encoding: str = "utf-8",
    limit: int | None = None,
    skip_bad_rows: bool = False,
    piped: bool = True,
) -> Dataset:
    """The texts and labels in `source`, or in several one after the other.

    source: a file (.csv, .tsv, .jsonl, .ndjson, .json, .txt or .ft of fastText lines, all of them
        also packed, with .gz or .zst after that; .parquet, .xlsx), a folder that holds one folder
        of .txt files for each class, or `-`, standard input.
    text: the columns to join into one text, with a space between those that are not empty;
        `text` when none is named.
    label: the column of the label; `label` when none is named. Names count without regard to case
        where none fits exactly; `review.body` leads into the objects of JSON. Without both, the
        columns of a table that has two are guessed where that is safe.
    labelled: False when labels are not needed; a .txt file may then hold one text a line.
    encoding: of text formats. limit: rows at most; no more of the source is read where its format
        allows. skip_bad_rows: leave out, and tell, rows that would be an error: a wrong number of
        fields, JSON that is none, a text or label that is none, a missing label. piped: where
        labels are not needed, standard input without a header may be a text a line.

    Texts are as in the file; a missing one is empty. Labels are strings without white space
    around them; JSON, Parquet and Excel may also give numbers (1.0 becomes 1) and truth values.
    Raises `DataError`, and `MissingExtraError` for what needs an extra, before anything is read.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    check_packages(sources)
    named = (text,) if isinstance(text, str) else tuple(text)
    data = Dataset([], [] if labelled else None)
    for one in sources:
        left = None if limit is None else limit - len(data.texts)
        if left == 0:
            break
        bad = Bad(skip_bad_rows, data.skipped)
        how = Reading(labelled, named, encoding, left, bad, piped)
        with told(one):
            table = load(one, how)
            columns = _append(data, table, how, label)
            data.sources.append((table.name, None if limit else digest_of(one)))
        named, label = columns.texts, columns.label  # the same ones in those that follow
        data.guessed.update(columns.guessed)
    return data


@contextmanager
def told(source: str | Path) -> Iterator[None]:
    """What the system says against a source becomes a `DataError`."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no such file or folder: {source}") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot read {error.filename or source}: {reason}") from error


def _append(data: Dataset, table: Table, how: Reading, label: str | None) -> Columns:
    """Add the table's texts and labels to the data; gives the columns they were in."""
    if not table.rows:
        skipped = f" that can be used; {len(how.bad.rows)} rows skipped" if how.bad.rows else ""
        raise DataError(f"{table.name} holds no texts{skipped}")
    columns = chosen(table, how.text, label, how.labelled)
    texts, wrong = texts_of(table, columns.texts)
    labels: list[Any] = []
    if columns.label is not None:
        labels, wrong_labels = _labels(table, columns.label, how.bad.skip)
        wrong = {**wrong_labels, **wrong}
    for row in sorted(wrong):
        how.bad.row(wrong[row])
    if len(wrong) == table.rows:
        raise DataError(f"{table.name} holds no texts that can be used; {wrong[0]}")
    if wrong:
        texts = [value for row, value in enumerate(texts) if row not in wrong]
        labels = [value for row, value in enumerate(labels) if row not in wrong]
    data.texts.extend(texts)
    if data.labels is not None:
        data.labels.extend(labels)
    return columns


def texts_of(table: Table, names: Sequence[str]) -> tuple[list[str], dict[int, str]]:
    """[rows] the texts, and what is to be said of rows that hold none."""
    columns, wrong = [], {}
    for name in names:
        values = table.column(name)
        column = [as_text(value) for value in values]
        for row, string in enumerate(column):
            if string is None:
                wrong[row] = (
                    f"{table.where(row)}: a text must be a string or a number; "
                    f"column {name!r} holds one of type {type(values[row]).__name__}"
                )
        columns.append([string or "" for string in column])
    if len(columns) == 1:
        return columns[0], wrong
    return [" ".join(filter(None, parts)) for parts in zip(*columns, strict=True)], wrong


def _labels(table: Table, name: str, skip: bool) -> tuple[list[Any], dict[int, str]]:
    """[rows] the labels, and what is to be said of rows that have none."""
    labels = [as_label(value) for value in table.column(name)]
    missing = [row for row, label in enumerate(labels) if label is None]
    share = "" if skip else f"; rows without one: {len(missing)} of {table.rows}"
    wrong = {row: f"{table.where(row)} has no label in column {name!r}{share}" for row in missing}
    for row, label in enumerate(labels):
        if label is not None and not isinstance(label, str | int | float):
            wrong[row] = (
                f"{table.where(row)}: a label must be a string, a number or a truth value; "
                f"this one is of type {type(label).__name__}"
            )
    return labels, wrong


def digest_of(source: str | Path) -> str | None:
    """The SHA-256 of a file in hexadecimal; None for a folder and standard input."""
    return digest(Path(source)) if str(source) != "-" and Path(source).is_file() else None


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
