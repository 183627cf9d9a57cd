"""Text as it is: fastText lines, one text a line, a folder of files for each class."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from carryline.errors import DataError
from carryline.text.opening import head_of, text_of
from carryline.text.table import Bad, Reading, Table, parts

log = logging.getLogger("carryline")

LABEL = "__label__"
_FASTTEXT = re.compile(rf"\s*{LABEL}(\S*)\s?(.*)", re.ASCII | re.DOTALL)
_ANOTHER_LABEL = re.compile(rf"(?<!\S){LABEL}", re.ASCII)

_Labelled = tuple[str, str | None]  # text, label


def text_lines(lines: Iterator[str], name: str, how: Reading) -> Table:
    """fastText lines, `__label__x text`; without need of labels also one text a line.

    A blank line is no fastText line, but it is an empty text.
    """
    return next(text_parts(lines, name, how, how.limit))


def text_parts(lines: Iterator[str], name: str, how: Reading, rows: int | None) -> Iterator[Table]:
    """The same in tables of at most `rows` rows; one is there at least."""
    head = head_of(lines)
    ends = (_without_end(line) for line in chain(head, lines))
    if how.labelled or (head and head[-1].lstrip().startswith(LABEL)):

        def labelled(found: list[_Labelled], numbers: list[int], before: int) -> Table:
            texts, labels = [text for text, _ in found], [label for _, label in found]
            columns: dict[str, list[Any]] = {"text": texts, "label": labels}
            return _table(name, columns, numbers, before)

        yield from parts(_fasttext(ends, name, how.bad), rows, labelled)
        return

    def plain(found: list[str], numbers: list[int], before: int) -> Table:
        return _table(name, {"text": found}, numbers, before)

    yield from parts(enumerate(ends, 1), rows, plain)


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _fasttext(lines: Iterator[str], name: str, bad: Bad) -> Iterator[tuple[int, _Labelled]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _FASTTEXT.fullmatch(line)
        if match and (LABEL in match[1] or _ANOTHER_LABEL.search(match[2])):
            bad.row(f"{name}, line {number}: a text has one label, this one has several")
        else:
            yield number, (match[2], match[1]) if match else (line, None)


def class_folders(root: Path, how: Reading) -> Table:
    """A folder for each class, a .txt file for each text; both in natural order of their names."""
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    if {"train", "test"} <= {folder.name for folder in folders}:
        raise DataError(f"{root} holds train and test; name one of them, {root / 'train'} perhaps")
    files = list(islice(chain.from_iterable(map(_texts_of, folders)), how.limit))
    if not files:
        raise DataError(f"{root} must hold a folder of .txt files for each class; it holds none")
    texts = [text_of(file.read_bytes(), str(file), how.encoding) for file in files]
    return _table(str(root), {"text": texts, "label": [file.parent.name for file in files]})


def _texts_of(folder: Path) -> list[Path]:
    files = [file for file in _entries(folder) if file.suffix.lower() == ".txt"]
    if folder.name == "unsup":
        log.warning("skipped %s: its %d texts have no label", folder, len(files))
        return []
    if not files:
        log.warning("skipped %s: it holds no .txt files", folder)
    return files


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, hidden things left out, `2` before `10`."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entries, key=lambda entry: (_natural(entry.name), entry.name))


def _natural(name: str) -> list[str | int]:
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def every_text(root: Path, encoding: str) -> Iterator[str]:
    """The text of each .txt file in a folder and those in it, in natural order of their names."""
    for entry in _entries(root):
        if entry.is_dir() and not entry.is_symlink():
            yield from every_text(entry, encoding)
        elif entry.suffix.lower() == ".txt":
            yield text_of(entry.read_bytes(), str(entry), encoding)


def _table(
    name: str,
    columns: Mapping[str, list[Any]],
    lines: list[int] | None = None,
    before: int = 0,
) -> Table:
    return Table(name, list(columns), len(columns["text"]), columns.__getitem__, lines, before)
