"""Texts without labels from sources of any size, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from carryline.errors import DataError
from carryline.text.columns import chosen
from carryline.text.data import texts_of, told
from carryline.text.plain import every_text
from carryline.text.readers import parts
from carryline.text.table import Reading

_ROWS = 1024  # at a time


def texts(source: str | Path, how: Reading, guessed: Callable[[str], None]) -> Iterator[list[str]]:
    """The texts of a source as `data.read` takes them, or all .txt files in a folder.

    The first part of a source decides its columns; guessed is called with a column that nobody
    named. Memory is needed for one part: 1,024 rows, and of Parquet for the columns of a row group;
    Excel, standard input and .json are read at once. Raises `DataError`.
    """
    empty = True
    with told(source):
        found = _folder(Path(source), how) if _is_folder(source) else _rows(source, how, guessed)
        for part in found:
            empty = empty and not part
            if part:
                yield part
    if empty:
        raise DataError(f"{source} holds no texts")


def _is_folder(source: str | Path) -> bool:
    return str(source) != "-" and Path(source).is_dir()


def _folder(root: Path, how: Reading) -> Iterator[list[str]]:
    for text in every_text(root, how.encoding):
        yield [text]


def _rows(source: str | Path, how: Reading, guessed: Callable[[str], None]) -> Iterator[list[str]]:
    columns: tuple[str, ...] = ()
    for table in parts(source, how, _ROWS):
        if not table.rows:
            continue
        if not columns:
            known = chosen(table, how.text, None, labelled=False)
            columns = known.texts
            for name in known.guessed.values():
                guessed(name)
        found, wrong = texts_of(table, columns)
        for row in sorted(wrong):
            how.bad.row(wrong[row])
        yield [text for row, text in enumerate(found) if row not in wrong] if wrong else found
