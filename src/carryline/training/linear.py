"""The linear part at its optimum: multinomial logistic regression with an L2 penalty.

Convex, so there is one optimum, which depends on no draw and no rate. Minimised over W and b is

    mean of the texts' cross-entropy of (x W + b)  +  |W|^2 / (2 STRENGTH texts)

(Hastie, Tibshirani & Friedman 2009, chapter 4.4) by L-BFGS. One strength fits texts of every kind
since each kind of features has the same size in all: n-grams by their norm, bags by their spread
over the texts to train on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model.linear import Linear, most_features
from carryline.recurrence import kernels
from carryline.recurrence.sparse import Sparse
from carryline.text.bags import Bags
from carryline.text.ngrams import Ngrams
from carryline.training import losses
from carryline.training.lbfgs import minimum

Array = NDArray[Any]
Progress = Callable[[], None]
STRENGTH = 4.0
STEPS, TOLERANCE = 100, 1e-4
# The squared size of features (docs/accuracy.md): words and characters together, then of a bag the
# mean by weight, the plain mean, and the largest and smallest together.
NGRAMS, WEIGHTED, MEAN, EXTREMES = 4.0, 1.0, 0.25, 0.1


def fit(
    texts: Sequence[str],
    targets: NDArray[np.int64],
    outputs: int,
    bags: Bags | None,
    *,
    features: int,
    weights: NDArray[np.float32] | None = None,
    threads: int = 1,
    after_step: Progress = lambda: None,
) -> Linear:
    """The linear part for texts and the number of each one's class [texts].

    features: n-grams of each kind at most; weights: how much each text counts [texts].
    """
    ngrams = Ngrams.learn(texts, most_features(features, outputs))
    blocks, size = list(ngrams(texts, threads)), np.float32((NGRAMS / 2) ** 0.5)
    dense = middle = scale = None
    if bags is not None:
        dense = bags(texts, threads)
        middle, scale = _spread(dense)
        dense = np.ascontiguousarray((dense - middle) * scale)
    own, by_dense, bias = _optimum(
        [Sparse(b.values * size, b.ids, b.offsets, b.width) for b in blocks],
        dense, targets, outputs, weights, threads, after_step,
    )  # fmt: skip
    arrays: dict[str, Array] = {}
    for name, features_, weight in zip(
        ("words", "characters"), (ngrams.words, ngrams.characters), own, strict=True
    ):
        arrays |= {f"{name}.keys": features_.keys, f"{name}.idf": features_.idf}
        arrays[f"{name}.weight"] = weight * size
    if middle is not None:
        arrays["bags.weight"] = by_dense * scale
        bias = bias - (arrays["bags.weight"] * middle).sum(axis=1)
    return Linear(arrays | {"bias": bias}, bags)


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


def _optimum(
    blocks: Sequence[Sparse],
    dense: Array | None,
    targets: NDArray[np.int64],
    outputs: int,
    weights: NDArray[np.float32] | None,
    threads: int,
    after_step: Progress,
) -> tuple[list[Array], Array, Array]:
    """The weights of each block [width, outputs], those of dense features [outputs, width], and the
    bias [outputs]."""
    wide = 0 if dense is None else dense.shape[1]
    shapes = [(block.width, outputs) for block in blocks] + [(outputs, wide), (outputs,)]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def parts(x: Array) -> list[Array]:
        return [x[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], shapes, strict=False)]

    def function(x: Array) -> tuple[float, Array]:
        *own, by_dense, bias = parts(x)
        logits = np.tile(bias, (len(targets), 1))
        for block, weight in zip(blocks, own, strict=True):
            logits += block.product(weight, threads)
        if dense is not None:
            layer = kernels.Dense(by_dense, np.zeros_like(bias))
            logits += layer(dense, threads)
        loss, back = losses.loss(logits, targets, weights)
        d, _ = back(1.0)
        found = [block.transposed.product(d, threads) for block in blocks]
        if dense is not None:
            found.append(layer.backward(dense, d, threads)[1])
        gradient = np.concatenate([each.ravel() for each in [*found, d.sum(axis=0)]])
        share, penalised = 1 / (STRENGTH * len(targets)), x[: ends[-2]]
        gradient[: ends[-2]] += np.float32(share) * penalised
        loss += 0.5 * share * float(np.einsum("i,i->", penalised, penalised, dtype=np.float64))
        return loss, gradient

    first = np.zeros(ends[-1], np.float32)
    x = minimum(function, first, steps=STEPS, tolerance=TOLERANCE, after_step=after_step)
    *own, by_dense, bias = parts(x)
    return own, by_dense, bias
