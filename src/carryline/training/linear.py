"""The linear part at its optimum: multinomial logistic regression with an L2 penalty.

Convex, so there is one optimum, which depends on no draw and no rate. Minimised over W and b is

    mean of the texts' cross-entropy of (x W + b)  +  |W|^2 / (2 strength texts)

(Hastie, Tibshirani & Friedman 2009, chapter 4.4) by L-BFGS. One strength fits texts of every kind
since each kind of features has the same size in all: n-grams by their norm, bags by their spread
over the texts to train on. How large the ones are beside the others is another matter: `BALANCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.model.linear import KINDS, Linear, most_features
from carryline.recurrence.sparse import Sparse
from carryline.text.bags import Bags
from carryline.text.cut import Cut
from carryline.text.ngrams import Ngrams
from carryline.training.lbfgs import minimum
from carryline.training.logistic import Problem

Array = NDArray[Any]
Progress = Callable[[], None]
# With a hundredth of that 51 instead of 35 steps on sentences, and a loss of other texts of 0.4201
# both times (docs/log.md).
STEPS, TOLERANCE = 100, 1e-3
# The squared size of a bag's features (docs/accuracy.md): the mean by weight, the plain mean, and
# the largest and smallest together.
WEIGHTED, MEAN, EXTREMES = 1.0, 0.25, 0.1


class Balance(NamedTuple):
    """How much n-grams may tell beside bags: the squared size of words and characters together, and
    the strength that goes with it; and the power of how unevenly an n-gram stands in the classes
    (see `_freedom`) by which it may tell more than others, 0 for all alike."""

    ngrams: float
    strength: float
    uneven: float = 0.0


# What there is to choose from: sentences are best with the first, long texts with the second, in
# which an n-gram is one of hundreds (250 labels: MR 72.8 and 71.8, BBC 95.4 and 95.9). By evenness
# reviews gain most (IMDB 90.8 with the second, 92.5 with the last), with 1,000 labels irony (63.1
# with the first, 64.1 with the third); with as many MR loses (77.3 and 76.6).
BALANCES = (
    Balance(4.0, 4.0),
    Balance(16.0, 16.0),
    Balance(4.0, 4.0, 0.5),
    Balance(16.0, 16.0, 1.0),
)
MANY = 20  # outputs
SMOOTHED = 1.0  # texts with and without an n-gram that every class has beside its own


def worth_trying(outputs: int, bags: bool) -> list[Balance]:
    """Those of `BALANCES` that are fitted to choose from.

    Of many classes a fit takes long (77 of 10,000 texts: 8 s), and by evenness none would be taken
    (Banking77, two splits of the training part: losses of 0.39 and 0.34 with all alike, 0.38 and
    0.40 by it). Without bags the first and the last: IMDB's `small` gains as much
    by two as by four (docs/accuracy.md).
    """
    if not bags:
        return [BALANCES[0], BALANCES[-1]]
    return [*BALANCES[:2]] if outputs > MANY else [*BALANCES]


def fit(
    texts: Sequence[str],
    targets: NDArray[np.int64],
    outputs: int,
    bags: Bags | None,
    balances: Sequence[Balance] = BALANCES[:1],
    *,
    features: int,
    weights: NDArray[np.float32] | None = None,
    threads: int = 1,
    after_step: Progress = lambda: None,
) -> list[Linear]:
    """The linear part for texts and the number of each one's class [texts], in each balance.

    features: n-grams of each kind at most; weights: how much each text counts [texts].
    """
    read = _Read.of(texts, outputs, bags, features, threads)
    tasks = [_Task(read, balance, targets, outputs, threads) for balance in balances]
    return [task.fit(weights, after_step) for task in tasks]


def outside(
    texts: Sequence[str],
    targets: NDArray[np.int64],
    outputs: int,
    bags: Bags | None,
    turn: NDArray[np.int64],
    balance: Balance = BALANCES[0],
    *,
    features: int,
    weights: NDArray[np.float32] | None = None,
    threads: int = 1,
    after_turn: Callable[[int], object] = lambda texts: None,
) -> NDArray[np.float32]:
    """[texts, outputs] each text's logits by a linear part whose labels are those of the other
    turns: out-of-fold predictions.

    turn: the turn in which each text is held out [texts]. The others are as in `fit`, but that
    n-grams are learned, and bags are scaled, once on all texts, which no label has a say in.
    after_turn: called with the number of texts that a turn was about.
    """
    read = _Read.of(texts, outputs, bags, features, threads)
    task = _Task(read, balance, targets, outputs, threads)
    every = np.ones(len(texts), np.float32) if weights is None else weights
    logits = np.empty((len(texts), outputs), np.float32)
    for number in np.unique(turn).tolist():
        held = turn == number
        logits[held] = task.logits(np.where(held, np.float32(0), every))[held]
        after_turn(int(held.sum()))
    return logits


@dataclass(frozen=True, eq=False)
class _Read:
    """What texts are made of. blocks: how much each has of the n-grams; dense: its bag, each
    feature less its `middle` and times its `scale`, all three None without bags."""

    ngrams: Ngrams
    blocks: list[Sparse]
    bags: Bags | None
    dense: Array | None = None
    middle: Array | None = None
    scale: Array | None = None

    @classmethod
    def of(
        cls, texts: Sequence[str], outputs: int, bags: Bags | None, features: int, threads: int
    ) -> _Read:
        cut = Cut.of(texts)
        ngrams = Ngrams.learn(cut, most_features(features, outputs))
        blocks = list(ngrams(cut, threads))
        if bags is None:
            return cls(ngrams, blocks, None)
        dense = bags(cut, threads)
        middle, scale = _spread(dense)
        dense = np.ascontiguousarray((dense - middle) * scale)
        return cls(ngrams, blocks, bags, dense, middle, scale)


@dataclass(frozen=True, eq=False)
class _Task:
    """What there is to fit."""

    read: _Read
    balance: Balance
    targets: NDArray[np.int64]
    outputs: int
    threads: int

    @cached_property
    def size(self) -> np.float32:
        """Of an n-gram's values."""
        size: np.float32 = np.float32((self.balance.ngrams / 2) ** 0.5)
        return size

    @cached_property
    def blocks(self) -> list[Sparse]:
        """Those of the texts in this size; they know their transposed ones from then on."""
        return [Sparse(b.values * self.size, b.ids, b.offsets, b.width) for b in self.read.blocks]

    def fit(self, weights: NDArray[np.float32] | None, after_step: Progress) -> Linear:
        problem, x = self._solved(weights, len(self.targets), after_step)
        a, _, bias = problem.parts(x)
        own, by_dense = problem.by_features(a)
        read, arrays = self.read, dict[str, Array]()
        kinds = read.ngrams.words, read.ngrams.characters
        for name, kind, weight in zip(KINDS, kinds, own, strict=True):
            arrays |= {f"{name}.keys": kind.keys, f"{name}.idf": kind.idf}
            arrays[f"{name}.weight"] = weight * self.size
        if read.middle is not None:
            arrays["bags.weight"] = by_dense * read.scale
            bias = bias - (arrays["bags.weight"] * read.middle).sum(axis=1)
        return Linear(arrays | {"bias": bias}, read.bags)

    def logits(self, weights: NDArray[np.float32]) -> Array:
        """[texts, outputs] of all texts, by those that have a weight above 0."""
        problem, x = self._solved(weights, int(np.count_nonzero(weights)))
        _, z, bias = problem.parts(x)
        return z + bias

    def _solved(
        self, weights: NDArray[np.float32] | None, texts: int, after_step: Progress = lambda: None
    ) -> tuple[Problem, Array]:
        """The problem, and where it is least. texts: how many the penalty is about."""
        freedom, balance = None, self.balance
        if balance.uneven:
            how = self.targets, self.outputs, weights, balance.uneven, self.threads
            freedom = [_freedom(block, *how) for block in self.read.blocks]
        problem = Problem(
            self.blocks, self.read.dense, self.targets, self.outputs, weights,
            balance.strength * texts, freedom, self.threads,
        )  # fmt: skip
        return problem, minimum(
            problem, problem.first(), steps=STEPS, tolerance=TOLERANCE,
            products=problem.products, threads=self.threads, after_step=after_step,
        )  # fmt: skip


def _spread(bags: Array) -> tuple[Array, Array]:
    """The mean of each feature, and what it is multiplied with: each part gets its size."""
    middle = bags.mean(axis=0)
    squares = ((bags - middle) ** 2).mean(axis=0)
    width = len(middle) // 4
    scale = np.empty_like(middle)
    for begin, end, size in (
        (0, width, WEIGHTED), (width, 2 * width, MEAN), (2 * width, 4 * width, EXTREMES)
    ):  # fmt: skip
        total = float(squares[begin:end].sum())
        scale[begin:end] = (size / total) ** 0.5 if total > 0 else 0.0
    return middle, scale


def _freedom(
    block: Sparse, targets: NDArray[np.int64], outputs: int, weights: NDArray[np.float32] | None,
    power: float, threads: int,
) -> Array:  # fmt: skip
    """[width, outputs]: by how much less each weight is penalised than the others of its class,
    |r|^(2 power), where r is the log of the share of the class's texts that have the n-gram over
    that of the others' (the log-count ratio of Wang & Manning 2012, who multiply features by it,
    which with a power of 1 is the same). Its mean by what the n-grams weigh is 1.
    """
    every_class = np.eye(max(2, outputs), dtype=np.float32)[targets]
    classes = np.ascontiguousarray(every_class[:, -outputs:])
    if weights is not None:
        classes = classes * weights[:, None]
    total = np.ones(len(targets), np.float32) if weights is None else weights
    there = Sparse(np.ones_like(block.values), block.ids, block.offsets, block.width)
    own = there.transposed.product(classes, threads).astype(np.float64)
    every = there.transposed.product(total[:, None], threads).astype(np.float64)
    texts, of_class = float(total.sum()), classes.sum(axis=0, dtype=np.float64)
    inside = (own + SMOOTHED) / (of_class + 2 * SMOOTHED)
    outside = (every - own + SMOOTHED) / (texts - of_class + 2 * SMOOTHED)
    free = np.abs(np.log(inside / np.maximum(outside, 1e-12))) ** (2 * power)
    weigh = np.bincount(block.ids, block.values.astype(np.float64) ** 2, block.width)
    mean = weigh @ free / max(float(weigh.sum()), 1e-12)
    found: Array = (free / np.where(mean > 0, mean, 1.0)).astype(np.float32)
    return found
