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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels
from carryline.recurrence.ragged import offsets_of
from carryline.recurrence.sparse import Sparse
from carryline.text.cut import Cut, Texts, cut_of, joined
from carryline.text.vectors import words_in

Keys = NDArray[np.uint64]
Offsets = NDArray[np.int64]
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


@dataclass(frozen=True, eq=False)
class Place:
    """Where the known n-grams of a text stand: features, their numbers; words, the number of a word
    that they are of; share, how much of it they are that word's [places each]. An n-gram that
    stands there several times has as many, a pair of two words two."""

    features: NDArray[np.int32]
    words: NDArray[np.int64]
    share: NDArray[np.float64]


class Ngrams:
    """Features of words and pairs, and of characters. Safe to share between threads."""

    def __init__(self, words: Features, characters: Features) -> None:
        self.words, self.characters = words, characters
        # Of pieces the keys of the words in them, and the numbers of the known strings.
        self._known: dict[str, tuple[bytes, bytes]] = {}

    @classmethod
    def learn(cls, texts: Texts, most: int) -> Ngrams:
        """The features of these texts; of each kind the `most` that are in the most texts."""
        cut = cut_of(texts)
        keys = _Keys.of(cut.pieces)
        learned = cls(
            _features(*_pair_counts(cut, keys), len(cut), most),
            _features(*_character_counts(cut, keys), len(cut), most),
        )
        learned._add(cut.pieces, keys)
        return learned

    def __call__(self, texts: Texts, threads: int) -> tuple[Sparse, Sparse]:
        """Weights [texts, features] of words and pairs, and of characters."""
        cut = cut_of(texts)
        known = self._knowing(cut.pieces)
        own = [known[piece] for piece in cut.pieces]
        keys, numbers = joined([each[0] for each in own], np.uint64), [each[1] for each in own]
        words, characters = self.words, self.characters
        pairs = _kernels.weigh_pairs(
            *cut.by_text, *keys, words.keys, words.slots, words.idf, threads
        )
        strings = _kernels.weigh(*cut.by_text, *joined(numbers, np.int32), characters.idf, threads)
        return Sparse(*pairs, width=len(words.keys)), Sparse(*strings, width=len(characters.keys))

    def places(self, words: Sequence[str]) -> tuple[Place, Place]:
        """Of words and pairs, and of characters, in a text of these words (`vectors.words_of`)."""
        encoded = [word.encode() for word in words]
        content = np.frombuffer(bytearray().join(encoded), np.uint8)
        offsets, count = offsets_of([len(word) for word in encoded]), len(words)
        keys = _kernels.word_keys(content, offsets)
        one = np.arange(count, dtype=np.int32), offsets_of([count])
        pairs, _ = _kernels.pair_keys(*one, keys, np.arange(count + 1, dtype=np.int64))
        strings, ends = _kernels.character_keys(content, offsets, SHORTEST, LONGEST)
        # A word and its pair with the one before, word by word; the last one's with the outside.
        word = np.arange(len(pairs)) // 2
        halves = np.zeros(len(pairs), bool)
        halves[3:-1:2] = True
        first = np.where(word == count, count - 1, word)
        both = _Places(
            np.concatenate([pairs, pairs[halves]]),
            np.concatenate([first, word[halves] - 1]),
            np.concatenate([np.where(halves, 0.5, 1.0), np.full(halves.sum(), 0.5)]),
        )
        each = np.repeat(np.arange(count), np.diff(ends))
        return both.known(self.words), _Places(strings, each, np.ones(len(each))).known(
            self.characters
        )

    def _knowing(self, wanted: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
        """What these pieces and others have.

        No entry is ever taken out of a dictionary, it is left whole: other threads may hold it.
        """
        if len(self._known) > _MOST_KEPT:
            self._known = {}
        known = self._known
        if new := [piece for piece in wanted if piece not in known]:
            self._add(new, _Keys.of(new), known)
        return known

    def _add(
        self, new: Sequence[str], keys: _Keys, known: dict[str, tuple[bytes, bytes]] | None = None
    ) -> None:
        known = self._known if known is None else known
        found = self.characters.find(keys.characters)
        there = found >= 0
        ends = np.concatenate([[0], np.cumsum(there)])[keys.character_offsets].tolist()
        words, strings = keys.words.tobytes(), found[there].tobytes()
        starts = keys.word_offsets.tolist()
        for i, piece in enumerate(new):
            known[piece] = (
                words[8 * starts[i] : 8 * starts[i + 1]], strings[4 * ends[i] : 4 * ends[i + 1]]
            )  # fmt: skip


class _Places(NamedTuple):
    """`Place` by keys, of which some may not be known."""

    keys: Keys
    words: NDArray[np.int64]
    share: NDArray[np.float64]

    def known(self, features: Features) -> Place:
        numbers = features.find(self.keys)
        there = numbers >= 0
        return Place(numbers[there], self.words[there], self.share[there])


@dataclass(frozen=True, eq=False)
class _Keys:
    """The keys of the words in pieces, and of the strings in those: of piece i from offsets[i]."""

    words: Keys
    word_offsets: Offsets
    characters: Keys
    character_offsets: Offsets

    @classmethod
    def of(cls, pieces: Sequence[str]) -> _Keys:
        own = [words_in(piece) for piece in pieces]
        encoded = [word.encode() for each in own for word in each]
        text = np.frombuffer(bytearray().join(encoded), np.uint8)
        offsets = offsets_of([len(word) for word in encoded])
        of_words = _kernels.word_keys(text, offsets)
        of_characters, ends = _kernels.character_keys(text, offsets, SHORTEST, LONGEST)
        starts = offsets_of([len(each) for each in own])
        return cls(of_words, starts, of_characters, ends[starts])


def pair_keys(cut: Cut) -> list[Keys]:
    """The keys of each text's words and pairs, in their order, one that comes again again."""
    keys = _Keys.of(cut.pieces)
    found, offsets = _kernels.pair_keys(*cut.by_text, keys.words, keys.word_offsets)
    return np.split(found, offsets[1:-1]) if len(cut) else []


def _pair_counts(cut: Cut, keys: _Keys) -> tuple[Keys, NDArray[np.int64]]:
    """The different words and pairs, and in how many texts each is."""
    counts: list[tuple[Keys, NDArray[np.int64]]] = []
    for begin in range(0, len(cut), _TEXTS_AT_ONCE):
        part = cut.part(begin, min(len(cut), begin + _TEXTS_AT_ONCE))
        found = _kernels.pair_keys(*part.by_text, keys.words, keys.word_offsets)
        counts.append(_kernels.document_counts(*found))
        if len(counts) > 4:
            counts = [_together(counts)]
    return _together(counts)


def _character_counts(cut: Cut, keys: _Keys) -> tuple[Keys, NDArray[np.int64]]:
    """The same of strings: each piece's are numbered once, and texts counted by these numbers."""
    different, numbers = np.unique(keys.characters, return_inverse=True)
    return different, _kernels.text_counts(
        *cut.by_text, numbers.astype(np.int32), keys.character_offsets, len(different)
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
