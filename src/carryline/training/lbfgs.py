"""L-BFGS: the minimum of a smooth convex function (Liu & Nocedal 1989; Nocedal & Wright 2006,
algorithm 7.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MEMORY = 8  # pairs of steps and changes of the gradient


def minimum(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    *,
    steps: int,
    tolerance: float,
    after_step: Callable[[], None] = lambda: None,
) -> Array:
    """Where `function`, which gives its value and its gradient, is least; from x on.

    Ends after `steps` steps, or when ten of them took less than the share `tolerance` off it.
    """
    value, gradient = function(x)
    pairs: deque[tuple[Array, Array, float]] = deque(maxlen=MEMORY)
    values = [value]
    for _ in range(steps):
        direction = -_newton(gradient, pairs)
        slope = _dot(direction, gradient)
        if slope >= 0:
            break
        share = 1.0 if pairs else min(1.0, 1 / _dot(gradient, gradient) ** 0.5)
        found = _search(function, x, value, direction, slope, share)
        if found is None:
            break
        nearer, value, after = found
        step, change = nearer - x, after - gradient
        curvature = _dot(step, change)
        if curvature > 0:
            pairs.append((step, change, curvature))
        x, gradient = nearer, after
        values.append(value)
        after_step()
        if len(values) > 10 and values[-11] - value <= tolerance * abs(value):
            break
    return x


def _newton(gradient: Array, pairs: deque[tuple[Array, Array, float]]) -> Array:
    """The gradient by the inverse of the second derivatives, as far as the pairs know them."""
    q: Array = gradient.copy()
    shares: list[float] = []
    for step, change, curvature in reversed(pairs):
        share = _dot(step, q) / curvature
        shares.append(share)
        q -= share * change
    if pairs:
        _, change, curvature = pairs[-1]
        q *= curvature / _dot(change, change)
    for (step, change, curvature), share in zip(pairs, reversed(shares), strict=True):
        q += (share - _dot(change, q) / curvature) * step
    return q


def _search(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    value: float,
    direction: Array,
    slope: float,
    share: float,
) -> tuple[Array, float, Array] | None:
    """A point along the direction that is enough lower (Armijo); None when rounding hides any."""
    for _ in range(20):
        nearer = x + share * direction
        lower, gradient = function(nearer)
        if lower <= value + 1e-4 * share * slope:
            return nearer, lower, gradient
        share /= 2
    return None


def _dot(a: Array, b: Array) -> float:
    """By einsum, not BLAS, whose threads would share the sum out in their own way."""
    return float(np.einsum("i,i->", a, b, dtype=np.float64))
