"""Data files that tests write and read back."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carryline.errors import DataError
from carryline.text.data import Dataset, read


class Files:
    """Writes files into one folder and reads them back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str, content: str | bytes, **options: Any) -> Dataset:
        return read(self.write(name, content), **options)

    def fails(self, name: str, content: str | bytes, **options: Any) -> str:
        """The message of the `DataError` that reading ends in."""
        path = self.write(name, content)
        with pytest.raises(DataError) as caught:
            read(path, **options)
        assert str(path) in str(caught.value)
        return str(caught.value)


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def excel(rows: list[list[Any]], *sheets: str) -> bytes:
    """A workbook with the rows in its first sheet."""
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.worksheets[0].append(row)
    for name in sheets:
        workbook.create_sheet(name)
    sink = io.BytesIO()
    workbook.save(sink)
    return sink.getvalue()


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


# One small data set in every format.

FORMS: dict[str, bytes] = {
    "a.csv": b"text,label\ngood,pos\nbad,neg\n",
    "a.CSV": b"text,label\r\ngood,pos\r\nbad,neg",
    "a.tsv": b"text\tlabel\ngood\tpos\nbad\tneg\n",
    "a.jsonl": json_lines(
        {"text": "good", "label": "pos"}, {"label": "neg", "text": "bad"}
    ).encode(),
    "a.ndjson": b'{"text": "good", "label": "pos"}\r\n\r\n{"text": "bad", "label": "neg"}',
    "a.json": json_lines(
        {"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}
    ).encode(),
    "a.parquet": parquet({"text": ["good", "bad"], "label": ["pos", "neg"]}),
    "a.txt": b"__label__pos good\n__label__neg bad\n",
    "a.ft": b"__label__pos good\r\n\n__label__neg\tbad",
    "b.json": b'[{"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}]',
    "c.json": b'{"text": {"0": "good", "1": "bad"}, "label": {"0": "pos", "1": "neg"}}',
    "a.xlsx": excel([["text", "label"], ["good", "pos"], ["bad", "neg"]], "Other"),
}
FORMS |= {f"{name}.gz": gzip.compress(FORMS[name]) for name in ("a.csv", "b.json", "a.ft")}
FORMS |= {f"{name}.zst": zstandard(FORMS[name]) for name in ("a.CSV", "a.jsonl", "a.txt")}
BINARY = {name for name in FORMS if name.endswith((".parquet", ".xlsx", ".gz", ".zst"))}
