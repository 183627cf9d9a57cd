"""Texts that are nearly the same: by the words and pairs of words that they share.

How alike two texts are is the size of what both have by that of what either has (Jaccard). Pairs
are found by MinHash: of a text the least of each of `HASHES` hashes of what it has; two texts have
the same least one as often as they are alike (Broder 1997). Of the bands of `ROWS` hashes those
alike by 0.8 share one with a chance of 99.8 %, those alike by 0.3 with 9 %; pairs that do are then
compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.text.cut import Cut
from carryline.text.ngrams import pair_keys

Array = NDArray[Any]
ALIKE = 0.8
HASHES, ROWS = 48, 4
_KEYS_AT_ONCE = 1 << 20


class Twin(NamedTuple):
    """A text's number, that of the first text that it is like, and how much, 1 for all."""

    text: int
    first: int
    alike: float


def twins(texts: Sequence[str], least: float = ALIKE) -> list[Twin]:
    """Of each text that is like an earlier one the first such, in their order. A text without words
    is like none."""
    keys = [np.unique(each) for each in pair_keys(Cut.of(texts))]
    found = []
    for text, earlier in sorted(_candidates(keys).items()):
        for first in sorted(earlier):
            alike = _alike(keys[text], keys[first])
            if alike >= least:
                found.append(Twin(text, first, alike))
                break
    return found


def _alike(one: Array, other: Array) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)


def _candidates(keys: Sequence[Array]) -> dict[int, set[int]]:
    """Of each text the earlier ones that share a band: of many that share the same one the first
    alone, and the one before, or a thousand copies would be half a million pairs."""
    pairs: dict[int, set[int]] = defaultdict(set)
    least = np.concatenate([*_least(keys), np.empty((0, HASHES), np.uint64)])
    numbers = np.array([i for i, own in enumerate(keys) if len(own)], np.int64)
    for band in range(0, HASHES, ROWS):
        columns = least[:, band : band + ROWS]
        order = np.lexsort(columns.T[::-1])  # stable: equal ones in the order of the texts
        ordered, texts = columns[order], numbers[order]
        same = (ordered[1:] == ordered[:-1]).all(axis=1)
        first = 0
        for i in np.flatnonzero(same).tolist():
            if i == 0 or not same[i - 1]:
                first = int(texts[i])
            pairs[int(texts[i + 1])] |= {first, int(texts[i])}
    return pairs


def _least(keys: Sequence[Array]) -> Iterator[Array]:
    """[texts, HASHES], some texts at a time, those without keys left out."""
    draw = np.random.Generator(np.random.PCG64(0))
    factors = draw.integers(1, 1 << 63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    some: list[Array] = []
    for own in [*(own for own in keys if len(own)), None]:
        if some and (own is None or sum(map(len, some)) + len(own) > _KEYS_AT_ONCE):
            starts = np.cumsum([0, *map(len, some[:-1])])
            joined = np.concatenate(some)
            each = [np.minimum.reduceat(_mixed(joined * factor), starts) for factor in factors]
            yield np.stack(each, axis=1)
            some = []
        if own is not None:
            some.append(own)


def _mixed(x: Array) -> Array:
    """The high bits of a product depend on all of the key's, the low ones do not: turned over."""
    mixed: Array = (x >> np.uint64(32)) | (x << np.uint64(32))
    return mixed
