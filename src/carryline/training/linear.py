"""The linear part at its optimum: multinomial logistic regression with an L2 penalty.

Convex, so there is one optimum, which depends on no draw and no rate. Minimised over W and b is

    mean of the texts' cross-entropy of (x W + b)  +  |W|^2 / (2 strength texts)

(Hastie, Tibshirani & Friedman 2009, chapter 4.4) by L-BFGS; the features x of a text are scaled so
that one strength fits texts of every kind (see `linear.py` of the models).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import kernels
from carryline.recurrence.sparse import Sparse
from carryline.training import losses
from carryline.training.lbfgs import minimum

Array = NDArray[Any]
STEPS, TOLERANCE = 100, 1e-4


def fit(
    blocks: Sequence[Sparse],
    dense: Array | None,
    targets: NDArray[np.int64],
    outputs: int,
    *,
    strength: float,
    weights: NDArray[np.float32] | None,
    threads: int,
    after_step: Callable[[], None] = lambda: None,
) -> tuple[list[Array], Array, Array]:
    """The weights of each block [width, outputs], those of the dense features [outputs, width], and
    the bias [outputs].

    blocks: sparse features [texts, width]; dense: more of them [texts, width] or None; weights: how
    much each text counts [texts].
    """
    wide = 0 if dense is None else dense.shape[1]
    shapes = [(block.width, outputs) for block in blocks] + [(outputs, wide), (outputs,)]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def parts(x: Array) -> list[Array]:
        return [x[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], shapes, strict=False)]

    def function(x: Array) -> tuple[float, Array]:
        *own, by_dense, bias = parts(x)
        logits = np.broadcast_to(bias, (len(targets), outputs)).copy()
        for block, weight in zip(blocks, own, strict=True):
            logits += block.product(weight, threads)
        layer = None
        if dense is not None:
            layer = kernels.Dense(by_dense, np.zeros_like(bias))
            logits += layer(dense, threads)
        loss, back = losses.loss(logits, targets, weights)
        d, _ = back(1.0)
        found = [block.transposed.product(d, threads) for block in blocks]
        found.append(np.zeros((outputs, 0), x.dtype))
        if layer is not None:
            found[-1] = layer.backward(dense, d, threads)[1]
        gradient = np.concatenate([each.ravel() for each in [*found, d.sum(axis=0)]])
        share = 1 / (strength * len(targets))
        penalised = x[: ends[-2]]
        gradient[: ends[-2]] += share * penalised
        loss += 0.5 * share * float(np.einsum("i,i->", penalised, penalised, dtype=np.float64))
        return loss, gradient

    x = minimum(
        function, np.zeros(ends[-1], np.float32),
        steps=STEPS, tolerance=TOLERANCE, after_step=after_step,
    )  # fmt: skip
    *own, by_dense, bias = parts(x)
    return own, by_dense, bias
