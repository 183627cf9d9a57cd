"""Word vectors that were learned from texts: a file of them, and how texts are cut into its words.

A file is safetensors, plain data:

    words     uint8, UTF-8, one after the other with a line end between, the most frequent first
    counts    int64 [words]: how often each was there
    vectors   float32 or float16 [words, width]; or, in few bits (`codes.py`), in its place
    codes     uint8 [words, bytes], levels float32 [2^bits], scales float32 [words]

With a recurrent layer that has learned to read them (`training/language.py`) further

    layer     W and U side by side [2 * 4 hidden, width + hidden], the forward direction's first, in
              as many bits as the vectors, but 8 at least: `layer`, or `layer.codes` and so on
    bias      float32 [2 * 4 hidden]

and in its metadata `format`, `bits`, `width`, with a layer `hidden`, and `about`, which is JSON.
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
from carryline.text import layer as layers
from carryline.text.words import parts, words

FORMAT = 2  # 1 had no layer
BITS = (*codes.BITS, 16, 32)  # of a value in a file
LEAST_OF_LAYER = 8  # bits of a value
MOST_WORDS, WIDEST = 1 << 22, 1 << 12  # words; values of a vector, or units of the layer
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
    [words, width], begins on a cache line. about: what was learned from and how, JSON-ready.
    layer: the weights of a recurrent layer that has learned to read them (see `layer.py`), if any.
    """

    words: list[str]
    counts: NDArray[np.int64]
    matrix: NDArray[np.float32]
    about: dict[str, Any]
    layer: layers.Layer | None = None

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

        bits: of a value: 32 as they are, 16 (float16), 8 or 4; of the layer's, 8 at least. Raises
        `ConfigError` for others.
        """
        if bits not in BITS:
            raise ConfigError(f"bits is one of {', '.join(map(str, BITS))}, it is {bits!r}")
        arrays: dict[str, NDArray[Any]] = {
            "words": np.frombuffer("\n".join(self.words).encode(), np.uint8),
            "counts": np.ascontiguousarray(self.counts, np.int64),
        }
        about = {"format": FORMAT, "bits": bits, "width": self.matrix.shape[1]}
        arrays |= _stored(self.matrix, bits, "vectors", "")
        if self.layer is not None:
            both, arrays["bias"] = layers.side_by_side(self.layer)
            arrays |= _stored(both, max(bits, LEAST_OF_LAYER), "layer", "layer.")
            about["hidden"] = len(both) // layers.ROWS
        notes = {key: str(value) for key, value in about.items()}
        files.write_whole(Path(path), save(arrays, notes | {"about": json.dumps(self.about)}))


def _stored(matrix: NDArray[np.float32], bits: int, name: str, prefix: str) -> dict[str, Any]:
    """A matrix as it lies in a file: under its name, or under those of its codes."""
    if bits in codes.BITS:
        return {f"{prefix}{key}": value for key, value in codes.encode(matrix, bits).items()}
    return {name: matrix.astype(np.float16 if bits == 16 else np.float32)}


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
    if content.number("format", 1, 1 << 20) > FORMAT:
        raise content.wrong(f"its format must be {FORMAT} at most; a newer Carryline wrote it")
    bits, width = content.number("bits", 1, 32), content.number("width", 1, WIDEST)
    if bits not in BITS:
        raise content.wrong(f"bits is one of {', '.join(map(str, BITS))}, it is {bits}")
    hidden = content.number("hidden", 1, WIDEST) if "hidden" in content.notes else 0
    of_layer = max(bits, LEAST_OF_LAYER)
    names = {"words", "counts", *_names(bits, "vectors", "")}
    names |= {"bias", *_names(of_layer, "layer", "layer.")} if hidden else set()
    if content.names != names:
        raise content.wrong(
            f"its tensors must be {sorted(names)}, they are {sorted(content.names)}"
        )
    found = _words(content)
    counts = content.tensor("counts", "I64", (len(found),))
    if (counts < 0).any() or (np.diff(counts) > 0).any():
        raise content.wrong("counts must not be below 0 and never rise")
    matrix = _matrix(content, (len(found), width), bits, "vectors", "")
    layer = None
    if hidden:
        both = _matrix(content, (layers.ROWS * hidden, width + hidden), of_layer, "layer", "layer.")
        layer = layers.apart(both, content.tensor("bias", "F32", (layers.ROWS * hidden,)))
    return Vectors(found, counts, matrix, _about(content), layer)


def _names(bits: int, name: str, prefix: str) -> set[str]:
    """Of the tensors that `_stored` gives."""
    return {f"{prefix}{key}" for key in ("codes", "levels", "scales")} if bits < 16 else {name}


def _matrix(
    content: _Content, shape: tuple[int, int], bits: int, name: str, prefix: str
) -> NDArray[np.float32]:
    """What `_stored` was given."""
    rows, width = shape
    matrix = empty(shape, np.float32, lasting=True)
    if bits >= 16:
        matrix[:] = content.tensor(name, f"F{bits}", shape)
        return matrix
    stored = content.tensor(f"{prefix}codes", "U8", (rows, codes.stored_width(width, bits)))
    levels = content.tensor(f"{prefix}levels", "F32", (1 << bits,))
    codes.decode(stored, levels, content.tensor(f"{prefix}scales", "F32", (rows,)), matrix)
    if not np.isfinite(matrix).all():
        raise content.wrong("a level times a scale is not finite")
    return matrix


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
