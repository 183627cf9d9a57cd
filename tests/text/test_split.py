from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.errors import DataError
from carryline.text.data import Label, split

LABELS = st.lists(st.sampled_from(["a", "b", 1, 2.5, True, "rare"]), max_size=200)
FRACTIONS = st.floats(0, 1, exclude_max=True)


@given(LABELS, FRACTIONS, st.integers(0, 2**63 - 1))
def test_split_promises(labels: list[Label], fraction: float, seed: int) -> None:
    train, valid = split(labels, fraction, seed)
    assert train.dtype == valid.dtype == np.int64
    assert sorted([*train, *valid]) == list(range(len(labels)))
    held_out = Counter(labels[index] for index in valid)
    counts = Counter(labels)
    for label, count in counts.items():
        least = 1 if fraction and count > 1 else 0
        assert least <= held_out[label] <= max(count - 1, 0)
    several = sum(count > 1 for count in counts.values())
    least, most = several if fraction else 0, len(labels) - len(counts)
    assert len(valid) == min(max(round(fraction * len(labels)), least), most)
    if all(1 <= fraction * count <= count - 1 for count in counts.values()):
        for label, count in counts.items():
            assert abs(held_out[label] - fraction * count) <= 1 + 1e-9
    again = split(labels, fraction, seed)
    assert (train.tolist(), valid.tolist()) == (again[0].tolist(), again[1].tolist())


def test_a_rare_class_is_in_both_parts() -> None:
    labels = ["common"] * 396 + ["rare"] * 4 + ["single"]
    for seed in range(20):
        train, valid = split(labels, 0.1, seed)
        assert len(valid) == 40
        assert {labels[index] for index in valid} == {"common", "rare"}
        assert {labels[index] for index in train} == {"common", "rare", "single"}


def test_many_rare_classes_take_from_the_large_ones_by_their_size() -> None:
    rare = [number for number in range(100) for _ in range(2)]
    labels = rare + ["large"] * 800 + ["small"] * 200
    held_out = Counter(labels[index] for index in split(labels, 0.1, 0)[1])
    assert sum(held_out.values()) == 120
    assert (held_out["large"], held_out["small"]) == (16, 4)


def test_parts_that_no_class_squeezes_are_those_of_earlier_versions() -> None:
    labels = ["a", "b", "b"] * 10
    assert split(labels, 0.2, 1)[1].tolist() == [21, 16, 7, 1, 3, 28]


@given(st.integers(2, 300), st.integers(2, 300), st.floats(0, 0.5))
def test_split_holds_out_the_fraction_exactly(a: int, b: int, fraction: float) -> None:
    _, valid = split(["a"] * a + ["b"] * b, fraction, 0)
    assert len(valid) == max(round(fraction * (a + b)), 2 if fraction else 0)


def test_split_shuffles_both_parts_by_the_seed() -> None:
    labels: Sequence[Label] = ["a", "b"] * 500
    train, valid = split(labels, 0.2, 1)
    assert (len(train), len(valid)) == (800, 200)
    assert (np.diff(train) < 0).any()
    assert (np.diff(valid) < 0).any()
    assert {labels[index] for index in valid[:20]} == {"a", "b"}
    assert set(valid.tolist()) != set(split(labels, 0.2, 2)[1].tolist())


def test_split_of_nothing() -> None:
    train, valid = split(["a", "b", "a"], 0, 3)
    assert sorted(train) == [0, 1, 2]
    assert len(valid) == 0
    assert [len(part) for part in split([], 0.5, 0)] == [0, 0]


def test_split_rounds_up_the_label_that_rounding_down_costs_most() -> None:
    _, valid = split(["a"] * 10 + ["b"] * 3, 0.25, 0)  # shares 2.5 and 0.75
    assert sorted(index >= 10 for index in valid) == [False, False, True]


def test_split_keeps_a_text_of_every_label_to_train_on() -> None:
    train, valid = split(["a", "b", "c", "c"], 0.99, 0)
    assert sorted(train)[:2] == [0, 1]
    assert len(valid) == 1
    assert len(split(["a"] * 3, math.nextafter(1, 0), 0)[0]) == 1


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, math.nan, math.inf])
def test_split_refuses_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(DataError, match=f"0 <= fraction of validation texts < 1, it is {fraction}"):
        split(["a", "b"], fraction, 0)


def test_split_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from carryline.text.data import split; "
        "print([part.tolist() for part in split(['a', 'b', 'c'] * 30, 0.25, 7)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
