"""What is drawn at random in training: each purpose, epoch and step has numbers of its own.

Philox (Salmon et al. 2011) gives the numbers of any place of its sequence at once, so a run that is
resumed needs no generator's state, and nothing else in the process draws from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What for: the first weights, an epoch's batches, a step's dropout, an epoch of word vectors, first
# weights of what is no word of vectors, in which turn a text is held out, words that stand for all
# in a language model.
WEIGHTS, ORDER, DROPOUT, VECTORS, WORDS, FOLDS, LANGUAGE = range(7)


def generator(seed: int, purpose: int, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """The numbers of one purpose, epoch and step (from 0), for a seed below 2**64."""
    philox = np.random.Philox(counter=[0, 0, step, epoch], key=[seed, purpose])
    return np.random.Generator(philox)


def turn_of_each(targets: NDArray[np.int64], turns: int, seed: int) -> NDArray[np.int64]:
    """[texts] the turn (0, 1, …) in which each text is held out: of each class as many in each as
    can be; a class's only text is in none, so its number is `turns`. targets: [texts]."""
    shuffled = generator(seed, FOLDS).permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    number = np.empty(len(targets), np.int64)
    number[by_class] = np.arange(len(targets)) % turns
    number[np.bincount(targets)[targets] == 1] = turns
    return number
