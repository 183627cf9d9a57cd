"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    return _table(path, top, list(names), groups, rows)


def parquet_parts(path: Path) -> Iterator[Table]:
    """A table for each row group; one is there at least."""
    whole = parquet(path, Reading(labelled=False))
    with _file(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        top = file.schema_arrow.names
    before = 0
    for group, rows in enumerate(sizes):
        yield _table(path, top, whole.names, [group], rows, before)
        before += rows
    if not sizes:
        yield whole


def _table(
    path: Path, top: list[str], names: list[str], groups: list[int], rows: int, before: int = 0
) -> Table:
    """The first `rows` rows of some row groups; top: the columns, names: with those inside them."""

    def column(wanted: str) -> list[Any]:
        dots = (wanted[:at] for at, character in enumerate(wanted) if character == ".")
        first = wanted if wanted in top else next(name for name in dots if name in top)
        with _file(path) as file:
            table = file.read_row_groups(groups, columns=[first])
            values: list[Any] = table.column(first).slice(0, rows).to_pylist()
        return values if first == wanted else [within({first: v}, wanted) for v in values]

    return Table(str(path), names, rows, column, before=before)


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
    """An open Parquet file; whatever pyarrow says against it becomes a `DataError`."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    with path.open("rb") as stream:
        try:
            yield ParquetFile(stream)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path} is not a sound Parquet file: {reason}") from error
