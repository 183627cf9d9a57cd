from __future__ import annotations

import datetime
import io
import sys
import zipfile
from typing import Any

import pytest

from carryline.errors import MissingExtraError
from carryline.text.data import Dataset, read
from datafiles import Files, excel

DATE = datetime.datetime(2020, 1, 1)


def test_the_first_sheet_with_its_header(files: Files) -> None:
    rows: list[list[Any]] = [
        [],
        [None, "Review ", "Stars", None],
        [1, "good\nfilm", 5.0],
        [None, None, None],
        [2, None, 1],
        [3, 7, 2.5, "a note"],
    ]
    data = files.read("a.xlsx", excel(rows, "Second"), text="review", label="stars")
    assert data == Dataset(["good\nfilm", "", "7"], [5, 1, 2.5])
    wrong = [["text", "label"], ["a", "#N/A"], ["#DIV/0!", "x"]]
    assert "row 1 (line 2) has no label" in files.fails("a.xlsx", excel(wrong))
    assert files.read("a.xlsx", excel(wrong), skip_bad_rows=True).texts == [""]
    limited = files.read("a.xlsx", excel(rows), text="review", label="stars", limit=2)
    assert limited.labels == [5, 1]


def test_rows_in_messages_are_those_of_the_sheet(files: Files) -> None:
    rows: list[list[Any]] = [
        ["text", "label"],
        ["a", "x"],
        [],
        ["b"],
        [datetime.datetime(2020, 1, 1), "y"],
    ]
    message = files.fails("a.xlsx", excel(rows[:4]))
    assert "row 2 (line 4) has no label" in message
    assert "of type datetime" in files.fails("a.xlsx", excel([*rows[:3], rows[4]]))


def test_no_rows(files: Files) -> None:
    for content in (b"", excel([]), excel([["text", "label"]])):
        assert "holds no texts" in files.fails("a.xlsx", content)


def test_a_workbook_that_is_none(files: Files) -> None:
    whole = excel([["text", "label"], ["a", "b"]])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.txt", "x")
    for content in (b"text,label\n", whole[: len(whole) // 2], archive.getvalue()):
        assert "is not a sound Excel file" in files.fails("a.xlsx", content)


def test_excel_without_openpyxl(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write("a.xlsx", excel([["text"]]))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"'openpyxl'.*carryline\[excel\]"):
        read(path)
