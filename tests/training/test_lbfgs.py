"""L-BFGS against minima that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from carryline.recurrence.sparse import dots
from carryline.training import lbfgs

Array = np.ndarray[Any, Any]


def minimum(function: Callable[[Array], tuple[float, Array]], x: Array, **how: Any) -> Array:
    """Of a function that gives its gradient at once."""

    def lazy(x: Array) -> tuple[float, Callable[[], Array]]:
        value, gradient = function(x)
        return value, lambda: gradient

    found: Array = lbfgs.minimum(lazy, x, **how)
    return found


def quadratic(dtype: Any = np.float64, size: int = 60, worst: float = 300.0) -> Any:
    """1/2 x' H x - b' x with second derivatives from 1 to `worst`, and where it is least."""
    draw = np.random.default_rng(0)
    turn, _ = np.linalg.qr(draw.standard_normal((size, size)))
    h = (turn * np.geomspace(1, worst, size)) @ turn.T
    b = draw.standard_normal(size)

    def function(x: Array) -> tuple[float, Array]:
        wide = x.astype(np.float64)
        return float(0.5 * wide @ h @ wide - b @ wide), (h @ wide - b).astype(dtype)

    return function, np.linalg.solve(h, b)


@pytest.mark.parametrize(("dtype", "near"), [(np.float64, 1e-5), (np.float32, 1e-3)])
def test_quadratic(dtype: Any, near: float) -> None:
    function, wanted = quadratic(dtype)
    found = minimum(function, np.zeros(60, dtype), steps=300, tolerance=1e-13)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, atol=near)


def test_it_needs_far_fewer_steps_than_the_gradient_alone() -> None:
    """Steepest descent takes off a share of 4 / 300 a step: 1,000 steps for the same."""
    function, wanted = quadratic()
    found = minimum(function, np.zeros(60), steps=80, tolerance=0)
    assert function(found)[0] - function(wanted)[0] < 1e-6 * abs(function(wanted)[0])


def test_a_curved_valley_that_is_convex() -> None:
    """Rosenbrock's with the parabola taken out: the fourth power is flat where it is least."""

    def function(x: Array) -> tuple[float, Array]:
        valley, along = x[1] - x[0], x[0] - 1
        value = 100 * valley**2 + along**4 + along**2
        slope = 4 * along**3 + 2 * along
        return float(value), np.array([slope - 200 * valley, 200 * valley])

    found = minimum(function, np.array([-1.2, 1.0]), steps=200, tolerance=1e-14)
    np.testing.assert_allclose(found, [1, 1], atol=1e-5)


def test_flat() -> None:
    x = np.arange(4.0)
    calls: list[None] = []
    found = minimum(
        lambda x: (3.0, np.zeros_like(x)), x, steps=9, tolerance=0,
        after_step=lambda: calls.append(None),
    )  # fmt: skip
    assert found.tolist() == x.tolist()
    assert not calls


def test_already_at_the_minimum() -> None:
    function, wanted = quadratic()
    found = minimum(function, wanted.copy(), steps=20, tolerance=1e-9)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_never_higher() -> None:
    """Also where the first step goes much too far."""
    values = []

    def function(x: Array) -> tuple[float, Array]:
        values.append(float(1e6 * np.cosh(x - 3).sum()))
        return values[-1], 1e6 * np.sinh(x - 3)

    found = minimum(function, np.zeros(2), steps=50, tolerance=1e-12)
    np.testing.assert_allclose(found, 3, atol=1e-4)
    assert function(found)[0] <= min(values)


def test_steps_are_counted_and_ended() -> None:
    function, _ = quadratic()
    for steps, tolerance, least, most in ((5, 0.0, 5, 5), (300, 1e-2, 10, 40)):
        calls: list[None] = []
        minimum(
            function, np.zeros(60), steps=steps, tolerance=tolerance,
            after_step=lambda calls=calls: calls.append(None),
        )  # fmt: skip
        assert least <= len(calls) <= most


def test_another_inner_product_is_another_system_of_coordinates() -> None:
    """x = M y: steps in y by M's product are those in x by the plain one."""
    function, _ = quadratic(size=20)
    m = np.diag(np.linspace(0.5, 2, 20))

    def by_y(y: Array) -> tuple[float, Array]:
        value, gradient = function(m @ y)
        return value, np.linalg.solve(m, gradient)

    def products(ones: Sequence[Array], others: Sequence[Array]) -> Array:
        return dots([m @ each for each in ones], [m @ each for each in others], 1)

    plain = minimum(function, np.zeros(20), steps=12, tolerance=0)
    found = minimum(by_y, np.zeros(20), steps=12, tolerance=0, products=products)
    np.testing.assert_allclose(m @ found, plain, rtol=1e-6, atol=1e-8)


def test_threads_and_runs_give_the_same_bits() -> None:
    draw = np.random.default_rng(0)
    scale = draw.uniform(0.1, 3, 300_000).astype(np.float32)
    middle = draw.standard_normal(300_000).astype(np.float32)

    def function(x: Array) -> tuple[float, Array]:
        by_x = scale * (x - middle)
        return 0.5 * float(np.sum((x - middle) * by_x, dtype=np.float64)), by_x

    first = np.zeros(300_000, np.float32)
    one = minimum(function, first, steps=8, tolerance=0)
    assert minimum(function, first, steps=8, tolerance=0, threads=3).tobytes() == one.tobytes()
    assert not first.any()


def test_a_gradient_is_asked_for_once_a_step() -> None:
    function, _ = quadratic()
    asked: list[None] = []
    steps: list[None] = []

    def counting(x: Array) -> tuple[float, Callable[[], Array]]:
        value, gradient = function(x)

        def back() -> Array:
            asked.append(None)
            found: Array = gradient
            return found

        return value, back

    lbfgs.minimum(
        counting, np.zeros(60), steps=30, tolerance=0, after_step=lambda: steps.append(None)
    )
    assert len(asked) == len(steps) + 1 == 31
