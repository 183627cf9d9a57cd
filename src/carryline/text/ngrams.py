"""Texts as counts of what they are made of: words, pairs of neighbouring words, and strings of two
to five characters within a word.

A word is one of `vectors.words_of`: in lower case, without the blank before it. Pairs have a
neighbour outside at both ends of a text, characters a blank at both ends of a word. A feature is
known by a hash of it (its key, 64 bits), so the vocabulary is numbers alone.

The weight of a feature in a text is (1 + log count) idf, where idf is 1 + log((1 + texts) /
(1 + texts that have it)) of the texts that it was learned from; the weights of words and pairs are
divided by their 2-norm, those of characters by theirs (Manning, Raghavan & Schütze 2008, ch. 6).
A text without a known feature has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels
from carryline.recurrence.ragged import offsets_of
from carryline.recurrence.sparse import Sparse
from carryline.text.vectors import words_in
from carryline.text.words import words

Keys = NDArray[np.uint64]
SHORTEST, LONGEST = 2, 5  # characters
_TEXTS_AT_ONCE = 4096
_MOST_KEPT = 1 << 18  # pieces


@dataclass(frozen=True, eq=False)
class Features:
    """Known features: keys, none twice, and the factor idf of each [features]."""

    keys: Keys
    idf: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Raises `ValueError` when a key is there twice."""
        _ = self.slots

    @cached_property
    def slots(self) -> NDArray[np.int32]:
        return _kernels.slots(self.keys)

    def find(self, keys: Keys) -> NDArray[np.int32]:
        """The number of each key, -1 for one that is not known."""
        return _kernels.find(self.keys, self.slots, keys)

    def weigh(self, keys: Keys, offsets: NDArray[np.int64], threads: int) -> Sparse:
        """The weights of texts' features [texts, features], from the keys of each."""
        return Sparse(
            *_kernels.weigh(self.find(keys), offsets, self.idf, threads), width=len(self.keys)
        )


class Ngrams:
    """Features of words and pairs, and of characters. Safe to share between threads."""

    def __init__(self, words: Features, characters: Features) -> None:
        self.words, self.characters = words, characters
        self._pieces = _Pieces()

    @classmethod
    def learn(cls, texts: Sequence[str], most: int) -> Ngrams:
        """The features of these texts; of each kind the `most` that are in the most texts."""
        pieces = _Pieces()
        counts: list[list[tuple[Keys, NDArray[np.int64]]]] = [[], []]
        for chunk in _chunks(texts):
            for kind, keys in enumerate(pieces.keys(chunk)):
                counts[kind].append(_kernels.document_counts(*keys))
                if len(counts[kind]) > 4:
                    counts[kind] = [_together(counts[kind])]
        kinds = [_features(*_together(each), len(texts), most) for each in counts]
        return cls(*kinds)

    def __call__(self, texts: Sequence[str], threads: int) -> tuple[Sparse, Sparse]:
        """Weights [texts, features] of words and pairs, and of characters."""
        words, characters = self._pieces.keys(texts)
        return self.words.weigh(*words, threads), self.characters.weigh(*characters, threads)


class _Pieces:
    """The keys in the pieces that `words.words` cuts, each found once.

    No entry is ever taken out of a dictionary, it is left whole: other threads may hold it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, bytes]] = {}

    def keys(
        self, texts: Sequence[str]
    ) -> tuple[tuple[Keys, NDArray[np.int64]], tuple[Keys, NDArray[np.int64]]]:
        """The keys of the words and pairs of each text, and where they end; those of characters."""
        cut = [words(text) for text in texts]
        known = self._knowing(set().union(*cut))
        rows: tuple[list[bytes], list[bytes]] = ([], [])
        for each in cut:
            found = list(map(known.__getitem__, each))
            rows[0].append(b"".join([own[0] for own in found]))
            rows[1].append(b"".join([own[1] for own in found]))
        return _kernels.pair_keys(*_joined(rows[0])), _joined(rows[1])

    def _knowing(self, wanted: set[str]) -> dict[str, tuple[bytes, bytes]]:
        if len(self._known) > _MOST_KEPT:
            self._known = {}
        known = self._known
        new = list(wanted.difference(known))
        own = [words_in(piece) for piece in new]
        encoded = [word.encode() for each in own for word in each]
        text = np.frombuffer(bytearray().join(encoded), np.uint8)
        offsets = offsets_of([len(word) for word in encoded])
        of_words = _kernels.word_keys(text, offsets)
        of_characters, ends = _kernels.character_keys(text, offsets, SHORTEST, LONGEST)
        begin = 0
        for piece, each in zip(new, own, strict=True):
            end = begin + len(each)
            known[piece] = (
                of_words[begin:end].tobytes(), of_characters[ends[begin] : ends[end]].tobytes()
            )  # fmt: skip
            begin = end
        return known


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        yield texts[begin : begin + _TEXTS_AT_ONCE]


def _joined(rows: Sequence[bytes]) -> tuple[Keys, NDArray[np.int64]]:
    return (
        np.frombuffer(bytearray().join(rows), np.uint64),
        offsets_of([len(row) // 8 for row in rows]),
    )


def _together(
    counts: Iterable[tuple[Keys, NDArray[np.int64]]],
) -> tuple[Keys, NDArray[np.int64]]:
    """The different keys of several counts, rising, and the sums of their counts."""
    parts = list(counts)
    if not parts:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    keys, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, place, np.concatenate([part[1] for part in parts]))
    return keys, sums


def _features(keys: Keys, counts: NDArray[np.int64], texts: int, most: int) -> Features:
    """Those of the highest counts, of equal ones the lowest keys."""
    chosen = np.sort(np.argsort(-counts, kind="stable")[:most])
    idf = 1 + np.log((1 + texts) / (1 + counts[chosen]))
    return Features(keys[chosen], idf.astype(np.float32))
