from __future__ import annotations

import json
from typing import Any

import pytest

from carryline.text.data import Dataset, read
from datafiles import Files, json_lines, parquet, stdin

ROWS: list[Any] = [{"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}]
DATA = Dataset(["good", "bad"], ["pos", "neg"])


@pytest.mark.parametrize(
    "document",
    [
        ROWS,
        {"text": ["good", "bad"], "label": ["pos", "neg"]},
        {"text": {"0": "good", "1": "bad"}, "label": {"0": "pos", "1": "neg"}},
        {"text": {"8": "good", "3": "bad"}, "label": {"3": "neg", "8": "pos"}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", "\ufeff \n\n"])
def test_documents(files: Files, document: object, indent: int | None, before: str) -> None:
    content = before + json.dumps(document, indent=indent)
    assert files.read("a.json", content) == DATA
    assert files.read("a.json", content, limit=1).texts == ["good"]


def test_one_object_is_a_row(files: Files) -> None:
    for indent in (None, 2):
        content = json.dumps({"text": "good", "label": "pos"}, indent=indent)
        assert files.read("a.json", content) == Dataset(["good"], ["pos"])
    nested = {"review": {"body": "good", "title": "x"}, "rating": {"stars": 5}}
    for name in ("a.json", "a.jsonl"):
        found = files.read(name, json.dumps(nested), text="review.body", label="rating.stars")
        assert found == Dataset(["good"], [5])


def test_lines_are_rows_whatever_they_hold(files: Files) -> None:
    assert "of type list" in files.fails("a.jsonl", '{"text": ["a"], "label": ["b"]}\n')
    message = files.fails("a.json", 2 * '{"text": {"0": "a"}, "label": {"0": 1}}\n')
    assert "its columns are text.0, label.0" in message


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_array_in_standard_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for labelled in (True, False):
        for indent in (None, 1):
            stdin(monkeypatch, json.dumps(ROWS, indent=indent).encode())
            assert read("-", labelled=labelled).texts == ["good", "bad"]
    stdin(monkeypatch, b"[music plays]\nbad\n")
    assert read("-", labelled=False).texts == ["[music plays]", "bad"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            '[{"text": "a"},\n {"text": }]',
            "line 2: Expecting value at column 11; a .json file",
        ),
        ("{\n", "line 2: Expecting property name"),
        ('["a", "b"]', "each row of the array must be an object; row 1 is of type str"),
        ('{"text": ["a", "b"], "label": ["x"]}', "of one length; theirs are text 2, label 1"),
        ("[" * 100_000, "recursion"),
        (f"[{'9' * 5000}]", "integer"),
        ("[]", "holds no texts"),
        ("{}", "holds no texts"),
        ('{"text": [], "label": []}', "holds no texts"),
    ],
)
def test_documents_that_are_wrong(files: Files, content: str, says: str) -> None:
    if content == "{}":
        assert "column 'text' is not in" in files.fails("a.json", content)
    else:
        assert says in files.fails("a.json", content)


def test_line_numbers_count_blank_lines(files: Files) -> None:
    message = files.fails("a.json", "\n\n" + json_lines(ROWS[0]) + "\n{broken\n")
    assert "line 5: each line must be one JSON object" in message


# Keys in objects.

NESTED = [
    {"id": 1, "review": {"body": "good", "by": {"name": "Ann"}}, "meta": {"stars": 5}},
    {"id": 2, "review": {"body": "bad"}, "meta": {"stars": 1}},
]


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_nested_keys(files: Files, form: str) -> None:
    if form == "parquet":
        content: str | bytes = parquet({key: [r[key] for r in NESTED] for key in NESTED[0]})
    else:
        content = json_lines(*NESTED) if form == "jsonl" else json.dumps(NESTED)
    name = f"a.{form}"
    found = files.read(name, content, text="review.body", label="meta.stars")
    assert found == Dataset(["good", "bad"], [5, 1])
    assert files.read(name, content, text="Review.Body", label="META.stars") == found
    both = files.read(name, content, text=["review.by.name", "review.body"], label="id")
    assert both.texts == ["Ann good", "bad"]
    message = files.fails(name, content, text="review")
    assert "its columns are id, review.body, review.by.name, meta.stars" in message


def test_a_flat_column_with_a_dot_wins(files: Files) -> None:
    row = {"a.b": "flat", "a": {"b": "nested"}, "label": 1}
    assert files.read("a.jsonl", json_lines(row), text="a.b").texts == ["flat"]
    row = {"a.b": {"c": "half"}, "label": 1}
    assert files.read("a.jsonl", json_lines(row), text="a.b.c").texts == ["half"]
    columns = {"a.b": ["flat"], "a": [{"b": "nested"}], "label": [1]}
    assert files.read("a.parquet", parquet(columns), text="a.b").texts == ["flat"]


def test_objects_in_objects_without_end(files: Files) -> None:
    content = '{"text": "a", "label": 1, "x": ' + '{"y": ' * 300 + "1" + "}" * 301 + "\n"
    assert files.read("a.jsonl", content).texts == ["a"]
