"""Texts without labels, some at a time: from every format the same, as `data.read` gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carryline.errors import DataError
from carryline.text import data, streams
from carryline.text.table import Bad, Reading

TEXTS = [f'text {i}, "said"\nand so on' if i % 3 else f"plain {i}" for i in range(10)]


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ROWS", 4)


def streamed(source: Path, **how: Any) -> list[str]:
    parts = list(streams.texts(source, Reading(labelled=False, **how), lambda column: None))
    assert all(0 < len(part) <= 4 for part in parts) or source.suffix == ".json"
    return [text for part in parts for text in part]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def csv(folder: Path) -> Path:
    rows = [f"{quoted(text)},{i}" for i, text in enumerate(TEXTS)]
    (folder / "a.csv").write_text("\n".join(["text,id", *rows]) + "\n")
    return folder / "a.csv"


def tsv(folder: Path) -> Path:
    (folder / "a.tsv").write_text("\n".join(["Whatever", *map(quoted, TEXTS)]) + "\n")
    return folder / "a.tsv"


def jsonl(folder: Path) -> Path:
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    return folder / "a.jsonl"


def document(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps([{"text": t} for t in TEXTS]))
    return folder / "a.json"


def parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    table = pyarrow.table({"id": list(range(10)), "text": TEXTS})
    write_table(table, folder / "a.parquet", row_group_size=6)
    return folder / "a.parquet"


@pytest.mark.parametrize("write", [csv, tsv, jsonl, document, parquet])
def test_every_format_gives_its_texts(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    source = write(tmp_path)
    assert streamed(source) == TEXTS == data.read(source, labelled=False).texts


def test_lines_with_and_without_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nthree\n" * 3)
    assert streamed(tmp_path / "a.txt") == ["one", "", "three"] * 3
    (tmp_path / "b.ft").write_text("__label__x one\n\n__label__y two\n" * 3)
    assert streamed(tmp_path / "b.ft") == ["one", "two"] * 3


def test_folders_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/10.txt", "b/9.txt", "a.txt", "b/c/x.TXT", "b/no.csv", ".hidden/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert streamed(tmp_path) == ["a.txt", "b/9.txt", "b/10.txt", "b/c/x.TXT"]


def test_columns_are_named_or_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": "a", "body": "b", "n": 1}\n' * 6)
    assert streamed(tmp_path / "a.jsonl", text=("title", "body")) == ["a b"] * 6
    said: list[str] = []
    (tmp_path / "b.csv").write_text("words\n" + "some text\n" * 9)
    list(streams.texts(tmp_path / "b.csv", Reading(labelled=False), said.append))
    assert said == ["words"]


def test_a_wrong_row_is_told_by_its_place_in_the_file_or_left_out(tmp_path: Path) -> None:
    rows = ['{"text": "a"}'] * 9
    rows[6] = '{"text": ["b"]}'
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"row 7 \(line 7\): a text must be a string"):
        streamed(tmp_path / "a.jsonl")
    bad = Bad(skip=True)
    assert streamed(tmp_path / "a.jsonl", bad=bad) == ["a"] * 8
    assert len(bad.rows) == 1


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json", "a.parquet", "folder"])
def test_a_source_without_texts_is_an_error(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.mkdir() if name == "folder" else source.write_text("text\n" if name == "a.csv" else "")
    with pytest.raises(DataError, match="holds no texts"):
        streamed(source)
    with pytest.raises(DataError, match="no such file or folder"):
        streamed(tmp_path / "none.csv")
