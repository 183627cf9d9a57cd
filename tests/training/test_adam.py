"""Adam: its rule, torch's class, and rows whose steps are postponed, to the same bits.

Tolerances, of numbers of order 1: a step rounds some ten times, by 1.1e-16 or 6e-8 each, and what
it adds is at most some ten times the rate (of 0.1 or less), whose own error is that of the moments.
1e-12 in double precision leaves room for a thousand roundings a step, and 1e-5 in single for 170.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryline.training import adam
from carryline.training.adam import Adam
from carryline.training.stages import Rows

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
How = dict[str, Any]
HOWS: list[How] = [
    {},
    {"weight_decay": 0.1},
    {"clip": 0.5},
    {"average": 0.95},
    {"weight_decay": 0.1, "clip": 0.5, "average": 0.95},
]
hows = pytest.mark.parametrize("how", HOWS, ids=lambda how: "-".join(how) or "plain")
SHAPES = {"matrix": (50, 3), "vector": (7,), "number": (), "none": (0, 4)}
ROWS, WIDTH = 30, 5
Arrays = dict[str, Any]


def normal(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], dtype: Any) -> Arrays:
    return {n: np.array(rng.standard_normal(shape), dtype) for n, shape in shapes.items()}


def bits(optimizer: Adam) -> dict[str, bytes]:
    state = optimizer.state()
    return {f"{part} {n}": a.tobytes() for part, arrays in state.items() for n, a in arrays.items()}


class Plain:
    """The rule as the docstring of adam.py writes it."""

    def __init__(
        self, weights: Arrays, weight_decay: float = 0, clip: float = 0, average: float = 0
    ) -> None:
        self.w = {n: w.astype(np.float64) for n, w in weights.items()}
        self.m, self.v = ({n: 0 * w for n, w in self.w.items()} for _ in range(2))
        self.a, self.t = dict(self.w), 0
        self.decay, self.clip, self.average = weight_decay, clip, average

    def step(self, gradients: Arrays, rate: float) -> None:
        self.t += 1
        scale, s = 1.0, min(self.average, (1 + self.t) / (10 + self.t))
        if self.clip:
            norm = sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()) ** 0.5
            scale = min(1.0, self.clip / (norm + 1e-6))  # as torch clips
        for n, gradient in gradients.items():
            g = scale * gradient.astype(np.float64)
            self.m[n] = 0.9 * self.m[n] + 0.1 * g
            self.v[n] = 0.999 * self.v[n] + 0.001 * g**2
            m, v = self.m[n] / (1 - 0.9**self.t), self.v[n] / (1 - 0.999**self.t)
            self.w[n] = (1 - rate * self.decay) * self.w[n] - rate * m / (np.sqrt(v) + 1e-8)
            self.a[n] = s * self.a[n] + (1 - s) * self.w[n]


@hows
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_rule(instruction_set: str, dtype: Any, how: How) -> None:
    rng = np.random.default_rng(0)
    first = normal(rng, SHAPES, dtype)
    ours, plain = Adam({n: w.copy() for n, w in first.items()}, **how), Plain(first, **how)
    for step in range(1, 30):
        gradients = normal(rng, SHAPES, dtype)
        ours.step(gradients, 0.1 / step)
        plain.step(gradients, 0.1 / step)
        state = ours.state()
        for part, expected in (("weights", plain.w), ("first", plain.m), ("second", plain.v),
                               ("average", plain.a)):  # fmt: skip
            for n, value in state.get(part, {}).items():
                assert value.dtype == dtype
                np.testing.assert_allclose(
                    value, expected[n], rtol=0, atol=TOLERANCE[dtype], err_msg=f"{part} {n}"
                )
    assert ("average" in state) == ("average" in how)


@pytest.mark.parametrize("clip", [0.0, 0.5, 100.0])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_steps_are_torchs(dtype: Any, decay: float, clip: float) -> None:
    rng = np.random.default_rng(1)
    first = normal(rng, SHAPES, dtype)
    ours = Adam({n: w.copy() for n, w in first.items()}, weight_decay=decay, clip=clip)
    theirs = {n: torch.nn.Parameter(torch.tensor(w)) for n, w in first.items()}
    torchs = torch.optim.AdamW(theirs.values(), weight_decay=decay)
    for step in range(1, 30):
        gradients = normal(rng, SHAPES, dtype)
        for n, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[n])
        torchs.param_groups[0]["lr"] = 0.1 / step
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.values(), clip)
        torchs.step()
        ours.step(gradients, 0.1 / step)
        for n, parameter in theirs.items():
            np.testing.assert_allclose(
                ours.weights[n], parameter.detach().numpy(), rtol=0, atol=TOLERANCE[dtype]
            )


def test_weights_without_a_gradient_stay() -> None:
    rng = np.random.default_rng(2)
    optimizer = Adam(normal(rng, SHAPES, np.float32), weight_decay=0.1, average=0.9)
    optimizer.step(normal(rng, SHAPES, np.float32), 0.1)
    before = bits(optimizer)
    optimizer.step(normal(rng, {"matrix": SHAPES["matrix"]}, np.float32), 0.1)
    changed = {name for name, value in bits(optimizer).items() if value != before[name]}
    assert changed == {f"{part} matrix" for part in ("weights", "first", "second", "average")}


def test_weights_are_changed_in_place_and_first_averages_are_copies() -> None:
    weights = {"a": np.ones(3, np.float32)}
    optimizer = Adam(weights, average=0.5)
    optimizer.step({"a": np.ones(3, np.float32)}, 0.1)
    assert (weights["a"] < 1).all()
    assert optimizer.weights["a"] is weights["a"]
    assert (optimizer.averages["a"] > weights["a"]).all()


# --- rows


class Twins:
    """An optimiser that postpones the rows of "e" and one that steps them all, with zeros for
    those that are not read. They share all numbers, and must share all bits."""

    def __init__(self, dtype: Any, how: How, seed: int, threads: int = 1) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        first = normal(self.rng, {"e": (ROWS, WIDTH), "b": (4,)}, dtype)
        given = [{n: w.copy() for n, w in first.items()} for _ in range(2)]
        self.postponing = Adam(given[0], rows=["e"], threads=threads, **how)
        self.stepping = Adam(given[1], **how)

    def ids(self) -> Any:
        """Low ones often, high ones seldom, now and then none."""
        chosen = np.flatnonzero(self.rng.random(ROWS) < 0.5 ** np.linspace(1, 12, ROWS))
        return chosen.astype(np.int64)

    def step(self) -> None:
        ids, rate = self.ids(), float(10 ** self.rng.uniform(-4, -1))
        values = self.rng.standard_normal((len(ids), WIDTH)).astype(self.dtype)
        whole = np.zeros((ROWS, WIDTH), self.dtype)
        whole[ids] = values
        b = self.rng.standard_normal(4).astype(self.dtype)
        self.postponing.step({"e": Rows(ids, values), "b": b}, rate)
        self.stepping.step({"e": whole, "b": b}, rate)

    def assert_read_alike(self) -> None:
        ids = self.ids()
        taken = self.postponing.readable()["e"][ids]
        assert taken.tobytes() == self.stepping.weights["e"][ids].tobytes()


def assert_same_bits(one: Adam, other: Adam) -> None:
    theirs = bits(other)
    for name, value in bits(one).items():
        assert value == theirs[name], name


@hows
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("most", [1, 7, 4096])
def test_postponed_rows_end_in_the_same_bits(
    instruction_set: str, dtype: Any, how: How, most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A clipped norm is a sum of other pieces: it is of double precision, so its last bits matter
    to a scale of single precision once in some hundred million steps; not so in double."""
    if how.get("clip") and dtype == np.float64:
        how = how | {"clip": 1e9}
    monkeypatch.setattr(adam, "MOST_POSTPONED", most)
    twins = Twins(dtype, how, seed=4)
    for step in range(300):
        if step % 3:
            twins.assert_read_alike()
        twins.step()
        if step % 70 == 69:
            twins.postponing.settle()
            every = twins.postponing.readable()["e"][np.arange(ROWS)]
            assert every.tobytes() == twins.stepping.weights["e"].tobytes()
    assert_same_bits(twins.postponing, twins.stepping)


@settings(max_examples=40)
@given(
    how=st.fixed_dictionaries(
        {}, optional={"weight_decay": st.floats(0, 0.9), "clip": st.floats(0.01, 10),
                      "average": st.floats(0, 0.999)}
    ),
    doings=st.lists(st.sampled_from(["step", "step", "step", "read", "settle", "state"]),
                    max_size=40),
    most=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_rows_in_any_order_of_doings(how: How, doings: list[str], most: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adam, "MOST_POSTPONED", most)
        twins = Twins(np.float32, how, seed)
        for doing in doings:
            if doing == "step":
                twins.step()
            elif doing == "read":
                twins.assert_read_alike()
            elif doing == "settle":
                twins.postponing.settle()
            else:
                twins.postponing.state()
        assert_same_bits(twins.postponing, twins.stepping)


@pytest.mark.parametrize("still", [True, False], ids=["still", "averaged"])
@pytest.mark.parametrize("scale", [1.0, 1e-18])
def test_moments_without_a_gradient_end_at_zero(
    instruction_set: str, still: bool, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones within 700 steps (0.9^660 is 1e-30); no number has lost bits on its way, and
    the squares of gradients of 1e-18 would have lost some at once."""
    monkeypatch.setattr(adam, "MOST_POSTPONED", 1500)
    how: How = {} if still else {"average": 0.9999}
    twins = Twins(np.float32, how, seed=0)
    for optimizer in (twins.postponing, twins.stepping):
        optimizer.steps = 10**6  # so late that an average still moves when moments are zero
    everyone, none = np.arange(ROWS), np.zeros(0, np.int64)
    gradient = scale * twins.rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    zeros, nothing = np.zeros_like(gradient), np.zeros((0, WIDTH), np.float32)
    twins.postponing.step({"e": Rows(everyone, gradient)}, 0.01)
    twins.stepping.step({"e": gradient}, 0.01)
    for step in range(2000):
        twins.postponing.step({"e": Rows(none, nothing)}, 0.01)
        twins.stepping.step({"e": zeros}, 0.01)
        if step in (200, 640):
            assert_same_bits(twins.postponing, twins.stepping)
    assert_same_bits(twins.postponing, twins.stepping)
    state = twins.postponing.state()
    assert not state["first"]["e"].any()
    assert (state["second"]["e"] > 0).all() == (scale == 1)
    for part in state.values():
        size = abs(part["e"])
        assert ((size == 0) | (size >= np.finfo(np.float32).tiny)).all()


@pytest.mark.parametrize("size", [1, 8193, 26 * 8192 - 1, 26 * 8192, 26 * 8192 + 1, 370 * 8192 + 5])
@pytest.mark.parametrize("how", [HOWS[0], HOWS[-1]], ids=["plain", "all"])
def test_threads_do_not_change_the_bits(size: int, how: How) -> None:
    """Around the borders of the 8,192 numbers that are handed to a thread. 25 of them are worth a
    third thread, and 366 to sum squares."""
    found = []
    for threads in (1, 2, 3):
        rng = np.random.default_rng(6)
        shapes = {"a": (size,), "b": (size // 2, 2), "rows": (size // 3 + 1, 3)}
        optimizer = Adam(normal(rng, shapes, np.float32), rows=["rows"], threads=threads, **how)
        for _ in range(2):
            gradients: Arrays = normal(rng, {n: shapes[n] for n in ("a", "b")}, np.float32)
            ids = np.flatnonzero(rng.random(shapes["rows"][0]) < 0.7)
            values = rng.standard_normal((len(ids), 3)).astype(np.float32)
            optimizer.step(gradients | {"rows": Rows(ids, values)}, 0.01)
            optimizer.take("rows", ids[::2].copy())
        found.append(bits(optimizer))
    assert found[0] == found[1] == found[2]


# --- what is not right


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_reaches_the_weights(
    instruction_set: str, wrong: float, clip: float
) -> None:
    """So that a run sees it."""
    rng = np.random.default_rng(7)
    shapes = {"a": (40,), "e": (ROWS, WIDTH)}
    optimizer = Adam(normal(rng, shapes, np.float32), clip=clip, rows=["e"])
    gradients = normal(rng, shapes, np.float32)
    gradients["a"][17] = gradients["e"][2, 3] = wrong
    ids = np.arange(ROWS)
    optimizer.step(gradients | {"e": Rows(ids, gradients["e"])}, 0.1)
    for name, at in (("a", 17), ("e", (2, 3))):
        weights = optimizer.state()["weights"][name]
        assert np.isnan(weights[at])
        assert np.isnan(weights).sum() == 1
    optimizer.step({"e": Rows(ids[5:], gradients["e"][5:])}, 0.1)
    assert np.isnan(optimizer.take("e", ids)[2, 3])  # nor does it go away


@pytest.mark.parametrize(
    ("ids", "rows", "width", "rule"),
    [
        ([1, 0], 2, WIDTH, "ids must be rows, rising"),
        ([1, 1], 2, WIDTH, "ids must be rows, rising"),
        ([-1, 1], 2, WIDTH, "ids must be rows, rising"),
        ([1, ROWS], 2, WIDTH, "ids must be rows, rising"),
        ([1, 2], 3, WIDTH, r"gradient must be \[ids, width\]"),
        ([1, 2], 2, WIDTH + 1, r"gradient must be \[ids, width\]"),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_are_refused(ids: list[int], rows: int, width: int, rule: str) -> None:
    twins = Twins(np.float32, {}, 0)
    gradient = Rows(np.array(ids, np.int64), np.zeros((rows, width), np.float32))
    with pytest.raises(ValueError, match=rule):
        twins.postponing.step({"e": gradient}, 0.1)
    if "rising" in rule:
        with pytest.raises(ValueError, match=rule):
            twins.postponing.take("e", gradient.ids)


def test_gradients_that_do_not_fit_are_refused() -> None:
    optimizer = Adam({"a": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="as large as their weights"):
        optimizer.step({"a": np.ones(4, np.float32)}, 0.1)
    assert (optimizer.weights["a"] == 1).all()


@pytest.mark.parametrize("done", [-1, 2])
def test_a_row_that_has_had_steps_to_come_is_refused(done: int) -> None:
    twins = Twins(np.float32, {}, 0)
    twins.step()
    twins.postponing._done["e"][3] = done
    with pytest.raises(ValueError, match="steps that are to come"):
        twins.postponing.take("e", np.array([0, 3]))
