"""Texts cut into pieces once, for all that looks these up; a piece is a number wherever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels
from carryline.recurrence.ragged import offsets_of
from carryline.text.words import words

_TEXTS_AT_ONCE = 1024


class _Numbers(dict[str, int]):
    """A new piece gets the next number."""

    def __missing__(self, piece: str) -> int:
        self[piece] = number = len(self)
        return number


@dataclass(frozen=True, eq=False)
class Cut:
    """pieces: the different ones that `words.words` cuts, in the order in which they come; numbers:
    which of them a text has, one after the other, that of text i from offsets[i] to offsets[i + 1].
    """

    pieces: list[str]
    numbers: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Cut:
        place, sizes = _Numbers(), list[int]()
        parts = [np.empty(0, np.int32)]
        for begin in range(0, len(texts), _TEXTS_AT_ONCE):
            cut = [words(text) for text in texts[begin : begin + _TEXTS_AT_ONCE]]
            sizes += map(len, cut)
            count = sum(sizes[begin:])
            parts.append(np.fromiter(map(place.__getitem__, chain.from_iterable(cut)), "i4", count))
        return cls(list(place), np.concatenate(parts), offsets_of(sizes))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def by_text(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        return self.numbers, self.offsets

    def part(self, begin: int, end: int) -> Cut:
        """The texts from `begin` to `end`."""
        offsets = self.offsets[begin : end + 1]
        numbers = self.numbers[offsets[0] : offsets[-1]]
        return Cut(self.pieces, numbers, offsets - offsets[0])


Texts = Sequence[str] | Cut


def cut_of(texts: Texts) -> Cut:
    """Of texts that may be cut already."""
    return texts if isinstance(texts, Cut) else Cut.of(texts)


def joined(rows: Sequence[bytes], dtype: type[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values that each row has as its bytes, end to end, and where each row begins."""
    values = np.frombuffer(bytearray().join(rows), dtype)
    return values, offsets_of([len(row) // values.itemsize for row in rows])


def spread(cut: Cut, rows: Sequence[bytes]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """What the pieces of each text have, int32 in each one's row; and where each text's begins."""
    return _kernels.spread(*cut.by_text, *joined(rows, np.int32))
