"""In what order the texts of an epoch are read, and which stand together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carryline.model.config import Config
from carryline.training.draws import ORDER, generator

IntArray = NDArray[np.int64]
POOL = 100  # batches whose texts are sorted by length together


def epoch_batches(config: Config, lengths: IntArray, epoch: int) -> list[IntArray]:
    """The batches of an epoch (1, 2, …): arrays of text numbers, the same for the same seed.

    lengths: [texts] tokens of each text. `batching="shuffle"` reads in order through a shuffle
    buffer. `batching="length"` shuffles all, sorts stretches of `POOL` batches by length, and
    shuffles the batches: texts of similar length stand together, in other company each epoch.
    """
    rng = generator(config.seed, ORDER, epoch)
    if config.batching == "shuffle":
        order = _through_buffer(rng, len(lengths), config.shuffle_buffer)
        return _cut(order, config.batch_size)
    order = rng.permutation(len(lengths))
    batches: list[IntArray] = []
    for pool in _cut(order, POOL * config.batch_size):
        batches += _cut(pool[np.argsort(lengths[pool], kind="stable")], config.batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def _cut(order: IntArray, size: int) -> list[IntArray]:
    return [order[begin : begin + size] for begin in range(0, len(order), size)]


def _through_buffer(rng: np.random.Generator, count: int, size: int) -> IntArray:
    """Texts in reading order through a buffer that gives a random one of those it holds."""
    buffer = np.arange(min(size, count))
    order = np.empty(count, np.int64)
    for position in range(count):
        place = rng.integers(len(buffer))
        order[position] = buffer[place]
        following = position + size
        if following < count:
            buffer[place] = following
        else:
            buffer[place] = buffer[-1]
            buffer = buffer[:-1]
    return order
