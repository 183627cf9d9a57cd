"""L-BFGS: the minimum of a smooth convex function (Liu & Nocedal 1989; Nocedal & Wright 2006,
algorithm 7.5), its two loops on the products of vectors with each other alone (Chen, Wang & Zhou
2014): what is as long as a point is read twice a step, once for products and once for a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence.sparse import combined, dots

Array = NDArray[Any]
Dots = Callable[[Sequence[Array], Sequence[Array]], Array]
# Its gradient is asked for where a step ends, not at the other points that are tried.
Function = Callable[[Array], tuple[float, Callable[[], Array]]]
# A parabola's least needs values alone, which may cost less than a gradient: 61 instead of 80
# gradients on sentences, 61 instead of 67 with 77 classes.
NEAR = 0.2  # how far off the least of a parabola a step may end, as a share of it
MEMORY = 12  # pairs of steps and changes of the gradient; with 8 of them 61 gradients for 56


def minimum(
    function: Function,
    x: Array,
    *,
    steps: int,
    tolerance: float,
    products: Dots | None = None,
    threads: int = 1,
    after_step: Callable[[], None] = lambda: None,
) -> Array:
    """Where `function`, which gives its value and the way to its gradient, is least; from x on.

    products: of each of some vectors with each of others, where the numbers in x stand for points
    whose inner product is another one than theirs; the gradient is the one by that. Ends after
    `steps` steps, or when ten of them took less than the share `tolerance` off it.
    """
    pairs = _Pairs(products or (lambda ones, others: dots(ones, others, threads)))
    value, back = function(x)
    gradient = back()
    pairs.begin(gradient)
    values = [value]
    for _ in range(steps):
        factors, slope = pairs.newton()
        if not slope < 0:
            break
        direction = combined(factors, [*pairs.vectors, gradient], threads)
        found = _search(function, x, value, direction, slope, threads)
        if found is None:
            break
        nearer, value, back = found
        after = back()
        pairs.append(
            combined(_LESS, [nearer, x], threads),
            combined(_LESS, [after, gradient], threads),
            after,
        )
        x, gradient = nearer, after
        values.append(value)
        after_step()
        if len(values) > 10 and values[-11] - value <= tolerance * abs(value):
            break
    return x


_LESS = np.array([1.0, -1.0])


class _Pairs:
    """The last steps and what the gradient changed by in them, and all products of these and the
    gradient with each other."""

    def __init__(self, products: Dots) -> None:
        self._products = products
        self.vectors: list[Array] = []  # step, change, step, change, …
        self._table = np.zeros((1, 1))  # the last row and column are the gradient's

    def begin(self, gradient: Array) -> None:
        self._table = self._products([gradient], [gradient])

    def append(self, step: Array, change: Array, gradient: Array) -> None:
        """One more pair, and the gradient after it."""
        vectors = [*self.vectors, step, change]
        new = self._products([step, change, gradient], [*vectors, gradient])
        # A product may differ by its order, and all are divided by. None at all: rounding alone.
        if not min(new[0, -2], new[1, -3], new[1, -2]) > 0:
            self._table[-1] = self._table[:, -1] = np.delete(new[2], [-3, -2])
            return
        table = np.empty((len(vectors) + 1,) * 2)
        table[:-3, :-3] = self._table[:-1, :-1]
        table[-3:] = new
        table[:, -3:] = new.T
        gone = max(0, len(vectors) - 2 * MEMORY)
        self.vectors, self._table = vectors[gone:], table[gone:, gone:]

    def newton(self) -> tuple[Array, float]:
        """The way down, by the inverse of the second derivatives as far as the pairs know them: how
        often each of `vectors` and the gradient is in it; and its product with the gradient."""
        table, last = self._table, len(self._table) - 1
        factors, shares = np.zeros(last + 1), []
        factors[last] = 1.0
        for step in range(last - 2, -1, -2):
            shares.append(float(table[step] @ factors) / table[step, step + 1])
            factors[step + 1] -= shares[-1]
        if last:
            factors *= table[last - 2, last - 1] / table[last - 1, last - 1]
        else:
            factors *= min(1.0, table[0, 0] ** -0.5) if table[0, 0] > 0 else 0.0
        for step in range(0, last, 2):
            factors[step] += shares.pop() - float(table[step + 1] @ factors) / table[step, step + 1]
        return -factors, -float(table[last] @ factors)


def _search(
    function: Function, x: Array, value: float, direction: Array, slope: float, threads: int
) -> tuple[Array, float, Callable[[], Array]] | None:
    """A point along the direction that is enough lower (Armijo); None when rounding hides any.

    Tried are the whole direction and where the parabola through its values is least.
    """
    share, found = 1.0, None
    for _ in range(20):
        nearer = combined(np.array([1.0, share]), [x, direction], threads)
        lower, gradient = function(nearer)
        enough = lower <= value + 1e-4 * share * slope
        if found is not None and not (enough and lower < found[1]):
            return found
        if enough and found is not None:
            return nearer, lower, gradient
        bend = (lower - value) / share - slope
        least = -slope * share / (2 * bend) if bend > 0 else 2 * share
        if enough:
            found = nearer, lower, gradient
            if abs(least - share) <= NEAR * share:
                return found
            share = min(least, 4 * share)
        else:
            share = min(max(least, share / 10), share / 2)
    return found
