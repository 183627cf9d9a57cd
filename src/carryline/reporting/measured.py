"""What a report is made of: labelled texts, and what a model says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.evaluation import metrics
from carryline.evaluation.metrics import name
from carryline.text.data import Label

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """texts; targets: the number of each one's class [texts]; probabilities [texts, classes]."""

    texts: list[str]
    targets: NDArray[np.int64]
    probabilities: Array
    classes: list[Label]

    @cached_property
    def figures(self) -> dict[str, Any]:
        """Of `metrics.evaluate`."""
        return metrics.evaluate(self.probabilities, self.targets, self.classes)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """[texts] the number of the class that each is taken for."""
        found: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """[texts]"""
        found: NDArray[np.bool_] = self.predicted == self.targets
        return found

    @cached_property
    def sure(self) -> Array:
        """[texts] the probability of each answer."""
        found: Array = self.probabilities.max(axis=1)
        return found

    @property
    def names(self) -> list[str]:
        """The classes, as they are shown."""
        return [name(label) for label in self.classes]


@dataclass(frozen=True, eq=False)
class Learned:
    """Texts that a model has learned from. targets: the number of each one's class [texts], None
    where nobody tells; judged: those of them that were judged by others, as `judged` gives them."""

    texts: list[str]
    targets: NDArray[np.int64] | None = None
    judged: Measured | None = None
