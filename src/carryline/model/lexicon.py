"""The whole words of a model and their rows of the embedding: how they lie in its directory.

    vectors.safetensors   the file of word vectors that it was trained with, as it was given
    words.txt             further words of its training texts, one a line; absent without any

The embedding has a row for each piece of the tokenizer, for each further word, and for each word of
the vectors, in this order. Those of the vectors' words that training never changed are the vectors
themselves. So `model.safetensors` holds all rows before them and the changed ones alone:

    embedding.weight      int8 [rows before + changed, width]
    embedding.exponents   int8 [rows before + changed]: a row is its whole numbers times 2^exponent
    embedding.rows        int32 [changed] rising: whose they are among the vectors' words

Values are rounded to such numbers (`rounded`) when a run evaluates its weights, so what is saved is
what was measured. Half as large as float16: 60,000 changed vectors of 200 values take 12 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ModelError
from carryline.text.vectors import Vectors

Floats = NDArray[np.float32]

WEIGHT, EXPONENTS, ROWS = "embedding.weight", "embedding.exponents", "embedding.rows"
VECTORS, WORDS = "vectors.safetensors", "words.txt"
LARGEST_VECTORS = 1 << 28  # bytes of the file: 60,000 words of 200 values in 4 bits have 7 MB
MOST_WORDS, LONGEST_WORD = 30_000, 64  # further words, characters of one
LARGEST_WORDS = MOST_WORDS * (4 * LONGEST_WORD + 1)  # bytes of the file
_GREATEST = 127  # of the whole numbers
_EXPONENTS = (-126, 120)  # that a finite float32 with such numbers can have


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The whole words of a model. content: of the vectors' file; further: words they lack."""

    vectors: Vectors
    content: bytes
    further: list[str]

    @cached_property
    def words(self) -> list[str]:
        """In the order of their rows."""
        return [*self.further, *self.vectors.words]

    @property
    def files(self) -> dict[str, bytes]:
        """What of it lies in a model directory, but for the weights."""
        further = "".join(f"{word}\n" for word in self.further)
        return {VECTORS: self.content, **({WORDS: further.encode()} if further else {})}


def further_words(file: Path, text: str, vectors: Vectors) -> list[str]:
    """The words in a words.txt. Raises `ModelError` for what `Lexicon.files` would not write."""
    *words, rest = text.split("\n")
    if rest or not words:
        raise ModelError(f"{file} must end each word, one at least, with a line end")
    if len(words) > MOST_WORDS:
        raise ModelError(f"{file} must have at most {MOST_WORDS} words, it has {len(words)}")
    if wrong := [word for word in words if not 0 < len(word) <= LONGEST_WORD]:
        raise ModelError(
            f"{file}: a word has 1 to {LONGEST_WORD} characters, one has {len(wrong[0])}"
        )
    if len(set(words)) < len(words) or not vectors.by_word.keys().isdisjoint(words):
        raise ModelError(f"{file}: no word may be there twice, or among those of the vectors")
    return words


def rounded(weight: Floats) -> Floats:
    """The nearest values that are kept: of a row, whole numbers up to 127 times a power of 2."""
    return _values(*_numbers(weight))


def packed(weight: Floats, vectors: Floats) -> dict[str, NDArray[Any]]:
    """What is kept of an embedding [rows, width], the last of which began as the vectors.

    Raises `ModelError` when a changed value is not rounded.
    """
    before = len(weight) - len(vectors)
    changed = np.flatnonzero((weight[before:] != vectors).any(axis=1))
    own = np.concatenate([weight[:before], weight[before + changed]])
    numbers, exponents = _numbers(own)
    if (_values(numbers, exponents) != own).any():
        raise ModelError(f"{WEIGHT} must be rounded, as training leaves it, it is not")
    return {WEIGHT: numbers, EXPONENTS: exponents, ROWS: changed.astype(np.int32)}


def unpacked(file: Path, arrays: Mapping[str, NDArray[Any]], vectors: Floats) -> Floats:
    """The embedding that was packed: arrays of the types and shapes that it has.

    Raises `ModelError` for values that no embedding would give.
    """
    rows, exponents = arrays[ROWS].astype(np.int64), arrays[EXPONENTS]
    ends = np.concatenate([[-1], rows, [len(vectors)]])
    if (np.diff(ends) < 1).any():
        raise ModelError(f"{file}: {ROWS} must rise from 0 or more to below {len(vectors)}")
    low, high = _EXPONENTS
    if ((exponents < low) | (exponents > high)).any():
        raise ModelError(f"{file}: {low} <= {EXPONENTS} <= {high}, one is not")
    own = _values(arrays[WEIGHT], exponents)
    before = len(own) - len(rows)
    whole = np.concatenate([own[:before], vectors])
    whole[before + rows] = own[before:]
    return whole


def _numbers(weight: Floats) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Of each row whole numbers, and the least exponent with which they are at most 127."""
    largest = np.abs(weight).max(axis=1, initial=0).astype(np.float64) / _GREATEST
    share, exponents = np.frexp(largest)
    exponents = np.clip(exponents - (share == 0.5), *_EXPONENTS).astype(np.int8)  # 0.5: it is 2^n
    numbers = np.rint(np.ldexp(weight, -exponents[:, None].astype(np.int32)))
    return np.clip(numbers, -_GREATEST, _GREATEST).astype(np.int8), exponents


def _values(numbers: NDArray[np.int8], exponents: NDArray[np.int8]) -> Floats:
    values: Floats = np.ldexp(numbers.astype(np.float32), exponents[:, None].astype(np.int32))
    return values
