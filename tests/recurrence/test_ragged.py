"""Ragged and its plan, against the same things said with Python lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carryline import Ragged
from carryline.recurrence.ragged import Plan, plan_of

Rows = list[list[int]]
rows_of_ids = st.lists(st.lists(st.integers(0, 5), max_size=7), max_size=8)


def lists(ragged: Ragged) -> Rows:
    return [row.tolist() for row in ragged]


@given(rows_of_ids)
def test_lists_go_in_and_come_out(rows: Rows) -> None:
    ragged = Ragged.from_lists(rows)
    assert lists(ragged) == rows
    assert len(ragged) == len(rows)
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.values.dtype == np.int32
    assert ragged.offsets.dtype == np.int64


def test_indexing() -> None:
    ragged = Ragged.from_lists([[1, 2], [], [3]])
    assert [ragged[i].tolist() for i in (0, 1, 2, -1, -3)] == [[1, 2], [], [3], [3], [1, 2]]
    for outside in (3, -4):
        with pytest.raises(IndexError, match=f"text {outside} of 3"):
            ragged[outside]


@pytest.mark.parametrize(
    "offsets", [[], [1, 3], [0, 2, 1, 3], [0, 2], [0, 4], [[0, 3]], 0, [0, 3, 2], [0, -1, 3]]
)
def test_offsets_that_do_not_fit_are_refused(offsets: object) -> None:
    with pytest.raises(ValueError, match="offsets must"):
        Ragged(np.arange(3), offsets)  # type: ignore[arg-type]


def test_like_shares_the_texts() -> None:
    ragged = Ragged.from_lists([[1, 2], [3]])
    assert ragged.like(np.zeros((3, 5))).offsets is ragged.offsets
    with pytest.raises(ValueError, match="end at the number of values, 2; they end at 3"):
        ragged.like(np.zeros(2))


@given(rows_of_ids.filter(bool), st.data())
def test_take(rows: Rows, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    assert lists(Ragged.from_lists(rows).take(chosen)) == [rows[i] for i in chosen]


def test_one_text_is_taken_without_a_copy() -> None:
    ragged = Ragged.from_lists([[1], [2, 3], [4, 5, 6]])
    taken = ragged.take([-2])
    assert lists(taken) == [[2, 3]]
    assert np.shares_memory(taken.values, ragged.values)


def test_take_counts_negative_numbers_from_the_end_or_refuses_them() -> None:
    ragged = Ragged.from_lists([[1], [2, 3], [4, 5, 6], [7, 8, 9]])
    for text in (-1, -2, -3, -4):
        try:
            taken = ragged.take([text])
        except IndexError:
            continue
        assert lists(taken) == [ragged[text].tolist()]
    with pytest.raises(IndexError):
        ragged.take([4])


@given(rows_of_ids, st.integers(0, 5))
def test_without(rows: Rows, value: int) -> None:
    expected = [[i for i in row if i != value] for row in rows]
    assert lists(Ragged.from_lists(rows).without(value)) == expected


@given(rows_of_ids, st.integers(0, 9))
def test_filled(rows: Rows, length: int) -> None:
    filled = Ragged.from_lists(rows).filled(length, 9)
    assert lists(filled) == [row + [9] * (length - len(row)) for row in rows]
    assert lists(filled.without(9)) == rows


@given(rows_of_ids, st.integers(1, 8))
def test_windows(rows: Rows, steps: int) -> None:
    windows = [lists(window) for window in Ragged.from_lists(rows).windows(steps)]
    longest = max(map(len, rows), default=0)
    expected = [[row[t : t + steps] for row in rows] for t in range(0, longest, steps)]
    assert windows == expected


def test_a_window_has_a_step() -> None:
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        next(Ragged.from_lists([[1]]).windows(0))


def test_vectors_of_torch_keep_their_gradients() -> None:
    values = torch.arange(10.0).reshape(5, 2).requires_grad_()
    ragged = Ragged(values, [0, 2, 2, 5])  # type: ignore[arg-type]
    assert torch.equal(ragged.take([2, 0]).values, values[[2, 3, 4, 0, 1]])
    second = list(ragged.windows(2))[1]
    assert torch.equal(second.values, values[[4]])
    torch.autograd.backward(second.values.sum())
    assert values.grad is not None
    assert values.grad.tolist() == [[0, 0]] * 4 + [[1, 1]]


def time_major(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(text, step) in the order the plan promises, in the plainest words."""
    order = sorted(range(len(lengths)), key=lambda text: -lengths[text])
    steps = max(lengths, default=0)
    return [(text, step) for step in range(steps) for text in order if lengths[text] > step]


@given(st.lists(st.integers(0, 9), max_size=9))
def test_plan(lengths: list[int]) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    plan, expected = Plan(offsets), time_major(lengths)
    assert plan.texts == len(lengths)
    assert plan.tokens == sum(lengths)
    assert plan.steps == max(lengths, default=0)
    assert plan.order.tolist() == sorted(range(len(lengths)), key=lambda text: -lengths[text])
    assert plan.lengths.tolist() == sorted(lengths, reverse=True)
    assert plan.positions.tolist() == [offsets[text] + step for text, step in expected]
    assert plan.starts.tolist() == [sum(s < t for _, s in expected) for t in range(plan.steps + 1)]
    assert plan.order[plan.rank].tolist() == [text for text, _ in expected]
    assert plan.order[plan.inverse_order].tolist() == list(range(plan.texts))
    assert plan.positions[plan.inverse_positions].tolist() == list(range(plan.tokens))
    ids = np.arange(plan.tokens)[::-1]
    assert plan.time_major(ids).tolist() == ids[plan.positions].tolist()
    assert plan.time_major(ids).dtype == np.int32
    with pytest.raises(ValueError, match="a value for every token"):
        Plan(np.array([0, 2])).time_major(ids[:1])


def test_a_plan_is_made_once() -> None:
    ragged = Ragged.from_lists([[1, 2], [3]])
    assert ragged.plan is ragged.plan
    assert plan_of(np.array([0, 2, 3])) is ragged.plan
    for length in range(4):
        plan_of(np.array([0, length]))
    assert plan_of(ragged.offsets) is not ragged.plan  # no more than four are kept
    ragged.offsets[1] = 1
    assert plan_of(ragged.offsets).lengths.tolist() == [2, 1]  # by content: never a wrong one


def test_a_plan_of_very_many_tokens_or_texts_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carryline.recurrence.ragged.MOST_KEPT", 6)
    kept, long, many = np.array([0, 4]), np.array([0, 5]), np.array([0, 0, 0, 0, 0, 0, 0])
    assert plan_of(kept) is plan_of(kept)
    for offsets in (long, many):
        plan = plan_of(offsets)
        assert plan is not plan_of(offsets)
        offsets[-1] = 9
        assert plan.offsets[-1] < 9  # one of its own, as those that are kept
