"""Files as tables: which reader is for which source.

Nothing in a text is changed: no trimming, no new line ends, no normal form of Unicode.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from carryline.errors import DataError, need
from carryline.text.columns import header_like
from carryline.text.delimited import delimited, delimited_parts, delimiter_of
from carryline.text.excel import excel
from carryline.text.objects import json_file, json_lines, json_parts
from carryline.text.opening import PACKED, head_of, lines, opened
from carryline.text.parquet import parquet, parquet_parts
from carryline.text.plain import LABEL, class_folders, text_lines, text_parts
from carryline.text.table import Reading, Table

_LINES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".ft")
SUFFIXES = (*_LINES, ".parquet", ".xlsx")
STANDARD_INPUT = "standard input"
# By the end of a name: the package that reads it, the extra that brings that, and what for.
_NEEDS = {
    ".parquet": ("pyarrow", "parquet", "reading Parquet"),
    ".zst": ("pyarrow", "parquet", "reading .zst"),
    ".xlsx": ("openpyxl", "excel", "reading Excel"),
}


def check_packages(sources: Iterable[str | Path]) -> None:
    """Raises `MissingExtraError` when one of them needs a package that is not installed."""
    for source in sources:
        if needs := _NEEDS.get(Path(source).suffix.lower()):
            need(*needs)


def load(source: str | Path, how: Reading) -> Table:
    """The table in `source`: a file, a folder of class folders, or `-` for standard input.

    Raises `DataError` when its form or its encoding is wrong, `OSError` when it cannot be read.
    The packages that it needs are there: see `check_packages`.
    """
    if str(source) == "-":
        return _standard_input(how)
    path = Path(source)
    path.stat()  # a file that is not there comes before a suffix that is unknown
    if path.is_dir():
        return class_folders(path, how)
    suffix = _suffix(path)
    if suffix == ".parquet":
        return parquet(path, how)
    if suffix == ".xlsx":
        return excel(path, how)
    name = str(path)
    with opened(path) as stream:
        rows = lines(stream, name, how.encoding)
        if suffix in (".csv", ".tsv"):
            return delimited(rows, name, "\t" if suffix == ".tsv" else None, how)
        if suffix in (".txt", ".ft"):
            return text_lines(rows, name, how)
        return (json_file if suffix == ".json" else json_lines)(rows, name, how)


def parts(source: str | Path, how: Reading, rows: int) -> Iterator[Table]:
    """What `load` gives, in tables of `rows` rows where the format allows: text in lines, and
    Parquet; what else there is, at once."""
    path, suffix = Path(source), ""
    if str(source) != "-":
        path.stat()
        suffix = _suffix(path)
    if suffix == ".parquet":
        yield from parquet_parts(path, rows)
    elif suffix in ("", ".xlsx", ".json"):
        yield load(source, how)
    else:
        name = str(path)
        with opened(path) as stream:
            every = lines(stream, name, how.encoding)
            if suffix in (".csv", ".tsv"):
                yield from delimited_parts(
                    every, name, "\t" if suffix == ".tsv" else None, how, rows
                )
            else:
                in_lines = text_parts if suffix in (".txt", ".ft") else json_parts
                yield from in_lines(every, name, how, rows)


def _suffix(path: Path) -> str:
    """What tells the format: `.csv` of `reviews.csv` and of `reviews.csv.gz`."""
    packed = path.suffix.lower() in PACKED
    suffix = (path.with_suffix("") if packed else path).suffix.lower()
    if suffix not in (_LINES if packed else SUFFIXES):
        raise DataError(
            f"a data file's name must end in one of {', '.join(SUFFIXES)}, those of text also with "
            f"{' or '.join(PACKED)} after it; {path} does not"
        )
    return suffix


def _standard_input(how: Reading) -> Table:
    """Standard input in the format that its first line and its purpose tell."""
    every = lines(sys.stdin.buffer, STANDARD_INPUT, how.encoding)
    head = head_of(every)
    first = head[-1].strip() if head else ""
    rows = chain(head, every)
    if first == "[" or (first[:1] == "[" and first[1:].lstrip()[:1] == "{"):
        return json_file(rows, STANDARD_INPUT, how)
    if first.startswith("{"):
        return json_lines(rows, STANDARD_INPUT, how)
    if first.startswith(LABEL):
        return text_lines(rows, STANDARD_INPUT, how)
    if how.labelled:
        return delimited(rows, STANDARD_INPUT, None, how)
    if how.text or _is_header(first):
        name = f"{STANDARD_INPUT} (read as CSV, for its first line names columns)"
        return delimited(rows, name, None, how)
    if how.piped:
        return text_lines(rows, STANDARD_INPUT, how)
    raise DataError(
        f"{STANDARD_INPUT} is read as CSV, but no column that is known is named in its first line, "
        f"{first[:60]!r}: --text names one; without --input a pipe is read as a text a line"
    )


def _is_header(line: str) -> bool:
    """Whether a line looks like the header of a CSV file, and not like a text."""
    try:
        return header_like(next(csv.reader([line], delimiter=delimiter_of(line), strict=True), []))
    except csv.Error:
        return False
