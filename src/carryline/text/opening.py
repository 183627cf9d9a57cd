"""Files as bytes and lines: unpacked, decoded, cut where lines end."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from carryline.errors import DataError

PACKED = (".gz", ".zst")
_CHUNK = 1 << 20  # bytes
_MAGIC = {
    b"\x1f\x8b": "packed by gzip: end its name in .gz, or unpack it",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard: end its name in .zst, or unpack it",
    b"PK\x03\x04": "a ZIP archive or an Excel file: end its name in .xlsx if it is that",
    b"PAR1": "Parquet: end its name in .parquet",
}


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            sha.update(block)
    return sha.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if its name ends in .gz or .zst.

    Raises `DataError` when what is packed is damaged.
    """
    packing = path.suffix.lower()
    with path.open("rb") as stream:
        if packing not in PACKED:
            yield stream
            return
        unpacked: Any = gzip.GzipFile(fileobj=stream) if packing == ".gz" else _zstandard(stream)
        try:
            yield unpacked
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a sound {packing} file: {error}") from error


def _zstandard(stream: IO[bytes]) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(stream, "zstd")


def lines(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    """The lines of a stream, ends kept.

    They break at LF alone; at CR alone when there is no LF in the first megabyte.
    """
    end = ""
    begun: list[str] = []  # a line of which more is to come
    for text in decoded(stream, name, encoding):
        end = end or ("\r" if "\r" in text[:-1] and "\n" not in text else "\n")
        first, *others = text.split(end)
        begun.append(first)
        if others:
            yield "".join(begun) + end
            yield from (line + end for line in others[:-1])
            begun = others[-1:]
    if last := "".join(begun):
        yield last


def head_of(lines: Iterator[str]) -> list[str]:
    """The lines up to the first that is not blank, which is the last; all of them if none is."""
    head = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    return head


def text_of(data: bytes, name: str, encoding: str) -> str:
    """A whole text."""
    return "".join(decoded(io.BytesIO(data), name, encoding))


def decoded(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    """The characters of a stream in pieces, without a byte order mark.

    Raises `DataError` for bytes that the encoding does not have, and for an unknown encoding.
    """
    decoder = _decoder(encoding)
    offset = 0  # of the piece in the stream
    head, first = b"", True
    while True:
        data = stream.read(_CHUNK)
        head = head or data[:4]
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            raise DataError(_not_encoded(name, encoding, error, offset + len(data), head)) from None
        if text:
            yield text.removeprefix("\ufeff") if first else text
            first = False
        if not data:
            return
        offset += len(data)


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # refuses what codecs has beside encodings
        return codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise DataError(
            f"unknown encoding {encoding!r}; there are utf-8, utf-16, latin-1, cp1252 and others"
        ) from None


def _not_encoded(name: str, encoding: str, error: UnicodeError, read: int, head: bytes) -> str:
    """read: bytes of the stream that the decoder has taken; head: the stream's first bytes."""
    what = f"{name} is not {encoding.upper()}"
    packed = next((says for magic, says in _MAGIC.items() if head.startswith(magic)), None)
    if packed:
        return f"{what}; it seems to be {packed}"
    if not isinstance(error, UnicodeDecodeError):
        return f"{what}: {error}"
    at = read - len(error.object) + error.start
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    other = "utf-16" if wide else "cp1252" if encoding.lower() in ("utf-8", "utf8") else "utf-8"
    return (
        f"{what}: byte 0x{error.object[error.start]:02x} at offset {at}; "
        f"the right encoding must be named, --encoding {other} perhaps"
    )
