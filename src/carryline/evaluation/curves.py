"""What a threshold buys: curves over all thresholds, by the points at which they turn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Curve(NamedTuple):
    """x, y: [points]; at: the threshold of each point, texts of a chance of at least that are
    taken for the class (infinite: none is)."""

    x: Array
    y: Array
    at: Array


def roc(chances: Array, true: Array) -> Curve:
    """The share of the other texts that is taken for the class, and the share of its own.

    chances: [texts] of the class; true: [texts] whether it is the class, some and not all.
    """
    at, taken, right = _sweep(chances, true)
    return Curve((taken - right) / (~true).sum(), right / true.sum(), at)


def precision_recall(chances: Array, true: Array) -> Curve:
    """Recall, and precision, which of no text is that of the first ones."""
    at, taken, right = _sweep(chances, true)
    precision = right[1:] / taken[1:]
    return Curve(right / true.sum(), np.concatenate([precision[:1], precision]), at)


def area(curve: Curve) -> float:
    """Under it, straight from point to point: of `roc` the chance that a text of the class has a
    higher chance than another one."""
    return float((np.diff(curve.x) * (curve.y[1:] + curve.y[:-1]) / 2).sum())


def average_precision(curve: Curve) -> float:
    """Precision in the mean of all texts of the class, as each is found."""
    return float((np.diff(curve.x) * curve.y[1:]).sum())


def coverage(probabilities: Array, targets: Array) -> Curve:
    """The share of the texts that are answered when those less sure than a threshold are not, and
    the share of these answers that is wrong (El-Yaniv & Wiener 2010)."""
    sure = probabilities.max(axis=1)
    at, taken, right = _sweep(sure, probabilities.argmax(axis=1) == targets)
    return Curve(taken[1:] / len(targets), 1 - right[1:] / taken[1:], at[1:])


def thinned(curve: Curve, most: int) -> Curve:
    """At most so many of its points, evenly chosen, the first and the last among them."""
    if len(curve.x) <= most:
        return curve
    chosen = np.unique(np.linspace(0, len(curve.x) - 1, most).round().astype(np.int64))
    return Curve(*(values[chosen] for values in curve))


def _sweep(chances: Array, true: Array) -> tuple[Array, Array, Array]:
    """The thresholds, falling from an infinite one, how many texts reach each, and how many of
    these are true; equal chances are one threshold."""
    order = np.argsort(-chances, kind="stable")
    ordered, right = chances[order].astype(np.float64), np.cumsum(true[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    at = np.concatenate([[np.inf], ordered[last]])
    return at, np.concatenate([[0], last + 1]), np.concatenate([[0], right[last]])
