"""The way of tensors that are not on the CPU: the same code on CPU tensors, beside our kernels.

Tolerances as in test_layouts.py, gradients by their own size. On hardware it is untested.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carryline import Ragged
from carryline.nn import LSTM, MODULES, Recurrent, cudnn, operators
from carryline.recurrence import cells
from carryline.recurrence.cells import CELLS, Cell

INPUTS, HIDDEN = 3, 5
KNOWN = [cell for cell in CELLS.values() if cell is not cells.CARRY]


def assert_close(got: Any, expected: Any) -> None:
    for one, other in zip(got, expected, strict=True):
        scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * scale)


@settings(max_examples=60)
@given(
    cell=st.sampled_from(KNOWN), lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    directions=st.integers(1, 2), distinct=st.booleans(),
)  # fmt: skip
def test_agrees_with_the_kernels(
    cell: Cell, lengths: list[int], directions: int, distinct: bool
) -> None:
    torch.manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    tokens, texts = sum(lengths), len(lengths)
    shapes = cells.shapes(cell, INPUTS, HIDDEN).values()
    x, h, c = (
        normal(4 if distinct else tokens, INPUTS),
        *(normal(directions, texts, HIDDEN) for _ in range(2)),
    )
    weights = [normal(*shape) for _ in range(directions) for shape in shapes]
    row = torch.randint(4, (tokens,), dtype=torch.int32) if distinct else None
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    results = []
    for run in (operators.recurrence, cudnn.recurrence):
        out = run(x, row, offsets, h, c, weights, cell, "fp32", 1)
        loss = out[0].square().sum() + out[1].sin().sum() + out[2].cos().sum()
        results.append([*out, *torch.autograd.grad(loss, [x, h, c, *weights], allow_unused=True)])
    ours, theirs = results
    theirs = [torch.zeros_like(a) if b is None else b for a, b in zip(ours, theirs, strict=True)]
    assert_close(theirs, ours)


@pytest.mark.parametrize("kind", [MODULES[cell.name] for cell in KNOWN])
def test_whole_modules(kind: type[Recurrent], monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of different sizes, both directions, a batch with an empty text, no biases."""
    torch.manual_seed(0)
    module = kind(INPUTS, [5, 4], bias=False, bidirectional=True, dtype=torch.float64)
    batch = Ragged(torch.randn(9, INPUTS, dtype=torch.float64), np.array([0, 2, 2, 7, 9]))
    expected, _ = module(batch)
    monkeypatch.setattr(operators, "recurrence", cudnn.recurrence)
    got, _ = module(batch)
    assert_close([got.values], [expected.values])
    assert not torch.equal(got.values, expected.values)  # it was the other way


def test_no_gradients_are_kept_where_none_are_wanted() -> None:
    module = LSTM(INPUTS, HIDDEN)
    h = torch.zeros(1, 1, HIDDEN)
    with torch.no_grad():
        given = (torch.ones(2, INPUTS), None, torch.tensor([0, 2]), h, h)
        states, *_ = cudnn.recurrence(*given, list(module.parameters()), cells.LSTM, "fp32", 1)
    assert states.grad_fn is None


def test_carry_is_refused() -> None:
    h = torch.zeros(1, 1, HIDDEN)
    with pytest.raises(ValueError, match="the cell carry runs on the CPU alone, x is on meta"):
        cudnn.recurrence(
            torch.ones(2, INPUTS, device="meta"), None, torch.tensor([0, 2]), h, h, [],
            cells.CARRY, "fp32", 1,
        )  # fmt: skip


def test_tensors_elsewhere_go_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(x: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(x.device.type)
        return x.new_zeros(len(x), HIDDEN), given[2], given[3]

    monkeypatch.setattr(cudnn, "recurrence", run)
    module = LSTM(INPUTS, HIDDEN, device="meta")
    module(torch.zeros(2, 3, INPUTS, device="meta"))
    module(torch.zeros(2, 3, INPUTS, device="meta"), lengths=[1, 2, 0])
    module(Ragged(torch.zeros(3, INPUTS, device="meta"), np.array([0, 1, 3])))
    assert seen == ["meta"] * 3
