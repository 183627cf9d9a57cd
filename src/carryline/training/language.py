"""A language model in both directions: a recurrent layer that learns to read word vectors.

It reads stretches of text, from each word's vector alone, and tells the word beside each place: the
forward direction the next one, the backward direction the one before (Peters et al. 2018, here of
one layer). What is kept of it is the layer, with which a classifier's begins (Dai & Le 2015). The
vectors stay as they are; what tells words from states is a matrix of its own, shared by both
directions and not kept.

A state s gives the word w the score s y_w + b_w. Of the words beside the right one k are drawn for
a batch, each by its chance q, its count to the power of 0.75, and stand for all (sampled softmax,
Jean et al. 2015):

    loss = log(e^score_w + sum over drawn n other than w of e^score_n / (k q_n)) - score_w

A step is Adam's; its rate rises over the first three hundredths of the run and falls as a cosine.
What is drawn depends on the seed, the pass and the step alone, and every sum has one order: same
texts, same bits, on any number of threads and however often the run was stopped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.model.config import Config
from carryline.recurrence import cells, kernels, memory
from carryline.recurrence.ragged import Plan, Ragged, offsets_of
from carryline.training import stages
from carryline.training.adam import Adam
from carryline.training.draws import DROPOUT, LANGUAGE, ORDER, WEIGHTS, generator
from carryline.training.model import initial_weights
from carryline.training.skipgram import Settings, drawn_by
from carryline.training.stages import Back, Gradients, Rows, States, Way

Array = NDArray[Any]
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

TOGETHER = 7000  # words of a batch, about
SHORTEST, LONGEST = 24, 127  # words of a stretch, but where a text ends
DRAWN = 384  # words that stand for all others in a batch
RATE, WARMUP, CLIP, DROPPED = 2e-3, 0.03, 1.0, 0.1
NAMES = "recurrence."


class LanguageModel:
    """vectors: [words, width], read and not changed; counts: [words]."""

    def __init__(
        self, settings: Settings, counts: NDArray[np.int64], vectors: Floats, threads: int
    ) -> None:
        self.settings, self._vectors, self._threads = settings, vectors, threads
        self._config = layer_config(vectors.shape[1], settings.hidden)
        self._drawn = drawn_by(counts)
        self._bounds = np.cumsum(self._drawn)
        rng = generator(settings.seed, WEIGHTS, 1)
        first = initial_weights(self._config, 1, 1, rng)
        weights = {name: value for name, value in first.items() if name.startswith(NAMES)}
        weights["words.weight"] = np.zeros((len(counts), settings.hidden), np.float32)
        share = np.maximum(counts, 1) / counts.sum()
        weights["words.bias"] = np.log(share).astype(np.float32)[:, None]
        rows = [name for name in weights if not name.startswith(NAMES)]
        self.optimizer = Adam(weights, clip=CLIP, rows=rows, threads=threads)
        self._readable = self.optimizer.readable()

    @property
    def layer(self) -> dict[str, Floats]:
        """The recurrent layer's weights, as a network of `layer_config` has them."""
        weights = self.optimizer.weights
        return {name: value for name, value in weights.items() if name.startswith(NAMES)}

    def step(self, texts: Ragged, place: tuple[int, int], done: float) -> tuple[float, int]:
        """Learn from stretches of word numbers. The loss of all words that were to be told, added
        up, and how many these are; without any nothing changes.

        place: the pass and the step in it, from 0; done: the share of the run before this step.
        """
        plan, seed = texts.plan, self.settings.seed
        later = followers(texts.offsets)
        right = np.concatenate([texts.values[later], texts.values[later - 1]])
        if not len(right):
            return 0.0, 0
        rng = generator(seed, LANGUAGE, *place)
        others = np.searchsorted(self._bounds, rng.random(DRAWN) * self._bounds[-1], "right")
        way = Way()
        with memory.passing():
            ids, row = kernels.distinct(texts.values, plan, len(self._vectors))
            x = way(stages.dropout(
                self._vectors[ids], DROPPED, generator(seed, DROPOUT, *place), self._threads
            ))  # fmt: skip
            layer = network.layer(self._config, self.optimizer.weights, 0)
            packed = stages.packed(cells.LSTM, layer, "fp32", self._threads)
            states = way(stages.recurrence(packed, plan, x, row, self._threads), "recurrence")
            x = way(towards(states, plan, later))
            loss = way(
                told(self._readable, x, right, others, self._drawn[others], self._threads), "words"
            )
            _, gradients = way.back(1.0)
            self.optimizer.step(gradients, rate(done))
        return loss * len(right), len(right)


def layer_config(width: int, hidden: int) -> Config:
    """Of the network whose recurrent layer it is."""
    return Config(embedding=width, cell="lstm", hidden=(hidden,), bidirectional=True, dense=0)


def rate(done: float) -> float:
    """The learning rate after this share of the run."""
    return RATE * min(1.0, (done + 1e-3) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def stretches(ids: NDArray[np.int32], seed: int, number: int) -> tuple[Ids, Ids, Ids]:
    """How pass `number` goes through the words `ids`, below 0 where a text ends.

    Begin and end of each stretch, in the order in which they are read, and the number of the first
    stretch of each batch and, last, how many there are. No stretch goes beyond a text; of one word
    there is nothing to tell.
    """
    rng = generator(seed, ORDER, number)
    ends = np.flatnonzero(ids < 0)
    most = len(ids) // SHORTEST + 1
    cuts = np.cumsum(rng.integers(SHORTEST, LONGEST + 1, most))
    bounds = np.unique(np.concatenate([[-1], ends, cuts[cuts < len(ids)] - 1, [len(ids) - 1]]))
    begin, end = bounds[:-1] + 1, bounds[1:] + 1
    end = end - (ids[end - 1] < 0)
    long = end - begin > 1
    order = rng.permutation(int(long.sum()))
    begin, end = begin[long][order], end[long][order]
    number_of_batch = np.cumsum(end - begin) // TOGETHER
    firsts = np.flatnonzero(np.diff(number_of_batch, prepend=-1) > 0)
    return begin, end, np.append(firsts, len(begin))


def batch(ids: NDArray[np.int32], begin: Ids, end: Ids) -> Ragged:
    """The words of some stretches."""
    values = [ids[first:last] for first, last in zip(begin, end, strict=True)]
    return Ragged(np.concatenate(values), offsets_of(end - begin))


def followers(offsets: Ids) -> Ids:
    """The places of all words but the first ones of their texts."""
    inner = np.ones(int(offsets[-1]), bool)
    inner[offsets[:-1][np.diff(offsets) > 0]] = False
    return np.flatnonzero(inner)


def towards(states: States, plan: Plan, later: Ids) -> tuple[Array, Back]:
    """The states that are to tell the words at places `later`, and those before them: the forward
    direction's at the places before, below them the backward direction's at `later` itself
    [2 * places, hidden]."""
    assert states.all is not None
    both, hidden = states.all, states.all.shape[1] // 2
    ahead, back = plan.inverse_positions[later - 1], plan.inverse_positions[later]

    def by_states(d: Array) -> tuple[States, Gradients]:
        by_all = np.zeros_like(both)
        by_all[ahead, :hidden] = d[: len(ahead)]
        by_all[back, hidden:] = d[len(ahead) :]
        return States(all=by_all), {}

    return np.concatenate([both[ahead, :hidden], both[back, hidden:]]), by_states


def told(
    weights: Any, x: Array, right: NDArray[np.int32], others: Ids, chances: Array, threads: int
) -> tuple[float, Back]:
    """The mean loss of states x [places, hidden], each of which is to tell a word `right`.

    weights: `words.weight` and `words.bias`, read by rows; others: the words that were drawn, and
    their chances [drawn].
    """
    ids, number = np.unique(np.concatenate([right, others]), return_inverse=True)
    matrix, bias = weights["words.weight"][ids], weights["words.bias"][ids][:, 0]
    own, drawn = number[: len(right)], number[len(right) :]
    order = np.argsort(own, kind="stable")
    ends = np.cumsum(np.bincount(own, minlength=len(ids)))
    some = matrix[drawn]
    apart = np.log(len(others) * chances).astype(x.dtype)
    scores = kernels.Dense(some, bias[drawn] - apart)(x, threads)
    scores[_same(order, ends, drawn)] = -np.inf
    score = np.einsum("ij,ij->i", x, matrix[own]) + bias[own]
    highest = np.maximum(scores.max(axis=1), score)
    np.subtract(scores, highest[:, None], out=scores)
    np.exp(scores, out=scores)
    score -= highest
    shares = np.exp(score)
    sums = scores.sum(axis=1) + shares
    mean = float((np.log(sums) - score).mean())

    def back(d: float) -> tuple[Array, Gradients]:
        factor = d / len(x)
        by_own = ((shares / sums - 1) * factor).astype(x.dtype)
        by_scores = np.multiply(scores, (factor / sums)[:, None], out=scores, casting="same_kind")
        by_x, by_some = kernels.Dense(some, apart).backward(x, by_scores, threads)
        by_x += by_own[:, None] * matrix[own]
        by_matrix, by_bias = (
            _by_word(order, ends, of_own, drawn, of_drawn)
            for of_own, of_drawn in (
                (by_own[:, None] * x, by_some), (by_own, by_scores.sum(axis=0)),
            )
        )  # fmt: skip
        return by_x, {"weight": Rows(ids, by_matrix), "bias": Rows(ids, by_bias[:, None])}

    return mean, back


def _same(order: Ids, ends: Ids, drawn: Ids) -> tuple[Ids, Ids]:
    """Rows and columns of the scores where the word that was drawn is the one to be told.

    order: the rows by their words; ends: where those of each word end in it.
    """
    begin = np.append(0, ends)[drawn]
    often = ends[drawn] - begin
    before = np.cumsum(often) - often
    at = np.arange(int(often.sum())) + np.repeat(begin - before, often)
    return order[at], np.repeat(np.arange(len(drawn)), often)


def _by_word(order: Ids, ends: Ids, of_own: Array, drawn: Ids, of_drawn: Array) -> Array:
    """Sums [words, ...] of what each place gives to its own word and what the drawn ones get."""
    sums = np.zeros((len(ends), *of_own.shape[1:]), of_own.dtype)
    found = np.flatnonzero(np.diff(ends, prepend=0))
    sums[found] = np.add.reduceat(of_own[order], np.append(0, ends)[found])
    np.add.at(sums, drawn, of_drawn)
    return sums
