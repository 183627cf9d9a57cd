"""What a model has learned from, judged: each text's class by a linear part fitted without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.model.config import Config
from carryline.reporting.measured import Measured
from carryline.text.bags import Bags
from carryline.text.data import Label
from carryline.training import linear, losses
from carryline.training.draws import turn_of_each

TURNS = 5
FEATURES = 1 << 16  # n-grams of each kind, for a model without a linear part


def judged(
    texts: list[str],
    targets: NDArray[np.int64],
    classes: list[Label],
    config: Config,
    bags: Bags | None,
    threads: int,
    advance: Callable[[int], object] = lambda texts: None,
) -> Measured | None:
    """The texts with the probabilities of linear parts of the model's kind, each fitted without a
    fifth of them, which it then judges.

    bags: those of the model's word vectors, None without. advance: called with the number of texts
    done since the last time. A text alone in its class is left out: without it nobody knows the
    class. None when that leaves fewer than two.
    """
    turn = turn_of_each(targets, TURNS, config.seed)
    known = np.flatnonzero(turn < TURNS)
    advance(len(texts) - len(known))
    if len(known) < 2:
        return None
    own, targets = [texts[i] for i in known], targets[known]
    logits = linear.outside(
        own, targets, network.outputs(len(classes)), bags, turn[known],
        features=config.linear or FEATURES, threads=threads, after_turn=advance,
        weights=losses.text_weights(config, targets, len(classes), None),
    )  # fmt: skip
    return Measured(own, targets, network.probabilities(logits), classes)
