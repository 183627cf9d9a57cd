"""Logistic regression with an L2 penalty, as a function of a coefficient of each text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import kernels
from carryline.recurrence.sparse import Sparse, dots
from carryline.training import losses

Array = NDArray[Any]


class Problem:
    """The function to minimise, of coefficients of texts.

    An optimum, and every point on the way to it from 0, is W = X^T A with a coefficient A [texts,
    outputs] of each text, for so are all gradients: X^T (D + share A), where D is that by the
    logits. So a point is A, X W (its logits, linear in A as well) and b side by side: as many
    numbers as texts have logits twice, where W has a million, and W is made once, at the end.
    Inner products are those of W: of one's A with the other's X W. With `freedom` F the penalty is
    |W|^2 / F, value by value, and W = F X^T A. strength: of `Balance`, times the number of texts.
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
        self._share = 1 / strength

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
