"""Labels that look wrong: texts that a model which has not learned from them is sure about, and
whose label says otherwise.

A text is suspected when the chance of another class reaches what that class's own texts have in the
mean, and that of its own label does not: confident learning (Northcutt, Jiang & Chuang 2021).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Suspect(NamedTuple):
    """text: its number; label, likely: the class that it has, and the one that it looks like;
    margin: by how much the chance of the one is above the other's."""

    text: int
    label: int
    likely: int
    margin: float


def suspects(probabilities: Array, targets: Array) -> list[Suspect]:
    """The widest margin first; of equal ones the first text.

    probabilities: [texts, classes] of a model that has not learned from the texts; targets:
    [texts]. A class without a text suspects none.
    """
    p = probabilities.astype(np.float64)
    texts, classes = p.shape
    own = p[np.arange(texts), targets]
    counts = np.bincount(targets, minlength=classes)
    usual = np.bincount(targets, own, classes) / np.maximum(counts, 1)
    usual[counts == 0] = np.inf
    reached = np.where(p >= usual, p, -1.0)
    likely = reached.argmax(axis=1)
    odd = (reached.max(axis=1) > 0) & (likely != targets) & (own < usual[targets])
    margin = p[np.arange(texts), likely] - own
    found = [Suspect(int(i), int(targets[i]), int(likely[i]), float(margin[i]))
             for i in np.flatnonzero(odd & (margin > 0))]  # fmt: skip
    return sorted(found, key=lambda one: -one.margin)
