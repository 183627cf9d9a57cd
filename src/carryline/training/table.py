"""The embedding of a run with word vectors: trained are the rows of the training texts alone.

A word that no training text has keeps its vector to the bit, whatever the weight decay, and takes
no room beside the weights: a step would change nothing but what is read. So a run works on a matrix
of these rows, and its result is put back among the others at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.model.lexicon import rounded
from carryline.text.vectors import Vectors
from carryline.training import loop
from carryline.training.draws import WORDS, generator
from carryline.training.loop import Labelled, Run
from carryline.training.model import EMBEDDING

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Table:
    """first: [rows, width] what the run begins with; trained: the rows of training texts and of
    <pad>, rising; held: those of validation texts alone, which are read but not changed."""

    first: Floats
    trained: NDArray[np.int64]
    held: NDArray[np.int64]

    @staticmethod
    def of(first: Floats, data: Labelled, valid: Labelled | None) -> Table:
        """For texts as rows of `first`."""
        trained = np.unique(np.append(data.ragged.values, network.PAD)).astype(np.int64)
        read = trained if valid is None else np.unique(valid.ragged.values)
        return Table(first, trained, np.setdiff1d(read, trained).astype(np.int64))

    def numbered(self, data: Labelled) -> Labelled:
        """The texts as rows of the run's matrix: the trained rows, then the held ones."""
        number = np.zeros(len(self.first), np.int32)
        own = np.concatenate([self.trained, self.held])
        number[own] = np.arange(len(own))
        return replace(data, ragged=data.ragged.like(number[data.ragged.values]))

    def whole(self, trained: Floats) -> Floats:
        """All rows, the trained ones with these values: `first` becomes it."""
        self.first[self.trained] = trained
        return self.first


def train(run: Run, data: Labelled, valid: Labelled | None, vectors: Vectors) -> None:
    """`loop.train` on texts as rows of an embedding that ends with the vectors, for a run whose
    `vocabulary` is the number of its rows; the kept weights have all of them."""
    known = (run.start or {}).get(EMBEDDING)
    others = run.vocabulary - len(vectors.words)
    first = first_rows(vectors, others, run.config.seed) if known is None else known.copy()
    table = Table.of(first, data, valid)
    run.vocabulary, run.held = len(table.trained), table.first[table.held]
    run.start = {**(run.start or {}), EMBEDDING: table.first[table.trained]}
    held = None if valid is None else table.numbered(valid)
    loop.train(run, table.numbered(data), held)
    run.best = {**run.best, EMBEDDING: table.whole(run.best[EMBEDDING])}


def first_rows(vectors: Vectors, others: int, seed: int) -> Floats:
    """So many rows as small as those of a run without vectors, then the vectors as they are.

    What is known of a word weighs more than what is not: skip-gram's values are around 0.2.
    """
    width = vectors.matrix.shape[1]
    drawn = generator(seed, WORDS).uniform(-0.05, 0.05, (others, width)).astype(np.float32)
    return np.concatenate([rounded(drawn), vectors.matrix])
