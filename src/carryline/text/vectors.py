"""Word vectors that were learned from texts: a file of them, and how texts are cut into its words.

A file is safetensors, plain data:

    words     uint8, UTF-8, one after the other with a line end between, the most frequent first
    counts    int64 [words]: how often each was there
    vectors   float32 or float16 [words, width]; or, in few bits (`codes.py`), in its place
    codes     uint8 [words, bytes], levels float32 [2^bits], scales float32 [words]

and in its metadata `format`, `bits`, `width` and `about`, which is JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from carryline import files
from carryline.errors import ConfigError, ModelError
from carryline.recurrence.memory import empty
from carryline.text import codes
from carryline.text.words import parts, words

FORMAT = 1
BITS = (*codes.BITS, 16, 32)  # of a value in a file
MOST_WORDS, WIDEST = 1 << 22, 1 << 12
LARGEST = 1 << 34  # bytes of a file
LONGEST_WORDS = 1 << 28  # bytes of all words
ENGLISH = Path(__file__).with_name("english.safetensors")  # the vectors that come with Carryline


def words_of(text: str) -> list[str]:
    """The words of a text as vectors have them.

    They are GPT-2's, letters, digits or other characters, without the blank before them, in lower
    case; white space is none.
    """
    return [word for piece in words(text) for word in words_in(piece)]


def words_in(piece: str) -> list[str]:
    """The words in a piece that `words.words` cut."""
    return [part.removeprefix(" ").lower() for part in parts(piece) if not part.isspace()]


def frequent_words(texts: Iterable[str], least: int) -> list[str]:
    """The words that are at least so often in the texts, the most frequent first."""
    pieces = Counter[str]()
    for text in texts:
        pieces.update(words(text))
    counts = Counter[str]()
    for piece, count in pieces.items():
        for word in words_in(piece):
            counts[word] += count
    return [w for _, w in sorted((-n, word) for word, n in counts.items() if n >= least)]


@dataclass(frozen=True, eq=False)
class Vectors:
    """words: the most frequent first, none twice; counts: [words] how often each was there; matrix:
    [words, width], begins on a cache line. about: what was learned from and how, JSON-ready."""

    words: list[str]
    counts: NDArray[np.int64]
    matrix: NDArray[np.float32]
    about: dict[str, Any]

    @cached_property
    def by_word(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    @classmethod
    def english(cls) -> Vectors:
        """Those that come with Carryline. Raises `ModelError` where they do not."""
        if not ENGLISH.exists():
            raise ModelError(
                f"this Carryline comes without vectors of English ({ENGLISH.name} is missing); "
                "`carryline vectors` learns some from texts"
            )
        return cls.load(ENGLISH)

    @classmethod
    def load(cls, path: str | Path) -> Vectors:
        """The vectors in a file. Raises `ModelError` unless it is one as `save` writes them."""
        file = Path(path)
        try:
            if files.size(file) > LARGEST:
                raise ModelError(f"{file} must have at most {LARGEST} bytes")
            with safe_open(file, framework="np") as content:
                return _read(_Content(file, content))
        except FileNotFoundError:
            raise ModelError(f"{file} is missing") from None
        except OSError as error:
            raise ModelError(f"{file} cannot be read: {error.strerror or error}") from None
        except (SafetensorError, ValueError, TypeError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{file} is not a safetensors file: {error}") from None

    def save(self, path: str | Path, bits: int = 16) -> None:
        """Write a file, whole or not at all.

        bits: of a value: 32 as they are, 16 (float16), 8 or 4. Raises `ConfigError` for others.
        """
        if bits not in BITS:
            raise ConfigError(f"bits is one of {', '.join(map(str, BITS))}, it is {bits!r}")
        arrays: dict[str, NDArray[Any]] = {
            "words": np.frombuffer("\n".join(self.words).encode(), np.uint8),
            "counts": np.ascontiguousarray(self.counts, np.int64),
        }
        if bits in codes.BITS:
            arrays |= codes.encode(self.matrix, bits)
        else:
            arrays["vectors"] = self.matrix.astype(np.float16 if bits == 16 else np.float32)
        about = {"format": FORMAT, "bits": bits, "width": self.matrix.shape[1]}
        notes = {key: str(value) for key, value in about.items()}
        files.write_whole(Path(path), save(arrays, notes | {"about": json.dumps(self.about)}))


class _Content:
    """An open file; what is wrong in it is told with its name."""

    def __init__(self, file: Path, content: Any) -> None:
        self.file, self.content = file, content
        self.notes: Mapping[str, str] = content.metadata() or {}
        self.names = set(content.keys())

    def wrong(self, what: str) -> ModelError:
        return ModelError(f"{self.file}: {what}")

    def number(self, name: str, least: int, most: int) -> int:
        text = self.notes.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise self.wrong(f"its metadata must have a number {name}, there is {text[:40]!r}")
        if not least <= int(text) <= most:
            raise self.wrong(f"{least} <= {name} <= {most}, it is {text}")
        return int(text)

    def tensor(self, name: str, dtype: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
        """A tensor of this type and shape; its header is looked at before it is read."""
        if name not in self.names:
            raise self.wrong(f"the tensor {name} is missing")
        part = self.content.get_slice(name)
        found = tuple(part.get_shape())
        if part.get_dtype() != dtype or (found != shape if shape else len(found) != 1):
            rule = "one-dimensional" if shape is None else f"of shape {list(shape)}"
            raise self.wrong(
                f"{name} must be {dtype} and {rule}, it is {part.get_dtype()} {list(found)}"
            )
        tensor: NDArray[Any] = self.content.get_tensor(name)
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise self.wrong(f"{name} holds a value that is not finite")
        return tensor


def _read(content: _Content) -> Vectors:
    if content.number("format", 1, 1 << 20) != FORMAT:
        raise content.wrong(f"its format must be {FORMAT}; a newer Carryline wrote it")
    bits, width = content.number("bits", 1, 32), content.number("width", 1, WIDEST)
    if bits not in BITS:
        raise content.wrong(f"bits is one of {', '.join(map(str, BITS))}, it is {bits}")
    names = {"words", "counts"} | ({"codes", "levels", "scales"} if bits < 16 else {"vectors"})
    if content.names != names:
        raise content.wrong(
            f"its tensors must be {sorted(names)}, they are {sorted(content.names)}"
        )
    found = _words(content)
    counts = content.tensor("counts", "I64", (len(found),))
    if (counts < 0).any() or (np.diff(counts) > 0).any():
        raise content.wrong("counts must not be below 0 and never rise")
    matrix = empty((len(found), width), np.float32, lasting=True)
    if bits < 16:
        stored = content.tensor("codes", "U8", (len(found), codes.stored_width(width, bits)))
        levels = content.tensor("levels", "F32", (1 << bits,))
        codes.decode(stored, levels, content.tensor("scales", "F32", (len(found),)), matrix)
        if not np.isfinite(matrix).all():
            raise content.wrong("a level times a scale is not finite")
    else:
        matrix[:] = content.tensor("vectors", f"F{bits}", (len(found), width))
    return Vectors(found, counts, matrix, _about(content))


def _words(content: _Content) -> list[str]:
    raw = content.tensor("words", "U8")
    if len(raw) > LONGEST_WORDS:
        raise content.wrong(f"words must have at most {LONGEST_WORDS} bytes, they have {len(raw)}")
    if (count := int((raw == ord("\n")).sum()) + 1) > MOST_WORDS:
        raise content.wrong(f"there are at most {MOST_WORDS} words, it has {count}")
    try:
        found = raw.tobytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise content.wrong(f"words must be UTF-8; byte {error.start} is not") from None
    if "" in found or len(set(found)) < len(found):
        raise content.wrong("no word may be empty or there twice")
    return found


def _about(content: _Content) -> dict[str, Any]:
    try:
        about = json.loads(content.notes.get("about", ""))
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise content.wrong("its metadata must have `about`, a JSON object")
    return about
