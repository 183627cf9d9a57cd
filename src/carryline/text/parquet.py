"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from carryline.errors import DataError
from carryline.text.objects import within
from carryline.text.table import Reading, Table, unique


def parquet(path: Path, how: Reading) -> Table:
    """A table of which only the columns that are asked for are read, structs as `struct.field`."""
    if path.stat().st_size == 0:
        return Table(str(path), [], 0, lambda name: [])
    with _file(path) as file:
        top = unique(file.schema_arrow.names, str(path))
        names = dict.fromkeys(name for field in file.schema_arrow for name in _leaves(field))
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    rows = sum(sizes) if how.limit is None else min(how.limit, sum(sizes))
    groups = [i for i in range(len(sizes)) if sum(sizes[:i]) < rows]
    read = partial(_column, path, groups)
    return Table(str(path), list(names), rows, partial(_values, path, read, top, 0, rows))


def parquet_parts(path: Path, rows: int) -> Iterator[Table]:
    """The same in tables of at most `rows` rows; of a row group what is asked for is read once."""
    whole = parquet(path, Reading(labelled=False))
    if not whole.rows:
        yield whole
        return
    with _file(path) as file:
        top = file.schema_arrow.names
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    before = 0
    for group, size in enumerate(sizes):
        read = cache(partial(_column, path, [group]))
        for begin in range(0, size, rows):
            count = min(rows, size - begin)
            column = partial(_values, path, read, top, begin, count)
            yield Table(str(path), whole.names, count, column, before=before + begin)
        before += size


def _column(path: Path, groups: list[int], name: str) -> Any:
    with _file(path) as file:
        # One column: threads of pyarrow's own would have nothing to share.
        return file.read_row_groups(groups, columns=[name], use_threads=False).column(name)


def _values(
    path: Path, read: Callable[[str], Any], top: list[str], begin: int, count: int, wanted: str
) -> list[Any]:
    """Of a column, or of one inside another, by read(name) of those at the top."""
    dots = (wanted[:at] for at, character in enumerate(wanted) if character == ".")
    first = wanted if wanted in top else next(name for name in dots if name in top)
    with _sound(path):
        values: list[Any] = read(first).slice(begin, count).to_pylist()
    return values if first == wanted else [within({first: v}, wanted) for v in values]


def _leaves(field: Any) -> Iterator[str]:
    """The name of a column, or of those inside it."""
    import pyarrow

    if not pyarrow.types.is_struct(field.type):
        yield field.name
        return
    for inner in field.type:
        yield from (f"{field.name}.{name}" for name in _leaves(inner))


@contextmanager
def _file(path: Path) -> Iterator[Any]:
    """An open Parquet file."""
    from pyarrow.parquet import ParquetFile

    with path.open("rb") as stream, _sound(path):
        yield ParquetFile(stream)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Whatever pyarrow says against a file becomes a `DataError`."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is not a sound Parquet file: {reason}") from error
