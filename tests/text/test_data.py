from __future__ import annotations

import csv
import io
import logging
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.errors import DataError, MissingExtraError
from carryline.text.data import Dataset, Label, read
from datafiles import BINARY, FORMS, Files, excel, json_lines, parquet, stdin

ODD = ' \u00a0Naïve 🙂,\t"x"\r\nline\rtwo\n\u2028\u0085;| \x00 '


@pytest.mark.parametrize("name", FORMS)
def test_every_format_gives_the_same_data(files: Files, name: str) -> None:
    assert files.read(name, FORMS[name]) == Dataset(["good", "bad"], ["pos", "neg"])


@pytest.mark.parametrize("name", FORMS)
def test_without_labels(files: Files, name: str) -> None:
    assert files.read(name, FORMS[name], labelled=False) == Dataset(["good", "bad"], None)


@pytest.mark.parametrize("name", FORMS)
def test_an_empty_file_holds_no_texts(files: Files, name: str) -> None:
    assert "holds no texts" in files.fails(name, "")
    assert "holds no texts" in files.fails(name, "", labelled=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\n"),
        ("a.csv", "\n\n"),
        ("a.jsonl", "\n \n"),
        ("a.parquet", parquet({"text": pa.array([], pa.string())})),
        ("a.ft", "\n\n"),
    ],
)
def test_a_file_without_rows_holds_no_texts(files: Files, name: str, content: str | bytes) -> None:
    assert "holds no texts" in files.fails(name, content)


def test_strings_are_sources_too(files: Files) -> None:
    assert read(str(files.write("a.csv", FORMS["a.csv"]))).texts == ["good", "bad"]


# Places that cannot be read.


def test_missing_file(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.csv", tmp_path / "no.pdf", tmp_path / "no" / "no.csv"):
        with pytest.raises(DataError) as caught:
            read(missing)
        assert str(caught.value) == f"no such file or folder: {missing}"


def test_a_file_used_as_a_folder(files: Files) -> None:
    inside = files.write("a.csv", FORMS["a.csv"]) / "b.csv"
    with pytest.raises(DataError, match="no such file or folder"):
        read(inside)


def test_unknown_suffix_names_the_known_ones(files: Files) -> None:
    for name in ("a.pdf", "a.xls", "a.gz", "a.parquet.gz", "noname"):
        message = files.fails(name, "text,label\n")
        assert ".csv, .tsv, .jsonl, .ndjson, .json, .txt, .ft, .parquet, .xlsx" in message
        assert ".gz or .zst after it" in message


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_operating_system_errors_are_data_errors(tmp_path: Path) -> None:
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=r"cannot read .*loop\.csv: "):
        read(loop)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.txt", "a.jsonl"])
def test_permission_denied(files: Files, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write(name, FORMS[name])

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"cannot read {path}: Permission denied"


def test_permission_denied_for_real(files: Files) -> None:
    path = files.write("a.csv", FORMS["a.csv"])
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(DataError, match="cannot read"):
        read(path)


# Encoding.


def test_byte_order_mark(files: Files) -> None:
    mark = b"\xef\xbb\xbf"
    for name, form in FORMS.items():
        if name not in BINARY:
            assert files.read(name, mark + form).texts == ["good", "bad"], name
    assert files.read("b.csv", mark + b'"text",label\nx,y\n').texts == ["x"]
    files.write("c/pos/1.txt", mark + b"x")
    assert read(files.folder / "c").texts == ["x"]


def test_a_mark_inside_a_text_stays(files: Files) -> None:
    assert files.read("a.csv", "text,label\n\ufeffx,y\n").texts == ["\ufeffx"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.ft"])
def test_not_utf8_tells_the_byte_and_its_offset_in_the_file(files: Files, name: str) -> None:
    line = b'{"text": "\xc3\xa9"}\n' if name == "a.jsonl" else b"text\xc3\xa9,label\n"
    content = b"\xef\xbb\xbf" + line * 1000 + b"caf\xe9\n"
    message = files.fails(name, content)
    assert f"is not UTF-8: byte 0xe9 at offset {content.index(0xE9)}" in message
    assert "--encoding cp1252 perhaps" in message


def test_not_utf8_in_the_header_and_at_the_end(files: Files) -> None:
    assert "byte 0xfc at offset 0" in files.fails("a.csv", b"\xfcber,label\n")
    assert "byte 0xc3 at offset 13" in files.fails("a.csv", b"text,label\nx,\xc3")


def test_utf16_is_recognised(files: Files) -> None:
    message = files.fails("a.csv", FORMS["a.csv"].decode().encode("utf-16"))
    assert "byte 0xff at offset 0" in message
    assert "--encoding utf-16 perhaps" in message


def test_not_utf8_in_a_class_folder_names_the_file(files: Files) -> None:
    files.write("d/pos/1.txt", "good")
    bad = files.write("d/pos/2.txt", b"b\xe4d")
    with pytest.raises(DataError) as caught:
        read(files.folder / "d")
    assert f"{bad} is not UTF-8: byte 0xe4 at offset 1" in str(caught.value)


# CSV on a Monday.


def test_csv_round_trip_of_an_odd_text(files: Files) -> None:
    text = ODD if sys.version_info >= (3, 11) else ODD.replace("\x00", "")
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["text", "label"], [text, "x"]])
    assert files.read("a.csv", buffer.getvalue()).texts == [text]


def test_nul_bytes_do_not_crash(files: Files) -> None:
    content = "text,label\na\x00b,x\n"
    if sys.version_info >= (3, 11):
        assert files.read("a.csv", content).texts == ["a\x00b"]
    else:  # the csv module of 3.10 takes none
        assert "line 2" in files.fails("a.csv", content)


def test_a_megabyte_in_a_field(files: Files) -> None:
    before = csv.field_size_limit(1000)
    texts = ["x" * (1 << 20), 'a "b"\n' * (1 << 18)]
    quoted = texts[1].replace('"', '""')
    assert files.read("a.csv", f'text,label\n{texts[0]},p\n"{quoted}",n\n').texts == texts
    assert csv.field_size_limit(before) == 1000


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiter_comes_from_the_header(files: Files, delimiter: str) -> None:
    rows = [["id", "text", "label"], ["1", "x" + ",;\t|".replace(delimiter, ""), "p"]]
    content = "".join(delimiter.join(row) + "\n" for row in rows)
    assert files.read("a.csv", content).texts == [rows[1][1]]


def test_csv_delimiter_comma_on_a_tie_and_not_from_quotes(files: Files) -> None:
    assert files.read("a.csv", "text,label;x\ngood;,1\n", label="label;x").texts == ["good;"]
    assert files.read("a.csv", '"a,b,c";text;label\n1;good;p\n').texts == ["good"]
    assert files.read("a.csv", "text\ngood; or not\n", labelled=False).texts == ["good; or not"]


def test_tsv_is_split_by_tabs_only(files: Files) -> None:
    assert files.read("a.tsv", "a,b,c\ttext\tlabel\n1\tx,y\tp\n").texts == ["x,y"]


def test_csv_blank_lines_are_skipped(files: Files) -> None:
    content = "\n \n\r\ntext,label\n\ngood,pos\n   \n\r\nbad,neg\n\n"
    assert files.read("a.csv", content) == Dataset(["good", "bad"], ["pos", "neg"])


def test_csv_of_one_column_keeps_texts_of_white_space(files: Files) -> None:
    content = 'text\n""\n \ngood\n\n'
    assert files.read("a.csv", content, labelled=False).texts == ["", " ", "good"]


def test_csv_header_names_are_stripped(files: Files) -> None:
    assert files.read("a.csv", " text , label\t\ngood,pos\n").labels == ["pos"]


def test_csv_duplicate_header_names(files: Files) -> None:
    message = files.fails("a.csv", "text,label, text\na,b,c\n")
    assert "columns must differ in name; twice there: text" in message


def test_csv_nameless_columns_may_repeat(files: Files) -> None:
    assert files.read("a.csv", "text,label,,\ngood,pos,,\n").texts == ["good"]


def test_csv_ragged_row_tells_its_line(files: Files) -> None:
    head = 'text,label\n"two\nlines",pos\n\n'
    for row, fields in (("good,pos,x", 3), ("good", 1), ('"a\nb",c,d', 3)):
        message = files.fails("a.csv", f"{head}{row}\nbad,neg\n")
        assert "line 5" in message
        assert f"as the header, 2; this one has {fields}" in message


def test_csv_quotes_that_do_not_close(files: Files) -> None:
    assert "line 3: " in files.fails("a.csv", 'text,label\na,b\n"good,pos\nbad,neg\n')
    assert "line 2: " in files.fails("a.csv", 'text,label\n"good" really,pos\nbad,neg\n')


def test_csv_quotes_inside_a_field_are_text(files: Files) -> None:
    assert files.read("a.csv", 'text,label\n5" disk,pos\n').texts == ['5" disk']


def test_csv_bare_carriage_return(files: Files) -> None:
    assert "line 2: " in files.fails("a.csv", "text,label\na\rb,pos\n")


# JSON lines.


def test_json_keeps_odd_texts_and_lone_surrogates(files: Files) -> None:
    for text in (ODD, "\ud800"):
        assert files.read("a.jsonl", json_lines({"text": text, "label": 1})).texts == [text]
    raw = '{"text": "a\u2028b\u0085c", "label": 1}\n'
    assert files.read("a.jsonl", raw).texts == ["a\u2028b\u0085c"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a", "label" 1}', "Expecting ':' delimiter at column 23"),
        ('{"text": "a"', "Expecting ',' delimiter"),
        ("[1, 2]", "must be one JSON object; this one is of type list"),
        ('"text"', "must be one JSON object; this one is of type str"),
        ("[" * 100_000, "line 3"),
        ("9" * 5000, "line 3"),
    ],
)
def test_json_errors_tell_the_line(files: Files, line: str, reason: str) -> None:
    message = files.fails("a.jsonl", f'{{"text": "a", "label": 1}}\n\n{line}\n')
    assert "line 3" in message
    assert reason in message


def test_json_rows_may_lack_texts_but_not_labels(files: Files) -> None:
    rows = [{"label": 1}, {"text": None, "label": 2}, {"text": "a", "label": 3}]
    assert files.read("a.jsonl", json_lines(*rows)).texts == ["", "", "a"]
    message = files.fails("a.jsonl", "\n" + json_lines(*rows, {"text": "b"}, {"text": "c"}))
    assert "row 4 (line 5) has no label in column 'label'; rows without one: 2 of 5" in message


def test_json_texts_that_are_numbers(files: Files) -> None:
    rows = [{"text": value, "label": "x"} for value in (1, 2.5, float("nan"), True)]
    assert files.read("a.jsonl", json_lines(*rows)).texts == ["1", "2.5", "", "True"]


def test_json_texts_that_are_no_texts(files: Files) -> None:
    rows = [{"text": "a", "label": 1}, {"text": ["a"], "label": 1}]
    message = files.fails("a.jsonl", json_lines(*rows))
    assert "row 2 (line 2): a text must be a string or a number" in message
    assert "of type list" in message


# Parquet.


def test_parquet_dictionary_columns_and_numbers(files: Files) -> None:
    columns = {
        "text": pa.array(["a", None, ODD]).dictionary_encode(),
        "label": pa.array([1, 0, 1], pa.int8()).dictionary_encode(),
        "number": [1.5, float("nan"), None],
    }
    assert files.read("a.parquet", parquet(columns)) == Dataset(["a", "", ODD], [1, 0, 1])
    assert files.read("a.parquet", parquet(columns), text=["number"]).texts == ["1.5", "", ""]


def test_parquet_columns_with_dots_in_their_names(files: Files) -> None:
    columns = {"text.raw": ["no"], "text": ["yes"], "label.x": ["p"]}
    assert files.read("a.parquet", parquet(columns), label="label.x").texts == ["yes"]


def test_parquet_duplicate_columns(files: Files) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"]), sink)
    assert "columns must differ in name" in files.fails("a.parquet", sink.getvalue())


def test_parquet_that_is_corrupt(files: Files) -> None:
    whole = parquet({"text": ["good"] * 1000, "label": ["pos", "neg"] * 500})
    for content in (whole[:-1], whole[len(whole) // 2 :], b"text,label\na,b\n", b"PAR1"):
        assert "not a sound Parquet file" in files.fails("a.parquet", content)
    unreadable = whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :]
    assert "not a sound Parquet file" in files.fails("a.parquet", unreadable)


def test_parquet_with_a_text_that_is_not_utf8(files: Files) -> None:
    text = pa.Array.from_buffers(
        pa.string(),
        1,
        [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xe9")],
    )
    message = files.fails("a.parquet", parquet({"text": text, "label": ["x"]}))
    assert "byte 0xe9" in message


def test_parquet_without_pyarrow(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write("a.parquet", FORMS["a.parquet"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Parquet needs .*'pyarrow'.*carryline\[parquet\]"):
        read(path)


def test_what_is_missing_is_said_before_anything_is_read(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = files.write("a.csv", "no such columns\n1,2\n")
    needed = {"b.parquet": "pyarrow", "b.csv.ZST": "pyarrow", "b.xlsx": "openpyxl"}
    for name, package in needed.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtraError, match=f"{package!r}, which is not installed"):
                read([first, files.folder / name])


def test_pyarrow_is_imported_for_parquet_alone(files: Files) -> None:
    path = files.write("a.csv", FORMS["a.csv"])
    program = (
        "import sys; from carryline.text.data import read; "
        f"read({str(path)!r}); sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# fastText lines and plain ones.


def test_fasttext_texts_are_not_changed(files: Files) -> None:
    content = "__label__a  two  spaces \n__label__b\n  __label__c\u00a0d e\u2028f\r\r\n"
    data = files.read("a.ft", content)
    assert data.texts == [" two  spaces ", "", "e\u2028f\r"]
    assert data.labels == ["a", "b", "c\u00a0d"]


@pytest.mark.parametrize(
    "line",
    ["__label__a __label__b good", "__label__a good __label__b", "__label__a,__label__b good"],
)
@pytest.mark.parametrize("labelled", [True, False])
def test_fasttext_line_with_several_labels(files: Files, line: str, labelled: bool) -> None:
    message = files.fails("a.txt", f"__label__a x\n{line}\n", labelled=labelled)
    assert "line 2: a text has one label, this one has several" in message


def test_fasttext_line_without_a_label(files: Files) -> None:
    content = "__label__a x\n\ngood\n__label__ bad\n"
    message = files.fails("a.txt", content)
    assert "row 2 (line 3) has no label" in message
    assert "2 of 3" in message
    assert files.read("a.txt", content, labelled=False).texts == ["x", "good", "bad"]
    assert "row 1 (line 1) has no label" in files.fails("a.txt", "good\n__label__a x\n")


def test_plain_lines_without_labels(files: Files) -> None:
    data = files.read("a.txt", " good \r\n\nof __label__x\n__label__y z", labelled=False)
    assert data == Dataset([" good ", "", "of __label__x", "__label__y z"], None)


# A folder a class.


def test_class_folders_in_natural_order(files: Files) -> None:
    for name in ("pos/10_7.txt", "pos/9_8.txt", "neg/b.txt", "neg/a.TXT", "class10/x.txt"):
        files.write(f"d/{name}", f"{name}\r\n")
    files.write("d/class9/x.txt", "class9/x.txt\r\n")
    data = read(files.folder / "d")
    order = ["class9/x.txt", "class10/x.txt", "neg/a.TXT", "neg/b.txt"]
    assert data.texts == [f"{name}\r\n" for name in [*order, "pos/9_8.txt", "pos/10_7.txt"]]
    assert data.labels == ["class9", "class10", "neg", "neg", "pos", "pos"]
    assert read(files.folder / "d", labelled=False) == Dataset(data.texts, None)


def test_class_folders_skip_what_is_no_text_and_say_so(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("pos/1.txt", "unsup/1.txt", "unsup/2.txt", "images/1.png", ".git/1.txt"):
        files.write(f"d/{name}", "x")
    files.write("d/pos/._1.txt", b"\xff")
    files.write("d/pos/notes.md", b"\xff")
    files.write("d/urls_pos.txt", "x")
    with caplog.at_level(logging.WARNING, "carryline"):
        assert read(files.folder / "d") == Dataset(["x"], ["pos"])
    assert caplog.messages == [
        f"skipped {files.folder / 'd' / 'images'}: it holds no .txt files",
        f"skipped {files.folder / 'd' / 'unsup'}: its 2 texts have no label",
    ]


def test_folder_that_holds_train_and_test(files: Files) -> None:
    for name in ("train/pos/1.txt", "test/pos/1.txt", "train/urls_pos.txt", "test/urls_pos.txt"):
        files.write(f"d/{name}", "x")
    with pytest.raises(DataError, match="holds train and test; name one of them, .*train"):
        read(files.folder / "d")
    assert read(files.folder / "d" / "train").labels == ["pos"]


def test_folder_without_class_folders(files: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold a folder of .txt files for each class"):
        read(tmp_path)
    files.write("d/1.txt", "x")
    files.write("d/unsup/1.txt", "x")
    with pytest.raises(DataError, match="must hold a folder of .txt files for each class"):
        read(files.folder / "d")


# Standard input.


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.ft"])
def test_standard_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"\xef\xbb\xbf \n" + FORMS[name])
    assert read("-") == Dataset(["good", "bad"], ["pos", "neg"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.ft"])
def test_standard_input_without_labels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, FORMS[name])
    assert read(Path("-"), labelled=False) == Dataset(["good", "bad"], None)


def test_standard_input_of_one_text_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"good, really\n\nbad")
    assert read("-", labelled=False).texts == ["good, really", "", "bad"]


def test_standard_input_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"")
    with pytest.raises(DataError, match="^standard input holds no texts$"):
        read("-")
    stdin(monkeypatch, b"a,b\n\xff")
    with pytest.raises(DataError, match="^standard input is not UTF-8: byte 0xff at offset 4"):
        read("-")


# Columns.


def test_several_text_columns_are_joined(files: Files) -> None:
    rows = [
        {"title": "A", "body": "b", "stars": 5, "y": 1},
        {"title": "", "body": "b", "y": 1},
        {"title": "A ", "body": None, "stars": float("nan"), "y": 1},
        {"y": 1},
    ]
    data = files.read("a.jsonl", json_lines(*rows), text=("title", "stars", "body"), label="y")
    assert data.texts == ["A 5 b", "b", "A ", ""]


def test_a_string_names_one_text_column(files: Files) -> None:
    assert files.read("a.csv", "review,label\ngood,x\n", text="review").texts == ["good"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.ft"])
def test_absent_columns_are_named_beside_those_there(files: Files, name: str) -> None:
    message = files.fails(name, FORMS[name], text=["text", "body"])
    assert "column 'body' is not in" in message
    assert "its columns are text, label" in message
    assert "column 'stars' is not in" in files.fails(name, FORMS[name], label="stars")


def test_absent_label_column_matters_only_when_needed(files: Files) -> None:
    content = "text,id\ngood,5\n"
    assert "column 'label' is not in" in files.fails("a.csv", content)
    assert files.read("a.csv", content, labelled=False).texts == ["good"]
    assert files.read("a.csv", content, label="nowhere", labelled=False).labels is None


# Labels.


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", " b\n"], ["a", "b"]),
        ([3, -1], [3, -1]),
        ([1.0, 0.0], [1, 0]),
        ([1.5, 2.0], [1.5, 2]),
        ([True, False], [True, False]),
        (["1", "1.0"], ["1", "1.0"]),
    ],
)
def test_labels_keep_their_type(
    files: Files, form: str, given: list[Label], expected: list[Label]
) -> None:
    if form == "parquet":
        content: str | bytes = parquet({"text": ["x", "y"], "label": given})
    else:
        content = json_lines(*({"text": "x", "label": label} for label in given))
    labels = files.read(f"a.{form}", content).labels
    assert labels == expected
    assert list(map(type, labels or [])) == list(map(type, expected))


def test_labels_of_text_formats_are_strings(files: Files) -> None:
    assert files.read("a.csv", "text,label\nx, 1.0 \ny,NaN\n").labels == ["1.0", "NaN"]
    assert files.read("a.ft", "__label__1 x\n").labels == ["1"]
    assert read(files.write("d/1/x.txt", "x").parent.parent).labels == ["1"]


def test_rows_without_a_label(files: Files) -> None:
    message = files.fails("a.csv", 'text,label\n"a\nb",x\n\nc, \nd,x\ne,\n')
    assert "row 2 (line 5) has no label in column 'label'; rows without one: 2 of 4" in message
    content = parquet({"text": ["a", "b", "c"], "label": [1.0, math.nan, None]})
    assert "row 2 has no label in column 'label'; rows without one: 2 of 3" in files.fails(
        "a.parquet", content
    )


@pytest.mark.parametrize("label", [["a"], {"a": 1}, []])
def test_labels_that_are_no_labels(files: Files, label: object) -> None:
    rows = json_lines({"text": "x", "label": "y"}, {"text": "x", "label": label})
    message = files.fails("a.jsonl", rows)
    assert "row 2 (line 2): a label must be a string, a number or a truth value" in message
    assert type(label).__name__ in message


# Real data.


def test_real_reviews_are_read_in_two_seconds(shared_data: Path) -> None:
    begin = time.process_time()
    data = read(shared_data / "imdb-train.parquet")
    assert time.process_time() - begin < 2
    assert Counter(data.labels or []) == {"neg": 12_500, "pos": 12_500}
    ratings = read(shared_data / "imdb-train.parquet", label="rating").labels
    assert sorted(set(ratings or [])) == [1, 2, 3, 4, 7, 8, 9, 10]


def test_real_csv_is_read_whole(shared_data: Path) -> None:
    assert len(read(shared_data / "mr.csv").texts) == 10_662
    data = read(shared_data / "trec-train.csv")
    assert len(data.texts) == 5_452
    assert set(data.labels or []) == {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"}


# Anything at all gives data or a `DataError`, and what was written is what is read.


@given(
    content=st.binary(max_size=200)
    | st.text('",;|\t\r\n {}[]:text\x00é_label', max_size=80).map(str.encode),
    name=st.sampled_from([*FORMS]),
    labelled=st.booleans(),
)
def test_any_bytes_give_data_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, labelled: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-{name}"
    path.write_bytes(content)
    try:
        data = read(path, labelled=labelled)
    except DataError:
        return
    assert data.texts
    assert labelled == (data.labels is not None)


@given(st.lists(st.tuples(st.text(), st.sampled_from(["a", "b"])), min_size=1))
def test_json_and_csv_give_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    rows = [
        (text.replace("\x00", "") if sys.version_info < (3, 11) else text, y) for text, y in rows
    ]
    expected = Dataset([text for text, _ in rows], [label for _, label in rows])
    path = tmp_path_factory.getbasetemp() / "back.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    assert read(path) == expected
    path = path.with_suffix(".jsonl")
    path.write_text(json_lines(*({"text": x, "label": y} for x, y in rows)), encoding="utf-8")
    assert read(path) == expected


# Rows that cannot be used.

BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "a.csv": (
        "text,label\ngood,pos\na,b,c\nonly\nnone, \n\"open,pos\nbad,neg\n",
        ["line 3: every row", "line 4: every row", "line 6: ", "row 2 (line 5) has no label"],
    ),
    "a.jsonl": (
        '{"text": "good", "label": "pos"}\n{broken\n[1]\n{"text": "a"}\n{"text": [], "label": 1}\n'
        '{"text": "b", "label": {}}\n{"text": "bad", "label": "neg"}\n',
        ["line 2: each", "line 3: each", "(line 4) has no", "(line 5): a text", "(line 6): a"],
    ),
    "a.json": (
        '[{"text": "good", "label": "pos"}, 3, {"text": "bad", "label": "neg"}]',
        ["row 2 is of type int"],
    ),
    "a.ft": (
        "__label__pos good\nno label\n__label__a __label__b x\n__label__neg bad\n",
        ["line 3: a text has one label", "row 2 (line 2) has no label"],
    ),
    "a.parquet": (
        parquet({"text": ["good", "a", "bad"], "label": ["pos", None, "neg"]}),
        ["row 2 has no label"],
    ),
    "a.xlsx": (
        excel([["text", "label"], ["good", "pos"], ["a"], ["bad", "neg"]]),
        ["row 2 (line 3) has no label"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_errors_or_skipped_and_told(files: Files, name: str) -> None:
    content, says = BAD[name]
    assert any(part in files.fails(name, content) for part in says)
    data = files.read(name, content, skip_bad_rows=True)
    assert data == Dataset(["good", "bad"], ["pos", "neg"])
    assert len(data.skipped) == len(says)
    for part, row in zip(says, data.skipped, strict=True):
        assert part in row
        assert str(files.folder / name) in row


def test_missing_labels_tell_their_number_unless_skipped(files: Files) -> None:
    content = "text,label\na,\nb,x\nc,\n"
    assert "row 1 (line 2) has no label in column 'label'; rows without one: 2 of 3" in (
        files.fails("a.csv", content)
    )
    skipped = files.read("a.csv", content, skip_bad_rows=True).skipped
    assert skipped[1].endswith("row 3 (line 4) has no label in column 'label'")


def test_a_quote_that_nobody_closes_costs_one_row(files: Files) -> None:
    rows = "".join(f"text {number},x\n" for number in range(10_000))
    content = f'text,label\n"open,x\n{rows}"again,x\n"fine, ""really""\nso",y\n'
    data = files.read("a.csv", content, skip_bad_rows=True)
    assert len(data.texts) == 10_001
    assert data.texts[-1] == 'fine, "really"\nso'
    assert ["line 2:" in data.skipped[0], "line 10003:" in data.skipped[1]] == [True, True]


def test_many_open_quotes_are_linear(files: Files) -> None:
    data = files.read("a.csv", "text,label\ngood,x\n" + '"open,x\n' * 50_000, skip_bad_rows=True)
    assert (len(data.texts), len(data.skipped)) == (1, 50_000)


def test_the_header_is_never_skipped(files: Files) -> None:
    content = '"text" x,label\ngood,pos\nbad,neg\n'
    assert "line 1: " in files.fails("a.csv", content, skip_bad_rows=True)


def test_nothing_but_bad_rows(files: Files) -> None:
    for content in ("text,label\na\nb\n", "text,label\na,\n"):
        message = files.fails("a.csv", content, skip_bad_rows=True)
        assert "holds no texts that can be used" in message


# The first rows, and several sources.


@pytest.mark.parametrize("name", FORMS)
def test_limit(files: Files, name: str) -> None:
    assert files.read(name, FORMS[name], limit=1) == Dataset(["good"], ["pos"])
    assert files.read(name, FORMS[name], limit=9).texts == ["good", "bad"]
    assert files.read(name, FORMS[name], limit=1, labelled=False).texts == ["good"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.ft"])
def test_limit_stops_reading(files: Files, name: str) -> None:
    broken = FORMS[name] + b"\n" * (2 << 20) + b"\xff"
    assert "is not UTF-8" in files.fails(name, broken)
    assert files.read(name, broken, limit=2).texts == ["good", "bad"]


def test_limit_over_groups_of_rows(files: Files) -> None:
    path = files.folder / "a.parquet"
    texts = [str(number) for number in range(100)]
    pq.write_table(pa.table({"text": texts, "label": texts}), path, row_group_size=7)
    for limit in (1, 7, 8, 20, 100, 200):
        assert read(path, limit=limit).texts == texts[:limit]


def test_several_sources_in_order(files: Files) -> None:
    paths: list[str | Path] = [files.write(name, FORMS[name]) for name in ("a.csv", "a.json")]
    files.write("folder/pos/1.txt", "more")
    paths += [files.folder / "folder"]
    data = read(paths)
    assert data.texts == ["good", "bad", "good", "bad", "more"]
    assert data.labels == ["pos", "neg", "pos", "neg", "pos"]
    assert [name for name, _ in data.sources] == [str(path) for path in paths]
    assert read(paths, limit=3).texts == ["good", "bad", "good"]
    assert [name for name, _ in read(paths, limit=2).sources] == [str(paths[0])]


def test_several_sources_have_the_same_columns(files: Files) -> None:
    first = files.write("a.csv", "review,sentiment\ngood,pos\n")
    second = files.write("b.csv", "Sentiment,extra,Review\nneg,x,bad\n")
    data = read([first, second])
    assert data == Dataset(["good", "bad"], ["pos", "neg"])
    assert data.guessed == {"text": "review", "label": "sentiment"}
    third = files.write("c.csv", FORMS["a.csv"])
    with pytest.raises(DataError, match=r"column 'review' is not in .*c\.csv; its columns are"):
        read([first, third])
    with pytest.raises(DataError, match=r"no such file or folder: .*no\.csv"):
        read([first, files.folder / "no.csv"])
