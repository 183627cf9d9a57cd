"""Texts as bags of word vectors: no order, but what the words mean.

    weighted   mean of the vectors by a / (a + p), p how often the word is in text, a = 0.001
               (Arora, Liang & Ma 2017): words that are everywhere count little
    mean       plain mean
    largest    of each value
    smallest   of each value

side by side [texts, 4 * width]. Words that the vectors lack are passed over; a text without any
other has zeros.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels
from carryline.text.cut import Texts, cut_of, spread
from carryline.text.vectors import Vectors, words_in

PARTS = 4
RARE = 1e-3  # a
_MOST_KEPT = 1 << 18  # pieces


class Bags:
    """Of the words that `vectors` have. Safe to share between threads.

    rarity: a / (a + p) of each [words].
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        shares = vectors.counts / max(1, vectors.counts.sum())
        self.rarity = (RARE / (RARE + shares)).astype(np.float32)
        self._known: dict[str, bytes] = {}  # rows as int32

    @property
    def width(self) -> int:
        return PARTS * int(self.vectors.matrix.shape[1])

    def __call__(self, texts: Texts, threads: int) -> NDArray[np.float32]:
        """[texts, 4 * width]."""
        cut = cut_of(texts)
        known = self._knowing(cut.pieces)
        ids, offsets = spread(cut, [known[piece] for piece in cut.pieces])
        out = np.empty((len(cut), self.width), np.float32)
        _kernels.bags(self.vectors.matrix, self.rarity, ids, offsets, out, threads)
        return out

    def places(self, words: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of the known ones among a text's words, and which of these each is."""
        rows = [self.vectors.by_word.get(word, -1) for word in words]
        found = np.array(rows, np.int64)
        there = np.flatnonzero(found >= 0)
        return found[there], there

    def _knowing(self, wanted: Sequence[str]) -> dict[str, bytes]:
        """The rows of these pieces and others.

        No entry is ever taken out of a dictionary, it is left whole: other threads may hold it.
        """
        if len(self._known) > _MOST_KEPT:
            self._known = {}
        known, row = self._known, self.vectors.by_word
        for piece in wanted:
            if piece not in known:
                rows = [row[word] for word in words_in(piece) if word in row]
                known[piece] = array("i", rows).tobytes()
        return known
