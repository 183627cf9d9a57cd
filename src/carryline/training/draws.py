"""What is drawn at random in training: each purpose, epoch and step has numbers of its own.

Philox (Salmon et al. 2011) gives the numbers of any place of its sequence at once, so a run that is
resumed needs no generator's state, and nothing else in the process draws from it.
"""

from __future__ import annotations

import numpy as np

# What for: the first weights, an epoch's batches, a step's dropout, an epoch of word vectors, first
# weights of what is no word of vectors, in which turn a text is held out, words that stand for all
# in a language model.
WEIGHTS, ORDER, DROPOUT, VECTORS, WORDS, FOLDS, LANGUAGE = range(7)


def generator(seed: int, purpose: int, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """The numbers of one purpose, epoch and step (from 0), for a seed below 2**64."""
    philox = np.random.Philox(counter=[0, 0, step, epoch], key=[seed, purpose])
    return np.random.Generator(philox)
