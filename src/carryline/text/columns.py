"""Which columns hold the text and the label: named, known by their names, or guessed and said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations

from carryline.errors import DataError
from carryline.text.table import Table

TEXTS = frozenset(
    {
        *("text", "texts", "review", "reviews", "sentence", "content", "body", "message", "msg"),
        *("tweet", "comment", "post", "title"),
    }
)
LABELS = frozenset(
    {
        *("label", "labels", "class", "category", "sentiment", "target", "y", "stars", "rating"),
        *("score", "polarity", "topic"),
    }
)
_NAMELESS = re.compile(r"|unnamed: \d+|__index_level_\d+__")  # what pandas calls its row numbers
_SAMPLE = 1000  # rows that a guess looks at


@dataclass(frozen=True)
class Columns:
    """texts are joined; label is None when none is needed; guessed: what nobody named."""

    texts: tuple[str, ...]
    label: str | None
    guessed: dict[str, str] = field(default_factory=dict)


def chosen(table: Table, text: Sequence[str], label: str | None, labelled: bool) -> Columns:
    """The columns that are named, else `text` and `label`, else a guess.

    Names count without regard to case where no column has them exactly. Raises `DataError` for a
    column that is not there and where a guess could be wrong.
    """
    texts = tuple(_named(table, name) for name in text)
    if not texts and (found := _found(table, "text")):
        texts = (found,)
    target = None
    if labelled:
        target = _named(table, label) if label else _found(table, "label")
    if texts and (target or not labelled):
        return Columns(texts, target)
    if len(texts) < 2 and (pair := _guess(table, "".join(texts), target or "", labelled)):
        guessed = {} if texts else {"text": pair[0]}
        if labelled and not target:
            guessed["label"] = pair[1]
        return Columns(pair[:1], pair[1] if labelled else None, guessed)
    absent = "label" if texts else "text"
    options = "those of the text and the label, with --text and --label"
    raise DataError(
        f"column {absent!r} is not in {table.name}; its columns are {table.listed()}. "
        f"Name {options if labelled else 'that of the text, with --text'}"
    )


def _named(table: Table, name: str) -> str:
    found = _found(table, name)
    if found is None:
        raise DataError(f"column {name!r} is not in {table.name}; its columns are {table.listed()}")
    return found


def _found(table: Table, name: str) -> str | None:
    """The column of that name, or the one that differs in case alone."""
    if name in table.names:
        return name
    alike = [column for column in table.names if column.casefold() == name.casefold()]
    if len(alike) > 1:
        raise DataError(f"{table.name} has the columns {', '.join(alike)}; {name} could be each")
    return alike[0] if alike else None


def _guess(table: Table, text: str, label: str, labelled: bool) -> tuple[str, str] | None:
    """Text and label column of a table that has two columns beside row numbers, as far as they are
    not known; one column is a text where no label is needed. None where it could be otherwise."""
    names = [name for name in table.names if not _NAMELESS.fullmatch(name.casefold())]
    known = [name for name in names if _is(name, TEXTS)] if len(names) == 2 else names
    if not labelled and len(known) == 1:
        return known[0], ""
    if len(names) != 2 or not table.rows:
        return None
    pairs = [
        (first, second)
        for first, second in permutations(names)
        if text in (first, "") and label in (second, "")
        if _plausible(table, first, second, known=(bool(text), bool(label)))
    ]
    return pairs[0] if len(pairs) == 1 else None


def _plausible(table: Table, text: str, label: str, known: tuple[bool, bool]) -> bool:
    """Whether names say so, or, where they say nothing, what is in the columns: texts are longer
    and differ, labels come again."""
    is_text, is_label = known[0] or _is(text, TEXTS), known[1] or _is(label, LABELS)
    if is_text and is_label:
        return True
    if (not known[0] and _is(text, LABELS)) or (not known[1] and _is(label, TEXTS)):
        return False
    texts = [str(value) for value in table.column(text)[:_SAMPLE]]
    labels = [str(value) for value in table.column(label)[:_SAMPLE]]
    return (
        sum(map(len, texts)) >= 2 * sum(map(len, labels))
        and 2 * len(set(labels)) <= min(len(labels), len(set(texts)))
    )  # fmt: skip


def _is(name: str, known: frozenset[str]) -> bool:
    return name.casefold() in known


def header_like(fields: Sequence[str]) -> bool:
    """Whether a line's fields are a header: short, one of them a name that people give a column;
    a line of a single field must be such a name for texts."""
    names = [field.strip() for field in fields]
    if len(names) == 1:
        return _is(names[0], TEXTS)
    short = all(len(name) <= 40 and not name.endswith((".", "!", "?")) for name in names)
    return short and any(_is(name, TEXTS | LABELS) for name in names)
