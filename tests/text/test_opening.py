from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.errors import DataError, MissingExtraError
from carryline.text import opening
from carryline.text.data import Dataset, read
from datafiles import FORMS, Files, excel, parquet, zstandard

CSV = "text,label\nnaïve café,pos\nbad – worse,neg\n"
DATA = Dataset(["naïve café", "bad – worse"], ["pos", "neg"])

# Packed files.


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
def test_packed_files_that_are_damaged(files: Files, name: str) -> None:
    content = FORMS["a.csv"] * 1000
    whole = gzip.compress(content, mtime=0) if name.endswith("gz") else zstandard(content)
    for damaged in (whole[: len(whole) // 2], whole[:5], FORMS["a.csv"], whole + b"more"):
        assert f"not a sound {name[5:]} file" in files.fails(name, damaged)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    assert files.fails(name, bytes(flipped))
    assert "holds no texts" in files.fails(name, b"")


def test_zst_without_pyarrow(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write("a.txt.zst", FORMS["a.txt.zst"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"\.zst needs .*'pyarrow'.*carryline\[parquet\]"):
        read(path)


def test_a_packed_file_of_several_members(files: Files) -> None:
    parts = [b"text,label\ngood,pos\n", b"bad,neg\n"]
    for name, pack in (("a.csv.gz", gzip.compress), ("a.csv.zst", zstandard)):
        content = b"".join(pack(part) for part in parts)
        assert files.read(name, content) == Dataset(["good", "bad"], ["pos", "neg"])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(b"text", mtime=0), "packed by gzip: end its name in .gz"),
        (zstandard(b"text"), "packed by Zstandard: end its name in .zst"),
        (excel([["text"], ["é" * 100]]), "an Excel file: end its name in .xlsx"),
        (parquet({"text": ["a"], "number": [0.1]}), "Parquet: end its name in .parquet"),
    ],
)
def test_bytes_under_a_wrong_name(files: Files, content: bytes, what: str) -> None:
    assert what in files.fails("a.csv", content)


# Encodings.


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-8-sig"])
def test_encodings(files: Files, encoding: str) -> None:
    content = CSV.encode(encoding)
    assert files.read("a.csv", content, encoding=encoding) == DATA
    assert files.read("a.csv.gz", gzip.compress(content, mtime=0), encoding=encoding) == DATA
    mark = "" if encoding == "cp1252" else "\ufeff"
    assert files.read("a.csv", (mark + CSV).encode(encoding), encoding=encoding) == DATA
    files.write("folder/pos/1.txt", "naïve café".encode(encoding))
    assert read(files.folder / "folder", encoding=encoding).texts == ["naïve café"]


@pytest.mark.parametrize(
    ("written", "named", "says"),
    [
        ("cp1252", "utf-8", "is not UTF-8: byte 0xef at offset 13;"),
        ("cp1252", "utf-8", "--encoding cp1252 perhaps"),
        ("utf-16", "utf-8", "--encoding utf-16 perhaps"),
        ("utf-16-le", "utf-16", "is not UTF-16: UTF-16 stream does not start with BOM"),
        ("cp1252", "ascii", "is not ASCII: byte 0xef at offset 13; "),
        ("utf-8", "utf-16-le", "is not UTF-16-LE: "),
    ],
)
def test_a_wrong_encoding_is_an_error(files: Files, written: str, named: str, says: str) -> None:
    content = CSV.encode(written)
    assert says in files.fails("a.csv", content + content[:1], encoding=named)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", "", "utf\x008"])
def test_an_unknown_encoding_is_an_error(files: Files, encoding: str) -> None:
    path = files.write("a.csv", CSV)
    with pytest.raises(DataError, match="unknown encoding"):
        read(path, encoding=encoding)


# Where lines end.


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.json", "a.txt"])
def test_line_ends_of_old_macs(files: Files, name: str) -> None:
    content = FORMS[name].decode().replace("\r", "").replace("\n", "\r")
    assert files.read(name, content) == Dataset(["good", "bad"], ["pos", "neg"])
    assert files.read(name, content.rstrip("\r"), labelled=False).texts == ["good", "bad"]


def test_old_macs_in_messages_and_quotes(files: Files) -> None:
    data = files.read("a.csv", 'text,label\r"two\rlines",pos\rc,neg\r')
    assert data.texts == ["two\rlines", "c"]
    assert "line 3: every row" in files.fails("a.csv", "text,label\rc,neg\rd\r")
    assert files.read("a.txt", "one\rtwo\r\rthree\r", labelled=False).texts == [
        *("one", "two", "", "three")
    ]


def test_carriage_returns_among_line_feeds_are_text(files: Files) -> None:
    assert files.read("a.txt", "one\rtwo\nthree\r", labelled=False).texts == ["one\rtwo", "three"]


@given(
    text=st.text(st.sampled_from("ab\r\n🙂é\ufeff"), max_size=60),
    chunk=st.integers(1, 9),
    encoding=st.sampled_from(["utf-8", "utf-16-le"]),
)
def test_lines_do_not_depend_on_how_they_are_read(text: str, chunk: int, encoding: str) -> None:
    def lines() -> list[str]:
        return list(opening.lines(io.BytesIO(text.encode(encoding)), "name", encoding))

    whole = lines()
    assert "".join(whole) == text.removeprefix("\ufeff")
    if "\n" in text:
        assert whole == text.removeprefix("\ufeff").splitlines(keepends=True) or "\r" in text
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opening, "_CHUNK", chunk)
            assert "".join(lines()) == "".join(whole)
            if "\r" not in text:
                assert lines() == whole


def test_one_long_line_takes_linear_time(files: Files) -> None:
    text = "x" * (20 << 20)  # twenty pieces
    assert files.read("a.csv", f"text,label\n{text},pos\n").texts == [text]


# What a file was.


def test_sources_are_named_with_their_hash(files: Files) -> None:
    content = codecs.BOM_UTF8 + FORMS["a.csv"]
    data = files.read("a.csv", content)
    name = str(files.folder / "a.csv")
    assert data.sources == [(name, hashlib.sha256(content).hexdigest())]
    assert files.read("a.csv", content, limit=1).sources == [(name, None)]
    files.write("folder/pos/1.txt", "x")
    assert read(files.folder / "folder").sources == [(str(files.folder / "folder"), None)]
