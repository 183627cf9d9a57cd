"""Whether probabilities mean what they say: of texts that are 80 % sure, are 80 % right?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BINS = 10


class Bin(NamedTuple):
    """The texts whose answer is between `low` and `high` sure; confidence: how sure in the mean,
    accuracy: how many of them are right; both None without a text."""

    low: float
    high: float
    texts: int
    confidence: float | None
    accuracy: float | None


def reliability(probabilities: Array, targets: Array, bins: int = BINS) -> list[Bin]:
    """By how sure the most probable class is, in bins of the same width from 0 to 1.

    probabilities: [texts, classes]; targets: [texts] the true class numbers.
    """
    sure, right = probabilities.max(axis=1).astype(np.float64), _right(probabilities, targets)
    number = np.minimum((sure * bins).astype(np.int64), bins - 1)
    counts = np.bincount(number, minlength=bins)
    means = [np.bincount(number, of, bins) / np.maximum(counts, 1) for of in (sure, right)]
    return [
        Bin(i / bins, (i + 1) / bins, int(n), float(s) if n else None, float(r) if n else None)
        for i, (n, s, r) in enumerate(zip(counts, *means, strict=True))
    ]


def expected_error(bins: list[Bin]) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, in the mean of
    the texts (Naeini, Cooper & Hauskrecht 2015)."""
    texts = sum(one.texts for one in bins)
    apart = [
        one.texts * abs(one.confidence - one.accuracy)
        for one in bins
        if one.confidence is not None and one.accuracy is not None
    ]
    return sum(apart) / max(1, texts)


def brier(probabilities: Array, targets: Array) -> float:
    """The mean squared distance of a text's probabilities from 1 for its class and 0 for the others
    (Brier 1950): 0 at best, 2 at worst."""
    wide = probabilities.astype(np.float64)
    wide[np.arange(len(targets)), targets] -= 1
    return float((wide**2).sum(axis=1).mean())


def _right(probabilities: Array, targets: Array) -> Array:
    found: Array = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    return found
