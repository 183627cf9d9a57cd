"""The recurrence by torch's own packed kernels, for tensors that are not on the CPU.

On a GPU these are cuDNN's. UNTESTED ON HARDWARE: the tests run this very code on CPU tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from carryline.nn import biases
from carryline.recurrence import cells
from carryline.recurrence.cells import Cell
from carryline.recurrence.ragged import plan_of


def recurrence(
    x: Tensor,
    row: Tensor | None,
    offsets: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    cell: Cell,
    precision: str,
    threads: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `operators.recurrence`; precision and threads are left to torch.

    Raises `ValueError` for the cell `carry`, which torch does not have.
    """
    if cell is cells.CARRY:
        raise ValueError(f"the cell carry runs on the CPU alone, x is on {x.device}")
    plan = plan_of(offsets.numpy())
    if not plan.tokens:
        return x.new_zeros(0, h.shape[0] * h.shape[2]), h, c
    sizes = torch.from_numpy(np.diff(plan.starts))
    # Texts without a token, the last ones, are no part of a packed batch.
    active = int(sizes[0])
    first, carry = h[:, :active].contiguous(), c[:, :active].contiguous()
    data = x if row is None else x.index_select(0, row)
    how = (list(_torch_weights(cell, weights)), True, 1, 0.0, torch.is_grad_enabled(), len(h) == 2)
    if cell is cells.LSTM:
        states, last, last_c = torch.lstm(data, sizes, (first, carry), *how)
    else:
        run = torch.gru if cell is cells.GRU else torch.rnn_tanh
        states, last = run(data, sizes, first, *how)
        last_c = carry
    last_h, last_c = torch.cat([last, h[:, active:]], 1), torch.cat([last_c, c[:, active:]], 1)
    return states.to(x.dtype), last_h.to(h.dtype), last_c.to(c.dtype)  # autocast narrows them


def _torch_weights(cell: Cell, weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """W, U and two biases of each direction."""
    count = len(cells.shapes(cell, 1, 1))
    for begin in range(0, len(weights), count):
        w, u, bias, *others = weights[begin : begin + count]
        yield from (w, u, *biases.to_torch(bias, others[0] if others else None))
