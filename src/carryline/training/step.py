"""The gradients of a step: of a batch's loss and, where wanted, of the one with embeddings changed
for the worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.model.config import Config
from carryline.recurrence.ragged import Ragged
from carryline.training import losses, model, stages
from carryline.training.draws import DROPOUT, generator
from carryline.training.stages import Gradients, Rows, Way

Array = NDArray[Any]


class Step(NamedTuple):
    """loss: the mean of the batch; right: how many texts it got right; gradients: to step along."""

    loss: float
    right: int
    gradients: Gradients


def step(
    config: Config,
    weights: Mapping[str, Any],
    batch: Ragged,
    targets: NDArray[np.int64],
    shares: NDArray[np.float32] | None,
    place: tuple[int, int],
    threads: int,
) -> Step:
    """weights: as `model.logits` reads them; targets, shares: of each text of the batch; place: its
    epoch (from 1) and its number there (from 0), by which dropout draws.

    With `adversarial` the gradients are the mean of those of the batch as it is and of those with
    its embeddings changed by `stages.worst`; what dropout leaves out is the same in both.
    """
    layers = model.packed(config, weights, threads)
    order = batch.plan.order
    ranked, own = targets[order], None if shares is None else shares[order]

    def passed(shift: Array | None) -> tuple[Step, Array]:
        way, rng = Way(), None
        if config.dropout:
            rng = generator(config.seed, DROPOUT, *place)
        logits = model.logits(config, weights, batch, way, threads, rng, shift, layers)
        loss = way(losses.loss(logits, ranked, own))
        by_rows, gradients = way.back(1.0)
        return Step(loss, losses.right(logits, ranked), gradients), by_rows

    found, by_rows = passed(None)
    if not config.adversarial:
        return found
    rows = weights[model.EMBEDDING][found.gradients[model.EMBEDDING].ids]
    changed, _ = passed(stages.worst(rows, by_rows, config.adversarial))
    return found._replace(gradients=_mean(found.gradients, changed.gradients))


def _mean(one: Gradients, other: Gradients) -> Gradients:
    """Of gradients by the same weights, and the same rows; the first ones become it."""
    for name, by in one.items():
        mean, more = (by.values, other[name].values) if isinstance(by, Rows) else (by, other[name])
        mean += more
        mean *= 0.5
    return one
