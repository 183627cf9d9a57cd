"""Derivatives in tests: a function's own against central finite differences, in float64.

With a step of 1e-5 along a unit vector, differences of values of order 1 are rounded by some
1e-16 / 1e-5 = 1e-11, and what they leave out is 1e-10 / 6 of the third derivative. 1e-8 is some
hundred times that; a forgotten term or factor is off by the size of the derivative itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from carryline.training.stages import Back, Rows, States

STEP, TOLERANCE, DIRECTIONS = 1e-5, 1e-8, 3
Arrays = dict[str, Any]


def dense(gradient: Any, shape: tuple[int, ...]) -> Any:
    """An array, also of a gradient by rows."""
    if not isinstance(gradient, Rows):
        return gradient
    whole = np.zeros(shape)
    whole[gradient.ids] = gradient.values
    return whole


def assert_derivatives(
    value: Callable[[Arrays], float],
    given: Arrays,
    gradients: Mapping[str, Any],
    rng: np.random.Generator,
) -> None:
    """`gradients` are those of `value` by all that is given: along a few random directions each."""
    assert gradients.keys() == given.keys()
    for name, array in given.items():
        gradient = dense(gradients[name], array.shape)
        assert gradient.shape == array.shape, name
        assert gradient.dtype == np.float64, name
        for _ in range(DIRECTIONS if array.size else 0):
            way = rng.standard_normal(array.shape)
            way *= STEP / np.linalg.norm(way)
            ahead, behind = (value(given | {name: array + sign * way}) for sign in (1, -1))
            found, expected = float((gradient * way).sum()) / STEP, (ahead - behind) / (2 * STEP)
            most = TOLERANCE * max(1.0, float(np.linalg.norm(gradient)))
            assert abs(found - expected) < most, (name, found, expected)


def assert_way_back(
    stage: Callable[[Arrays], tuple[Any, Back]], given: Arrays, rng: np.random.Generator
) -> None:
    """A stage's way back, of a random product with its output. "x" in `given` is its input."""
    out, back = stage(given)
    factor = _factor(out, rng)
    by_x, gradients = back(factor)
    if "x" in given:
        gradients = gradients | {"x": by_x}
    assert_derivatives(lambda changed: _product(stage(changed)[0], factor), given, gradients, rng)


def _factor(out: Any, rng: np.random.Generator) -> Any:
    if isinstance(out, States):
        return States(*(None if part is None else _factor(part, rng) for part in out))
    return rng.standard_normal(np.shape(out))


def _product(out: Any, factor: Any) -> float:
    if isinstance(out, States):
        pairs = zip(out, factor, strict=True)
        return sum(_product(part, own) for part, own in pairs if part is not None)
    return float((out * factor).sum())
