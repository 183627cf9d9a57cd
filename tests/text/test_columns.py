from __future__ import annotations

from typing import Any

import pytest

from carryline.errors import DataError
from carryline.text.data import Dataset, read
from datafiles import Files, excel, parquet, stdin

LINES = [("what a long and lovely film", "A"), ("two hours of it, all of them wasted", "B")] * 3


def table(text: str, label: str, *, before: str = "") -> str:
    """CSV of six rows: in `text` two sentences in turn, in `label` two letters."""
    rows = [
        f'{before and number}{before}"{sentence}.{number}",{letter}\n'
        for number, (sentence, letter) in enumerate(LINES)
    ]
    return f"{before}{text},{label}\n" + "".join(rows)


# Names without regard to case.


def test_case_does_not_matter(files: Files) -> None:
    assert files.read("a.csv", "Text,LABEL\ngood,x\n") == Dataset(["good"], ["x"])
    assert files.read("a.csv", "Review,y\ngood,x\n", text="REVIEW", label="Y").texts == ["good"]
    assert files.read("a.xlsx", excel([["TEXT", "Label"], ["good", "x"]])).texts == ["good"]
    found = files.read("a.parquet", parquet({"Text": ["good"], "lAbel": ["x"]}))
    assert (found.texts, found.guessed) == (["good"], {})


def test_the_exact_name_wins_and_two_alike_are_an_error(files: Files) -> None:
    assert files.read("a.csv", "TEXT,text,label\nno,yes,x\n").texts == ["yes"]
    message = files.fails("a.csv", "TEXT,Text,label\na,b,x\n")
    assert "has the columns TEXT, Text; text could be each" in message


# Guesses.


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *(("review", "sentiment"), ("Tweet", "target"), ("title", "category"), ("comment", "y")),
        *(("text", "anything"), ("anything", "label"), ("anything", "stars"), ("body", "x")),
        ("foo", "bar"),
    ],
)
@pytest.mark.parametrize("before", ["", ","])
def test_two_columns_are_guessed_and_it_is_told(
    files: Files, text: str, label: str, before: str
) -> None:
    found = files.read("a.csv", table(text, label, before=before))
    assert found.texts[0] == "what a long and lovely film.0"
    assert found.labels == ["A", "B"] * 3
    expected = {"text": text} if text != "text" else {}
    assert found.guessed == expected | ({"label": label} if label != "label" else {})


def test_names_decide_where_there_is_little_to_see(files: Files) -> None:
    found = files.read("a.csv", "sentiment,review\npos,good\n")
    assert (found.texts, found.labels) == (["good"], ["pos"])
    assert found.guessed == {"text": "review", "label": "sentiment"}


@pytest.mark.parametrize(
    "content",
    [
        "a,b\ngood,pos\nbad,neg\n",  # too few to see anything in
        "title,body\n" + "one two,three four five six\n" * 6,  # both are texts by name
        "rating,stars\n" + "5,five\n" * 6,
        table("rating", "foo"),  # the long one has a label's name
        table("foo", "review"),
        "text,id\n" + "".join(f"a long text,{number}\n" for number in range(9)),  # no label
        "foo,bar\n" + "".join(f"{number % 2},{number % 3}\n" for number in range(9)),
        "id,review,sentiment\n1,good,pos\n",  # three
        "review\ngood\n",  # one
    ],
)
def test_what_could_be_otherwise_is_an_error(files: Files, content: str) -> None:
    message = files.fails("a.csv", content)
    header = ", ".join(content.splitlines()[0].split(","))
    assert f"its columns are {header}." in message
    assert "--text and --label" in message


def test_one_named_column_leaves_the_other(files: Files) -> None:
    found = files.read("a.csv", table("foo", "bar"), text="foo")
    assert (found.labels, found.guessed) == (["A", "B"] * 3, {"label": "bar"})
    found = files.read("a.csv", table("foo", "bar"), label="bar")
    assert found.guessed == {"text": "foo"}
    assert "column 'nowhere' is not in" in files.fails("a.csv", table("foo", "bar"), text="nowhere")
    assert "column 'label' is not" in files.fails("a.csv", table("foo", "bar"), text=["foo", "bar"])


@pytest.mark.parametrize(
    ("content", "guess"),
    [
        ("phrase\ngood\nbad\n", "phrase"),
        (",phrase\n0,good\n1,bad\n", "phrase"),
        ("id,review\n1,good\n2,bad\n", "review"),
        ("review,sentiment\ngood,x\nbad,y\n", "review"),
    ],
)
def test_texts_alone_are_guessed_too(files: Files, content: str, guess: str) -> None:
    found = files.read("a.csv", content, labelled=False)
    assert found == Dataset(["good", "bad"], None)
    assert found.guessed == {"text": guess}
    for wrong in ("id,phrase\n1,good\n", "id,review,date\n1,good,today\n"):
        message = files.fails("a.csv", wrong, labelled=False)
        assert message.endswith("Name that of the text, with --text")


def test_long_lists_of_columns_are_cut(files: Files) -> None:
    header = ",".join(f"c{number}" for number in range(500))
    message = files.fails("a.csv", f"{header}\n{',' * 499}\n")
    assert "c18, c19 and 480 more" in message
    assert "columns are (no name), a, b. Name" in files.fails("a.csv", ",a,b\n0,x,y\n")


# Standard input whose first line is a header.


@pytest.mark.parametrize(
    ("header", "options"),
    [
        *(("text,label", {}), ("Text;Label", {}), ('"text","label"', {}), ("label\ttext", {})),
        *(("review,sentiment", {}), ("text", {}), ("tweet", {}), (",text,label", {})),
        *(("foo,bar", {"text": "foo"}), ("id,bar,Review Text", {"text": "review text"})),
        ("\ufeffid,Age,text,Rating", {}),
    ],
)
def test_a_header_is_never_a_text(
    header: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    delimiter = next((c for c in ";\t" if c in header), ",")
    names = [name.strip('"\ufeff').lower() for name in header.split(delimiter)]
    wanted = options.get("text", "text")
    text = wanted if wanted in names else names[0]
    row = delimiter.join("a good film" if name == text else "x" for name in names)
    stdin(monkeypatch, f"\n{header}\n{row}\n".encode())
    assert read("-", labelled=False, **options).texts == ["a good film"]


@pytest.mark.parametrize("header", ["id,review,stars", "id;content;date", "a,b,label"])
def test_a_header_whose_text_is_not_known_is_an_error(
    header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "1;b;c" if ";" in header else "1,b,c"
    stdin(monkeypatch, f"{header}\n{row}\n".encode())
    with pytest.raises(DataError, match="read as CSV.* its columns are .* with --text"):
        read("-", labelled=False)


@pytest.mark.parametrize(
    "first",
    [
        *("good, really", "The text, the label", "A review.", "label", "not one"),
        '"quoted", text."',
        *("text " * 20 + ", label", "What a title, what a text!", "12,5", ""),
    ],
)
def test_plain_lines_stay_plain(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, f"{first}\nbad, really, so bad\n".encode())
    assert read("-", labelled=False).texts == [first, "bad, really, so bad"]


def test_plain_lines_after_what_looks_like_a_header_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin(monkeypatch, b"text\ngood, really\n")
    with pytest.raises(DataError, match="read as CSV, for its first line names columns.*line 2"):
        read("-", labelled=False)
