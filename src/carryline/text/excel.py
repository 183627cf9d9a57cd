"""Excel, through openpyxl."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from carryline.errors import DataError
from carryline.text.table import Reading, Table, apart, unique

# What Excel shows in a cell that has no value.
_ERRORS = frozenset(("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"))


def excel(path: Path, how: Reading) -> Table:
    """The first sheet; its first row that is not empty is the header, empty rows are left out."""
    if path.stat().st_size == 0:
        return Table(str(path), [], 0, lambda name: [])
    with _sheet(path) as sheet:
        filled = (
            (number, cells)
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1)
            if any(cell is not None for cell in cells)
        )
        _, header = next(filled, (0, ()))
        numbers, rows = apart(islice(filled, how.limit))
    names = unique(("" if cell is None else str(cell).strip() for cell in header), str(path))

    def column(wanted: str) -> list[Any]:
        at = names.index(wanted)
        values = (cells[at] if at < len(cells) else None for cells in rows)
        return [None if value in _ERRORS else value for value in values]

    return Table(str(path), names, len(rows), column, numbers)


@contextmanager
def _sheet(path: Path) -> Iterator[Any]:
    """The first sheet of an open workbook; whatever openpyxl meets in it becomes a `DataError`."""
    from openpyxl import load_workbook

    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and checks that it leaves out
        try:
            workbook = load_workbook(stream, read_only=True, data_only=True)
            yield workbook.worksheets[0]
            workbook.close()
        except Exception as error:  # ZIP, XML, and what follows from parts that are missing
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(f"{path} is not a sound Excel file: {reason}") from error
