"""The learning rate of a step."""

from __future__ import annotations

import math

from carryline.model.config import Config


def learning_rate(config: Config, step: int, steps_an_epoch: int) -> float:
    """The rate of a step (0, 1, …): warm-up, then constant or a cosine down to 0.

    Both stretch over all epochs of the configuration: where a run goes on with more of them than
    it began with, its rate is from there on what the longer run's would be.
    """
    total = config.epochs * steps_an_epoch
    warmup = config.warmup * total
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - warmup) / max(1.0, total - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
