"""What every reader gives, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from carryline.errors import DataError

_Row = TypeVar("_Row")
_SHOWN = 20  # columns that a message names


@dataclass(frozen=True)
class Table:
    """Rows as a source gave them; a column is read when it is asked for.

    name: what messages call the source. column(name): its values, one a row, None where a row has
    none. lines: [rows] the line on which each row begins, None where rows are not lines. before:
    rows of the source that came before these.
    """

    name: str
    names: list[str]
    rows: int
    column: Callable[[str], list[Any]]
    lines: list[int] | None = None
    before: int = 0

    def where(self, row: int) -> str:
        """How a person finds a row; `row` counts from 0."""
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.name}: row {self.before + row + 1}{line}"

    def listed(self) -> str:
        """The columns' names for a message."""
        more = len(self.names) - _SHOWN
        shown = ", ".join(name or "(no name)" for name in self.names[:_SHOWN])
        return shown + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Bad:
    """Rows that cannot be used: the first one is an error, unless they are to be skipped."""

    skip: bool = False
    rows: list[str] = field(default_factory=list)  # what was said of each

    def row(self, message: str) -> None:
        """Raises `DataError` with the message, or keeps it."""
        if not self.skip:
            raise DataError(message)
        self.rows.append(message)


@dataclass(frozen=True)
class Reading:
    """How a source is to be read.

    labelled: whether labels are needed. text: the columns of the text, where they were named.
    encoding: of text formats. limit: rows at most. bad: takes the rows that cannot be used. piped:
    where labels are not needed, standard input may be a text a line.
    """

    labelled: bool = True
    text: tuple[str, ...] = ()
    encoding: str = "utf-8"
    limit: int | None = None
    bad: Bad = field(default_factory=Bad)
    piped: bool = True


def unique(names: Iterable[str], name: str) -> list[str]:
    """`names`, none of them twice; columns without a name (spreadsheets leave them) may repeat."""
    names = list(names)
    twice = sorted({column for column in names if column and names.count(column) > 1})
    if twice:
        raise DataError(f"{name}: columns must differ in name; twice there: {', '.join(twice)}")
    return names


def parts(
    pairs: Iterator[tuple[int, _Row]],
    rows: int | None,
    table: Callable[[list[_Row], list[int], int], Table],
) -> Iterator[Table]:
    """Tables of at most `rows` rows (None: all at once), one at least, each by table(rows, their
    lines, how many came before)."""
    before = 0
    while True:
        lines, found = apart(islice(pairs, rows))
        if found or not before:
            yield table(found, lines, before)
        before += len(found)
        if rows is None or len(found) < rows:
            return


def apart(pairs: Iterable[tuple[int, _Row]]) -> tuple[list[int], list[_Row]]:
    """Two lists, of line numbers and of rows, without a million pairs in memory between them."""
    numbers, rows = [], []
    for number, row in pairs:
        numbers.append(number)
        rows.append(row)
    return numbers, rows
