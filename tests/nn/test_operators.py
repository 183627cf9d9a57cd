"""The torch operators: torch's own checks of them, and what lies between forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from carryline.nn import LSTM, operators, packs
from carryline.recurrence import cells, kernels
from carryline.recurrence.cells import CELLS

LENGTHS = [2, 0, 3]
OFFSETS = torch.tensor([0, *LENGTHS]).cumsum(0)
TOKENS, INPUTS, HIDDEN = sum(LENGTHS), 4, 3

each = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def arguments(
    cell: cells.Cell, *, row: bool = False, by: bool = True, **kind: Any
) -> tuple[Any, ...]:
    """Of carryline::recurrence, two directions; by: whether gradients are wanted."""
    torch.manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, **kind).requires_grad_(by)

    shapes = cells.shapes(cell, INPUTS, HIDDEN).values()
    index = torch.tensor([0, 1, 2, 1, 0], dtype=torch.int32) if row else None
    weights = [normal(*shape) for _ in range(2) for shape in shapes]
    x, h, c = normal(3 if row else TOKENS, INPUTS), normal(2, 3, HIDDEN), normal(2, 3, HIDDEN)
    return x, index, OFFSETS, h, c, weights, cell.name, "fp32", 1


@each
def test_opcheck_of_recurrence(cell: cells.Cell) -> None:
    given = arguments(cell, row=cell is cells.GRU, dtype=torch.float64)
    torch.library.opcheck(torch.ops.carryline.recurrence.default, given)


def test_opcheck_without_gradients() -> None:
    given = arguments(cells.LSTM, row=True, by=False)
    torch.library.opcheck(torch.ops.carryline.recurrence.default, given)


@pytest.mark.parametrize("cell", [cells.LSTM, cells.GRU], ids=lambda cell: cell.name)
def test_opcheck_of_its_gradient(cell: cells.Cell) -> None:
    x, row, offsets, h, c, weights, *how = arguments(cell, by=False)
    forward = torch.ops.carryline.recurrence.default
    states, last_h, last_c, saved = forward(x, row, offsets, h, c, weights, *how, True)
    trace, by_x = [states, last_h, last_c, h, c, saved], cell is cells.LSTM
    d_states = states if by_x else None
    given = (d_states, h, None, x, row, offsets, weights, trace, *how, by_x)
    torch.library.opcheck(torch.ops.carryline.recurrence_backward.default, given)


def test_opcheck_of_the_order() -> None:
    given = (OFFSETS, torch.tensor([0, 4, 8]), 1, 4, TOKENS, 12)
    torch.library.opcheck(torch.ops.carryline.time_major.default, given)
    index, back, *_ = operators.time_major(*given)
    for x, at in (
        (torch.randn(12, 2, requires_grad=True), (index, back, False, True)),
        (torch.randn(TOKENS, 2, requires_grad=True), (back, index, True, False)),
    ):
        torch.library.opcheck(torch.ops.carryline.rows.default, (x, *at))


def test_time_major_of_a_padded_batch() -> None:
    """Texts of 2, 0 and 3 tokens in rows of 4: the longest first, step by step."""
    index, back, order, rank = operators.time_major(OFFSETS, torch.tensor([0, 4, 8]), 1, 4, 5, 12)
    assert index.tolist() == [8, 0, 9, 1, 10]
    assert back.tolist() == [1, 3, 5, 5, 5, 5, 5, 5, 0, 2, 4, 5]
    assert order.tolist() == [2, 0, 1]
    assert rank.tolist() == [1, 2, 0]


def test_writing_to_a_result_changes_no_later_one() -> None:
    given = (OFFSETS, torch.tensor([0, 4, 8]), 1, 4, 5, 12)
    expected = [found.tolist() for found in operators.time_major(*given)]
    for found in operators.time_major(*given):
        found.zero_()
    assert [found.tolist() for found in operators.time_major(*given)] == expected


@pytest.mark.parametrize(("steps", "offsets"), [(2, OFFSETS), (4, torch.tensor([0, 2, 1, 3]))])
def test_time_major_refuses_lengths_that_do_not_fit(steps: int, offsets: Tensor) -> None:
    with pytest.raises(ValueError, match=rf"a text has 0 to {steps} tokens, one has (3|-1)"):
        operators.time_major(offsets, torch.tensor([0, 4, 8]), 1, steps, 5, 12)


def test_rows_differentiates_twice() -> None:
    index, back, *_ = operators.time_major(OFFSETS, torch.tensor([0, 4, 8]), 1, 4, 5, 12)
    x = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: operators.rows(x, index, back, drops=True), x)
    assert torch.autograd.gradgradcheck(lambda x: operators.rows(x, index, back, drops=True), x)
    y = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: operators.rows(y, back, index, fills=True), y)


@pytest.mark.parametrize("changed", [0, 3, 5])
def test_what_was_changed_before_backward_is_noticed(changed: int) -> None:
    given = arguments(cells.LSTM)
    states, *_ = torch.ops.carryline.recurrence.default(*given)
    tensor = given[5][0] if changed == 5 else given[changed]
    with torch.no_grad():
        tensor.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        backward(states.sum())


@each
def test_recurrence_differentiates_twice(cell: cells.Cell) -> None:
    x, row, offsets, h, c, weights, *how = arguments(cell, row=True, dtype=torch.float64)

    def outputs(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        given = (x, row, offsets, h, c, list(weights), *how)
        return torch.ops.carryline.recurrence.default(*given)[:3]  # type: ignore[no-any-return]

    assert torch.autograd.gradgradcheck(outputs, (x, h, c, *weights))


class TestPrecision:
    def taken(self, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> list[str]:
        """The precision of the layers of a forward and backward pass, under autocast to bf16."""
        seen: list[str] = []

        class Noted(kernels.Layer):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                seen.append(given[-1])

        monkeypatch.setattr(kernels, "Layer", Noted)
        module = LSTM(INPUTS, HIDDEN, 2, dtype=dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states, _ = module(torch.randn(5, 2, INPUTS, dtype=dtype))
        packs._packs.clear()  # so that the backward pass packs again
        backward(states.sum())
        assert states.dtype == dtype
        return seen

    def test_autocast_asks_for_bf16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.taken(monkeypatch, torch.float32) == ["bf16"] * 4

    def test_float64_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.taken(monkeypatch, torch.float64) == ["fp32"] * 4

    def test_other_types_do_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = LSTM(INPUTS, HIDDEN)
        expected, _ = module(torch.ones(5, 2, INPUTS))
        with torch.autocast("cpu", dtype=torch.float16):
            assert torch.equal(module(torch.ones(5, 2, INPUTS))[0], expected)

    def test_bf16_products_are_near(self) -> None:
        """8 bits of mantissa: each product errs by 2^-8 at most, and sums average that out."""
        torch.manual_seed(0)
        module, x = LSTM(64, 64, bidirectional=True), torch.randn(20, 8, 64)
        expected, _ = module(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got, _ = module(x.bfloat16())
        assert got.dtype == torch.float32
        assert not torch.equal(got, expected)
        torch.testing.assert_close(got, expected, rtol=0, atol=3e-2)
