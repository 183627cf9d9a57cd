"""The linear part at its optimum: multinomial logistic regression with an L2 penalty.

Convex, so there is one optimum, which depends on no draw and no rate. Minimised over W and b is

    mean of the texts' cross-entropy of (x W + b)  +  |W|^2 / (2 strength texts)

(Hastie, Tibshirani & Friedman 2009, chapter 4.4) by L-BFGS. One strength fits texts of every kind
since each kind of features has the same size in all: n-grams by their norm, bags by their spread
over the texts to train on. How large the ones are beside the others is another matter: `BALANCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.model.linear import KINDS, Linear, most_features
from carryline.recurrence import kernels
from carryline.recurrence.sparse import Sparse, dots
from carryline.text.bags import Bags
from carryline.text.cut import Cut
from carryline.text.ngrams import Ngrams
from carryline.training import losses
from carryline.training.lbfgs import minimum

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
SMOOTHED = 1.0  # texts with and without an n-gram that every class has beside its own


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
    cut = Cut.of(texts)
    ngrams = Ngrams.learn(cut, most_features(features, outputs))
    blocks, dense, middle, scale = list(ngrams(cut, threads)), None, None, None
    if bags is not None:
        dense = bags(cut, threads)
        middle, scale = _spread(dense)
        dense = np.ascontiguousarray((dense - middle) * scale)
    found = []
    for balance in balances:
        freedom = None
        if balance.uneven:
            how = targets, outputs, weights, balance.uneven, threads
            freedom = [_freedom(block, *how) for block in blocks]
        size = np.float32((balance.ngrams / 2) ** 0.5)
        problem = _Problem(
            [Sparse(b.values * size, b.ids, b.offsets, b.width) for b in blocks],
            dense, targets, outputs, weights, balance.strength, freedom, threads,
        )  # fmt: skip
        x = minimum(
            problem, problem.first(), steps=STEPS, tolerance=TOLERANCE,
            products=problem.products, threads=threads, after_step=after_step,
        )  # fmt: skip
        a, _, bias = problem.parts(x)
        own, by_dense = problem.by_features(a)
        arrays: dict[str, Array] = {}
        for name, kind, weight in zip(KINDS, (ngrams.words, ngrams.characters), own, strict=True):
            arrays |= {f"{name}.keys": kind.keys, f"{name}.idf": kind.idf}
            arrays[f"{name}.weight"] = weight * size
        if middle is not None:
            arrays["bags.weight"] = by_dense * scale
            bias = bias - (arrays["bags.weight"] * middle).sum(axis=1)
        found.append(Linear(arrays | {"bias": bias}, bags))
    return found


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


class _Problem:
    """The function to minimise, of coefficients of texts.

    An optimum, and every point on the way to it from 0, is W = X^T A with a coefficient A [texts,
    outputs] of each text, for so are all gradients: X^T (D + share A), where D is that by the
    logits. So a point is A, X W (its logits, linear in A as well) and b side by side: as many
    numbers as texts have logits twice, where W has a million, and W is made once, at the end.
    Inner products are those of W: of one's A with the other's X W. With `freedom` F the penalty is
    |W|^2 / F, value by value, and W = F X^T A.
    """

    def __init__(
        self,
        blocks: Sequence[Sparse],
        dense: Array | None,
        targets: NDArray[np.int64],
        outputs: int,
        weights: NDArray[np.float32] | None,
        strength: float,
        freedom: Sequence[Array] | None,
        threads: int,
    ) -> None:
        self._blocks, self._dense, self._threads = blocks, dense, threads
        self._freedom = freedom
        self._targets, self._weights = targets, weights
        self._shape, self._count = (len(targets), outputs), len(targets) * outputs
        self._share = 1 / (strength * len(targets))

    def first(self) -> Array:
        return np.zeros(2 * self._count + self._shape[1], np.float32)

    def parts(self, x: Array) -> tuple[Array, Array, Array]:
        """A and X W [texts, outputs], and b."""
        count, shape = self._count, self._shape
        return x[:count].reshape(shape), x[count : 2 * count].reshape(shape), x[2 * count :]

    def by_features(self, d: Array) -> tuple[list[Array], Array]:
        """X^T d, of each block [width, outputs], and of dense features [outputs, width]."""
        by_dense = np.zeros((d.shape[1], 0), d.dtype)
        if self._dense is not None:
            by_dense = kernels.outer(d, self._dense, self._threads)
        own = [b.transposed.product(d, self._threads) for b in self._blocks]
        if self._freedom is not None:
            own = [by * free for by, free in zip(own, self._freedom, strict=True)]
        return own, by_dense

    def of_texts(self, own: Sequence[Array], by_dense: Array) -> Array:
        """X W [texts, outputs] of such."""
        out = np.zeros(self._shape, by_dense.dtype)
        if self._dense is not None:
            out = kernels.Dense(by_dense, out[0])(self._dense, self._threads)
        for block, weight in zip(self._blocks, own, strict=True):
            out += block.product(weight, self._threads)
        return out

    def __call__(self, x: Array) -> tuple[float, Callable[[], Array]]:
        """The value, which needs no product with X, and the way to the gradient."""
        a, z, bias = self.parts(x)
        loss, back = losses.loss(z + bias, self._targets, self._weights)
        squares = float(dots([a.reshape(-1)], [z.reshape(-1)], self._threads)[0, 0])  # |W|^2

        def gradient() -> Array:
            d, _ = back(1.0)
            by_x = np.empty_like(x)
            by_a, by_z, by_bias = self.parts(by_x)
            share = x.dtype.type(self._share)
            np.add(d, share * a, out=by_a)
            np.add(self.of_texts(*self.by_features(d)), share * z, out=by_z)
            d.sum(axis=0, out=by_bias)
            return by_x

        return loss + 0.5 * self._share * squares, gradient

    def products(self, ones: Sequence[Array], others: Sequence[Array]) -> Array:
        """Inner products of points."""
        count = self._count
        a, z = [x[:count] for x in ones], [x[count : 2 * count] for x in others]
        biases = [x[2 * count :] for x in ones], [x[2 * count :] for x in others]
        return dots(a, z, self._threads) + dots(*biases, 1)
