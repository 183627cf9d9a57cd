"""The two parts of a model, trained on the same texts, and how their logits are added.

    logits = a recurrent + b linear

a and b minimise the cross-entropy of texts that neither part was trained on. It is convex in them,
and two numbers cannot learn texts by heart: a part that tells little on other texts than its own
gets a small share, and the probabilities are as sure as they are right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model.network import Network
from carryline.tasks.fitted import Fitted
from carryline.training import losses
from carryline.training.lbfgs import minimum

Array = NDArray[Any]
Shares = tuple[float, float]
# Without texts to choose by, and what few of them draw the choice to: as many texts' weight.
USUAL: Shares = (0.5, 1.0)
WEIGHT = 10.0


@dataclass(frozen=True, eq=False)
class Held:
    """Logits of texts that were held out [texts, outputs], and their classes [texts]."""

    recurrent: Array
    linear: Array
    targets: NDArray[np.int64]

    def accuracy(self, shares: Shares) -> float:
        """Of both parts together."""
        return losses.right(self.added(shares), self.targets) / len(self.targets)

    @staticmethod
    def together(parts: Sequence[Held]) -> Held:
        return Held(
            np.concatenate([part.recurrent for part in parts]),
            np.concatenate([part.linear for part in parts]),
            np.concatenate([part.targets for part in parts]),
        )

    def shares(self) -> Shares:
        """a and b, none below 0."""
        logits = [np.float64(self.recurrent), np.float64(self.linear)]
        usual, weight = np.array(USUAL), WEIGHT / len(self.targets)

        def function(x: Array) -> tuple[float, Callable[[], Array]]:
            together = x[0] * logits[0] + x[1] * logits[1]
            loss, back = losses.loss(together, self.targets, None)
            away = x - usual

            def gradient() -> Array:
                d, _ = back(1.0)
                by_x: Array = np.array([float((d * each).sum()) for each in logits])
                by_x += weight * away
                return by_x

            return loss + 0.5 * weight * float(away @ away), gradient

        a, b = minimum(function, usual.copy(), steps=100, tolerance=1e-9).tolist()
        return max(a, 0.0), max(b, 0.0)

    def added(self, shares: Shares) -> Array:
        """Both parts' logits together."""
        logits: Array = np.float32(shares[0]) * self.recurrent + np.float32(shares[1]) * self.linear
        return logits


def smoothed_best(figures: Sequence[float]) -> int:
    """The number (0, 1, …) of the highest figure, each the mean of it and those beside it: of a
    thousand texts' accuracies one epoch alone is often the highest by chance. The last of equals.

    By loss it would be too early: MR's two epochs get 79.4 on other texts, four 80.2.
    """
    means = [np.mean(figures[max(0, i - 1) : i + 2]) for i in range(len(figures))]
    return len(means) - 1 - int(np.argmax(means[::-1]))


def mixed(model: Fitted, shares: Shares) -> Fitted:
    """The model with its parts' logits times their shares, as a file will have its weights."""
    linear = model.linear
    assert linear is not None
    weights = dict(model.network.weights)
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name] * np.float32(shares[0])
    return replace(
        model,
        network=Network(model.config, weights),
        linear=linear.times(shares[1]).rounded(),
    )
