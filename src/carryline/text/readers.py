"""Files as tables: one reader for each format in which people keep labelled text.

Nothing in a text is changed: no trimming, no new line ends, no normal form of Unicode.
"""

from __future__ import annotations

import csv
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from carryline.errors import DataError, MissingExtraError

log = logging.getLogger("carryline")

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".ft")
STANDARD_INPUT = "standard input"
_LABEL = "__label__"
_FASTTEXT = re.compile(rf"\s*{_LABEL}(\S*)\s?(.*)", re.ASCII | re.DOTALL)
_ANOTHER_LABEL = re.compile(rf"(?<!\S){_LABEL}", re.ASCII)
_LONGEST_FIELD = 2**31 - 1  # characters; the most that the csv module takes everywhere
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """Rows as a source gave them; a column is read when it is asked for.

    name: what messages call the source. column(name): its values, one a row, None where a row has
    none. lines: [rows] the line on which each row begins, None where rows are not lines.
    """

    name: str
    names: list[str]
    rows: int
    column: Callable[[str], list[Any]]
    lines: list[int] | None = None

    def where(self, row: int) -> str:
        """How a person finds a row; `row` counts from 0."""
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.name}: row {row + 1}{line}"


def load(source: str | Path, labelled: bool) -> Table:
    """The table in `source`: a file, a folder of class folders, or `-` for standard input.

    Raises `DataError` when its form or its encoding is wrong, `OSError` when it cannot be read.
    """
    if str(source) == "-":
        return _standard_input(labelled)
    path = Path(source)
    path.stat()  # a file that is not there comes before a suffix that is unknown
    if path.is_dir():
        return _class_folders(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise DataError(f"a data file's name must end in one of {known}; {path} does not")
    if suffix == ".parquet":
        return _parquet(path)
    with path.open("rb") as stream:
        lines = _lines(stream, str(path))
        if suffix in (".csv", ".tsv"):
            return _delimited(lines, str(path), "\t" if suffix == ".tsv" else None)
        if suffix in (".txt", ".ft"):
            return _text_lines(list(lines), str(path), labelled)
        return _json_lines(lines, str(path))


def _standard_input(labelled: bool) -> Table:
    """Standard input in the format that its first characters and its purpose tell."""
    lines = list(_lines(sys.stdin.buffer, STANDARD_INPUT))
    first = _first_of(lines)
    if first.startswith("{"):
        return _json_lines(lines, STANDARD_INPUT)
    if labelled and not first.startswith(_LABEL):
        return _delimited(iter(lines), STANDARD_INPUT, None)
    return _text_lines(lines, STANDARD_INPUT, labelled)


def _lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines of a UTF-8 stream, ends kept; they break at LF alone."""
    offset = 0
    for line in stream:
        yield _decode(line, name, offset)
        offset += len(line)


def _decode(data: bytes, name: str, offset: int = 0) -> str:
    """UTF-8 `data`, which begins at byte `offset` of the file, without a byte order mark."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        wide = offset == 0 and data[:2] in (b"\xff\xfe", b"\xfe\xff")
        encoding = "UTF-16" if wide else "WINDOWS-1252"
        raise DataError(
            f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at offset "
            f"{offset + error.start}; convert it first, with iconv -f {encoding} -t UTF-8 perhaps"
        ) from error
    return text if offset else text.removeprefix("\ufeff")


def _first_of(lines: list[str]) -> str:
    """The first line that is not blank, from its first character on."""
    return next((line.lstrip() for line in lines if line.strip()), "")


def _delimited(lines: Iterator[str], name: str, delimiter: str | None) -> Table:
    """CSV with a header; its first line decides the delimiter when none is given."""
    head = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    delimiter = delimiter or _delimiter(head[-1] if head else "")
    names: list[str] = []
    rows: list[list[str]] = []
    begins: list[int] = []
    for line_number, fields in _records(chain(head, lines), name, delimiter):
        if len(fields) == 1 != len(names) and not fields[0].strip():
            continue  # a line of spaces
        if not names:
            names = _unique([field.strip() for field in fields], name)
        elif len(fields) != len(names):
            raise DataError(
                f"{name}, line {line_number}: every row must have as many fields (between "
                f"{delimiter!r}) as the header, {len(names)}; this one has {len(fields)}"
            )
        else:
            rows.append(fields)
            begins.append(line_number)

    def column(wanted: str) -> list[Any]:
        at = names.index(wanted)
        return [row[at] for row in rows]

    return Table(name, names, len(rows), column, begins)


def _delimiter(header: str) -> str:
    """The delimiter that stands most often in a header outside quotes, the comma in doubt."""
    return max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)


def _records(lines: Iterable[str], name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record of a CSV file begins, and its fields; empty lines left out."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begin = 1
    while True:
        # The limit belongs to the whole process: raised for a record at a time, never left so.
        limit = csv.field_size_limit(_LONGEST_FIELD)
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{name}, line {begin}: {error}; a field with quotes or line ends in it must be "
                f"quoted, with the quotes inside doubled"
            ) from error
        finally:
            csv.field_size_limit(limit)
        if fields is None:
            return
        if fields:
            yield begin, fields
        begin = reader.line_num + 1


def _unique(names: list[str], name: str) -> list[str]:
    """`names`, none of them twice; columns without a name (spreadsheets leave them) may repeat."""
    twice = sorted({column for column in names if column and names.count(column) > 1})
    if twice:
        raise DataError(f"{name}: columns must differ in name; twice there: {', '.join(twice)}")
    return names


def _json_lines(lines: Iterable[str], name: str) -> Table:
    """One JSON object a line, blank lines left out; the columns are all keys that occur."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{name}, line {number}: each line must be one JSON object; "
                f"{error.msg} at column {error.colno}"
            ) from error
        except (ValueError, RecursionError) as error:  # a number too long, nested too deep
            raise DataError(f"{name}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{name}, line {number}: each line must be one JSON object; "
                f"this one is of type {type(row).__name__}"
            )
        rows.append(row)
        numbers.append(number)
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    return Table(name, names, len(rows), lambda key: [row.get(key) for row in rows], numbers)


def _text_lines(lines: list[str], name: str, labelled: bool) -> Table:
    """fastText lines, `__label__x text`; without need of labels also one text a line.

    A blank line is no fastText line, but it is an empty text.
    """
    lines = [line.removesuffix("\n").removesuffix("\r") for line in lines]
    if not labelled and not _first_of(lines).startswith(_LABEL):
        return _plain(name, {"text": lines}, list(range(1, len(lines) + 1)))
    columns: dict[str, list[Any]] = {"text": [], "label": []}
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    for number in numbers:
        line = lines[number - 1]
        match = _FASTTEXT.fullmatch(line)
        label, text = match.groups() if match else (None, line)
        if match and (_LABEL in match[1] or _ANOTHER_LABEL.search(match[2])):
            raise DataError(f"{name}, line {number}: a text has one label, this one has several")
        columns["text"].append(text)
        columns["label"].append(label)
    return _plain(name, columns, numbers)


def _plain(name: str, columns: dict[str, list[Any]], lines: list[int] | None = None) -> Table:
    return Table(name, list(columns), len(columns["text"]), columns.__getitem__, lines)


def _class_folders(root: Path) -> Table:
    """A folder for each class, a .txt file for each text; both in natural order of their names."""
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    if {"train", "test"} <= {folder.name for folder in folders}:
        raise DataError(f"{root} holds train and test; name one of them, {root / 'train'} perhaps")
    columns: dict[str, list[Any]] = {"text": [], "label": []}
    for folder in folders:
        files = [file for file in _entries(folder) if file.suffix.lower() == ".txt"]
        if folder.name == "unsup":
            log.warning("skipped %s: its %d texts have no label", folder, len(files))
        elif not files:
            log.warning("skipped %s: it holds no .txt files", folder)
        else:
            columns["text"] += [_decode(file.read_bytes(), str(file)) for file in files]
            columns["label"] += [folder.name] * len(files)
    if not columns["text"]:
        raise DataError(f"{root} must hold a folder of .txt files for each class; it holds none")
    return _plain(str(root), columns)


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, hidden things left out, `2` before `10`."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entries, key=lambda entry: (_natural(entry.name), entry.name))


def _natural(name: str) -> list[str | int]:
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _parquet(path: Path) -> Table:
    if path.stat().st_size == 0:
        return Table(str(path), [], 0, lambda name: [])
    with _parquet_file(path) as file:
        names, rows = list(file.schema_arrow.names), file.metadata.num_rows

    def column(wanted: str) -> list[Any]:
        with _parquet_file(path) as file:
            values: list[Any] = file.read(columns=[wanted]).column(wanted).to_pylist()
        return values

    return Table(str(path), _unique(names, str(path)), rows, column)


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    """An open Parquet file; whatever pyarrow says against it becomes a `DataError`."""
    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train", "reading Parquet") from error
    with path.open("rb") as stream:
        try:
            yield ParquetFile(stream)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path} is not a sound Parquet file: {reason}") from error
