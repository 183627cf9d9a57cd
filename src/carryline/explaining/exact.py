"""Each word's part in the logits of the linear part: exact, for these are sums.

An n-gram's part is shared out evenly among the places where it stands, and a pair's at each between
its two words (one with the edge of the text is its one word's own). Of a bag of vectors each
word has its share of the means, and of the largest and smallest values those that are its own
(of equal ones the first word's).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model.linear import Linear
from carryline.text.bags import Bags
from carryline.text.ngrams import Place
from carryline.text.vectors import words_of

Array = NDArray[Any]


def parts(linear: Linear, text: str, threads: int) -> Array:
    """[words, outputs] float64, of the words that `vectors.words_of` cuts; but for rounding they
    and the bias add up to `linear.logits`."""
    words = words_of(text)
    found = np.zeros((len(words), len(linear.arrays["bias"])))
    kinds = zip(linear.ngrams([text], threads), linear.ngrams.places(words), strict=True)
    for (block, place), name in zip(kinds, ("words", "characters"), strict=True):
        each = np.zeros(block.width)
        each[block.ids] = block.values
        _share_out(found, place, each, linear.arrays[f"{name}.weight"])
    if linear.bags is not None:
        _add_bag(found, linear.bags, words, linear.arrays["bags.weight"])
    return found


def _share_out(found: Array, place: Place, values: Array, weight: Array) -> None:
    """Add what each n-gram of a text gives, by the places where it stands."""
    counts = np.bincount(place.features, place.share)
    here = (values[place.features] / counts[place.features] * place.share)[:, None]
    np.add.at(found, place.words, here * weight[place.features])


def _add_bag(found: Array, bags: Bags, words: Sequence[str], weight: Array) -> None:
    rows, own_words = bags.places(words)
    if not len(rows):
        return
    x, rare = bags.vectors.matrix[rows].astype(np.float64), bags.rarity[rows].astype(np.float64)
    by_weighted, by_mean, by_largest, by_smallest = np.split(weight.astype(np.float64), 4, axis=1)
    own = (x * (rare / rare.sum())[:, None]) @ by_weighted.T + (x / len(x)) @ by_mean.T
    columns = np.arange(x.shape[1])
    for where, by in ((x.argmax(axis=0), by_largest), (x.argmin(axis=0), by_smallest)):
        np.add.at(own, where, x[where, columns][:, None] * by.T)
    np.add.at(found, own_words, own)
