"""The parts of a model, trained on the same texts, and how their logits are added.

    logits = a recurrent + b n-grams + c bags

a, b and c minimise the cross-entropy of texts that no part was trained on. It is convex in them,
and three numbers cannot learn texts by heart: a part that tells little on other texts than its own
gets a small share, and the probabilities are as sure as they are right. (N-grams and bags, which
are fitted together, have a share each: with 1,000 labels MR gets 76.5 so and 76.0 with one, the
n-grams' being half the bags'.)
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
Shares = tuple[float, ...]  # of the members, in their order
# Without texts to choose by, and what few of them draw the choice to: as many texts' weight.
USUAL, RECURRENT = 1.0, 0.5
WEIGHT = 10.0


@dataclass(frozen=True, eq=False)
class Held:
    """Logits of texts that were held out, of each member [texts, outputs], and the texts' classes
    [texts]."""

    members: tuple[Array, ...]
    targets: NDArray[np.int64]

    def shares(self, usual: Shares) -> Shares:
        """Of the members, none below 0; near the usual ones where there are few texts."""
        logits, first = [np.float64(each) for each in self.members], np.array(usual)
        weight = WEIGHT / len(self.targets)

        def function(x: Array) -> tuple[float, Callable[[], Array]]:
            loss, back = losses.loss(_sum(x, logits), self.targets, None)
            away = x - first

            def gradient() -> Array:
                d, _ = back(1.0)
                by_x: Array = np.array([float((d * each).sum()) for each in logits])
                by_x += weight * away
                return by_x

            return loss + 0.5 * weight * float(away @ away), gradient

        found = minimum(function, first.copy(), steps=100, tolerance=1e-9)
        return tuple(max(share, 0.0) for share in found.tolist())

    def added(self, shares: Shares) -> Array:
        """The members' logits together."""
        return _sum([np.float32(share) for share in shares], self.members)

    def loss(self, shares: Shares) -> float:
        """Of the members together."""
        return losses.loss(self.added(shares).astype(np.float64), self.targets, None)[0]

    def accuracy(self, shares: Shares) -> float:
        """Of the members together."""
        return losses.right(self.added(shares), self.targets) / len(self.targets)


def _sum(factors: Sequence[Any] | Array, logits: Sequence[Array]) -> Array:
    total: Array = factors[0] * logits[0]
    for factor, each in zip(factors[1:], logits[1:], strict=True):
        total = total + factor * each
    return total


def mixed(model: Fitted, shares: Shares) -> Fitted:
    """The model with its members' logits times their shares, as a file will have its weights."""
    linear = model.linear
    assert linear is not None
    weights = dict(model.network.weights)
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name] * np.float32(shares[0])
    return replace(
        model,
        network=Network(model.config, weights),
        linear=linear.times(shares[1:]).rounded(),
    )
