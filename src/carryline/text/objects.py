"""JSON: an object a row, one a line or in an array; or one object of columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from carryline.errors import DataError
from carryline.text.opening import head_of
from carryline.text.table import Bad, Reading, Table, parts

_DEEPEST = 8  # levels of objects whose keys are columns, `a.b.c`

Row = dict[str, Any]


def json_lines(lines: Iterable[str], name: str, how: Reading) -> Table:
    """One JSON object a line, blank lines left out; the columns are all keys that occur."""
    return next(json_parts(lines, name, how, how.limit))


def json_parts(lines: Iterable[str], name: str, how: Reading, rows: int | None) -> Iterator[Table]:
    """The same in tables of at most `rows` rows; one is there at least."""
    yield from parts(
        _parsed(lines, name, how.bad),
        rows,
        lambda found, numbers, before: _table(name, found, numbers, before),
    )


def json_file(lines: Iterator[str], name: str, how: Reading) -> Table:
    """JSON lines, an array of objects, or one object of columns (as pandas writes by default)."""
    head = head_of(lines)
    first = head[-1].strip() if head else ""
    if first.startswith("[") or first == "{":
        return _document("".join(chain(head, lines)), name, how)
    more = head_of(lines)
    if first and not "".join(more).strip():
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):  # told of the line, below
            value = None
        if (rows := _by_columns(value, name)) is not None:
            return _table(name, rows[: how.limit])
    return json_lines(chain(head, more, lines), name, how)


def _parsed(lines: Iterable[str], name: str, bad: Bad) -> Iterator[tuple[int, Row]]:
    """The number of each line that is a JSON object, and the object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at column {error.colno}"
        except (ValueError, RecursionError) as error:  # a number too long, nested too deep
            bad.row(f"{name}, line {number}: {error}")
            continue
        else:
            if isinstance(row, dict):
                yield number, row
                continue
            reason = f"this one is of type {type(row).__name__}"
        bad.row(f"{name}, line {number}: each line must be one JSON object; {reason}")


def _document(text: str, name: str, how: Reading) -> Table:
    """An array of objects, or an object that takes many lines."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name}, line {error.lineno}: {error.msg} at column {error.colno}; a .json file must "
            f"be an array of objects, an object of columns, or one object a line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: {error}") from error
    if isinstance(value, dict):
        rows = _by_columns(value, name)
        return _table(name, ([value] if rows is None else rows)[: how.limit])
    return _table(name, list(islice(_objects(value, name, how.bad), how.limit)))


def _objects(values: list[Any], name: str, bad: Bad) -> Iterator[Row]:
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield value
        else:
            bad.row(
                f"{name}: each row of the array must be an object; "
                f"row {number} is of type {type(value).__name__}"
            )


def _by_columns(value: Any, name: str) -> list[Row] | None:
    """The rows of `{"text": ["a", "b"], …}` or `{"text": {"0": "a", "1": "b"}, …}`; None for an
    object that is a row itself."""
    columns = list(value.values()) if isinstance(value, dict) else []
    if not columns:
        return None
    if all(isinstance(column, list) for column in columns):
        if len({len(column) for column in columns}) > 1:
            raise DataError(
                f"{name}: columns must be of one length; theirs are "
                + ", ".join(f"{key} {len(column)}" for key, column in value.items())
            )
        return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        return [{key: column[row] for key, column in value.items()} for row in columns[0]]
    return None


def _table(name: str, rows: list[Row], lines: list[int] | None = None, before: int = 0) -> Table:
    def column(key: str) -> list[Any]:
        return [row[key] if key in row else within(row, key) for row in rows]

    names = dict.fromkeys(path for row in rows for path in _paths(row, _DEEPEST))
    return Table(name, list(names), len(rows), column, lines, before)


def _paths(row: Row, levels: int) -> Iterator[str]:
    """The keys of a row; for a key that holds an object those in it, `key.inner`."""
    for key, value in row.items():
        if isinstance(value, dict) and value and levels:
            yield from (f"{key}.{inner}" for inner in _paths(value, levels - 1))
        else:
            yield key


def within(row: Row, path: str) -> Any:
    """What `path` leads to: a key of the row, else keys of objects in it; None when nothing is."""
    if path in row:
        return row[path]
    for at in (at for at, character in enumerate(path) if character == "."):
        inner = row.get(path[:at])
        if isinstance(inner, dict) and (value := within(inner, path[at + 1 :])) is not None:
            return value
    return None
