"""CSV and its kin: a header, then a record a row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from carryline.text.opening import head_of
from carryline.text.table import Bad, Reading, Table, parts, unique

_LONGEST_FIELD = 2**31 - 1  # characters; the most that the csv module takes everywhere
_DELIMITERS = ",;\t|"


def delimited(lines: Iterator[str], name: str, delimiter: str | None, how: Reading) -> Table:
    """CSV with a header; its first line decides the delimiter when none is given."""
    return next(delimited_parts(lines, name, delimiter, how, how.limit))


def delimited_parts(
    lines: Iterator[str], name: str, delimiter: str | None, how: Reading, rows: int | None
) -> Iterator[Table]:
    """The same in tables of at most `rows` rows; one is there at least."""
    head = head_of(lines)
    delimiter = delimiter or delimiter_of(head[-1] if head else "")
    records = _records(chain(head, lines), name, delimiter, how.bad)
    header = next((fields for _, fields in records if any(map(str.strip, fields))), [])
    names = unique((field.strip() for field in header), name)
    yield from parts(
        _rows(records, names, name, delimiter, how.bad),
        rows,
        lambda found, begins, before: _table(name, names, found, begins, before),
    )


def _table(
    name: str, names: list[str], rows: list[list[str]], begins: list[int], before: int
) -> Table:
    def column(wanted: str) -> list[Any]:
        at = names.index(wanted)
        return [row[at] for row in rows]

    return Table(name, names, len(rows), column, begins, before)


def _rows(
    records: Iterable[tuple[int, list[str]]], names: list[str], name: str, delimiter: str, bad: Bad
) -> Iterator[tuple[int, list[str]]]:
    """The records that have as many fields as the header; lines of spaces are left out."""
    for begin, fields in records:
        if len(fields) == len(names):
            yield begin, fields
        elif len(fields) > 1 or fields[0].strip():
            bad.row(
                f"{name}, line {begin}: every row must have as many fields (between "
                f"{delimiter!r}) as the header, {len(names)}; this one has {len(fields)}"
            )


def delimiter_of(header: str) -> str:
    """The delimiter that stands most often in a header outside quotes, the comma in doubt."""
    return max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)


def _records(
    lines: Iterable[str], name: str, delimiter: str, bad: Bad
) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record of a CSV file begins, and its fields; empty lines left out.

    A record that is wrong ends with the line on which it begins: a quote that nobody closes costs
    one row, not the rest of the file. The header is never skipped.
    """
    source = _Lines(lines)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    begin, wrong = 1, Bad()
    while True:
        # The limit belongs to the whole process: raised for a record at a time, never left so.
        limit = csv.field_size_limit(_LONGEST_FIELD)
        try:
            fields = next(reader, None)
        except csv.Error as error:
            wrong.row(
                f"{name}, line {begin}: {error}; a field with quotes or line ends in it must be "
                f"quoted, with the quotes inside doubled"
            )
            fields = []
            source.give_back_all_but_one()
        finally:
            csv.field_size_limit(limit)
        if fields is None:
            return
        if fields:
            yield begin, fields
            wrong = bad
        begin += source.taken()


class _Lines:
    """Lines of which those of the last record can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._back: deque[str] = deque()
        self._record: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._lines)
        self._record.append(line)
        return line

    def give_back_all_but_one(self) -> None:
        self._back.extendleft(reversed(self._record[1:]))
        del self._record[1:]

    def taken(self) -> int:
        """The lines of the record, which ends here."""
        count = len(self._record)
        self._record.clear()
        return count
