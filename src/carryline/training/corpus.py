"""Texts of any size as a file of word numbers, read once.

Words get numbers as they come, and the numbers go to a file; when all are counted, the file is
written again with the numbers of those that are kept, by frequency. So memory is needed for the
words, not for the texts.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError
from carryline.text.vectors import words_in
from carryline.text.words import words

Ids = NDArray[np.int32]
END = -1  # of a text
_GONE = -2
# Words that are counted at a time, some 600 MB. Beyond, those that were there once go, then those
# that were there twice, and so on; of one that comes again the count begins anew.
MOST_WORDS = 1 << 22
_MOST_PIECES = 1 << 20  # pieces of text whose words are kept
_BLOCK = 1 << 20  # numbers counted or written at a time


@dataclass(frozen=True)
class Counted:
    """words: those that are kept, the most frequent first, ties by the word; counts: of each.

    texts, total: how many texts and words were read. pruned: words that were there at most so often
    were dropped while counting; 0: none were.
    """

    words: list[str]
    counts: NDArray[np.int64]
    texts: int
    total: int
    pruned: int


class Numbers:
    """Words by numbers, as they come; most: words at a time."""

    def __init__(self, most: int = MOST_WORDS) -> None:
        self._most, self.pruned, self.texts, self.total = most, 0, 0, 0
        self._number: dict[str, int] = {}
        self._pieces: dict[str, bytes] = {}  # int32 numbers of each
        self._counts = np.zeros(0, np.int64)
        self._next = 0

    def add(self, texts: Sequence[str]) -> Ids:
        """The numbers of these texts, `END` after each; they are counted."""
        if len(self._number) > self._most:
            self._prune()
        if len(self._pieces) > _MOST_PIECES:
            self._pieces = {}
        cut = [words(text) for text in texts]
        known, end = self._pieces, array("i", [END]).tobytes()
        for piece in set().union(*cut).difference(known):
            known[piece] = array("i", map(self._numbered, words_in(piece))).tobytes()
        rows = (b"".join(map(known.__getitem__, row)) + end for row in cut)
        ids = np.frombuffer(b"".join(rows), np.int32)
        self.texts += len(texts)
        self.total += len(ids) - len(texts)
        self._count(ids[ids != END])
        return ids

    def kept(self, most: int, least: int) -> tuple[Counted, Ids]:
        """The most frequent words with at least `least` occurrences, and the new number of each old
        one; the last is that of `END`. Raises `DataError` when there is none."""
        found = [(-int(self._counts[n]), word, n) for word, n in self._number.items()]
        kept = sorted(row for row in found if -row[0] >= least)[:most]
        if not kept:
            often = f"the most frequent one is there {-min(found)[0]} times" if found else "none is"
            raise DataError(f"a word must be there {least} times at least (--least); {often}")
        new = np.full(self._next + 1, _GONE, np.int32)
        new[[number for *_, number in kept]] = np.arange(len(kept))
        new[END] = END
        counts = np.array([-count for count, *_ in kept], np.int64)
        return Counted([w for _, w, _ in kept], counts, self.texts, self.total, self.pruned), new

    def _numbered(self, word: str) -> int:
        number = self._number.setdefault(word, self._next)
        self._next += number == self._next
        return number

    def _count(self, ids: Ids) -> None:
        if self._next > len(self._counts):
            more = np.zeros(max(self._next, 2 * len(self._counts)) - len(self._counts), np.int64)
            self._counts = np.concatenate([self._counts, more])
        np.add.at(self._counts, ids, 1)

    def _prune(self) -> None:
        least = 0
        while len(self._number) > self._most // 2:
            least += 1
            often = self._counts > least
            self._number = {word: n for word, n in self._number.items() if often[n]}
        self.pruned = max(self.pruned, least)
        self._pieces = {}


def written(
    texts: Iterable[Sequence[str]], numbers: Numbers, file: Path, most: int, least: int
) -> Counted:
    """Writes the texts' numbers of the words that are kept to `file`: int32, `END` after each text.

    numbers: fresh ones, which have counted a part when the next is asked for. The file is there
    whole or not at all. Raises `DataError` when no word is kept.
    """
    first = file.with_name(f".{file.name}.first")
    second = file.with_name(f".{file.name}.second")
    try:
        with first.open("wb") as to:
            for part in texts:
                to.write(numbers.add(part).tobytes())
        counted, new = numbers.kept(most, least)
        with second.open("wb") as to:
            for ids in _blocks(first):
                chosen = new[ids]
                to.write(chosen[chosen != _GONE].tobytes())
            _to_disk(to)
        second.replace(file)
        return counted
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)


def _blocks(file: Path) -> Iterator[Ids]:
    with file.open("rb") as stream:
        while block := stream.read(4 * _BLOCK):
            yield np.frombuffer(block, np.int32)


def _to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
