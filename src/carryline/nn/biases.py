"""One bias a gate, as Carryline stores, or two, as torch.nn does.

The sum of torch's two is all that a gate sees. Only the candidate of `gru` needs both, since the
reset gate stands between them: there `bias_hh` [hidden] is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from carryline.recurrence import cells
from carryline.recurrence.cells import Cell


def from_torch(cell: Cell, weights: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A state dict in which each pair of torch's biases under `prefix` is one; others stay."""
    ours, begin = dict(weights), f"{prefix}bias_ih_l"
    for name in filter(lambda name: name.startswith(begin), weights):
        other = f"{prefix}bias_hh_l{name[len(begin) :]}"
        first, second = weights[name], weights.get(other)
        if not isinstance(second, Tensor) or first.shape != second.shape:
            continue  # not a pair of torch's: gru's in our own form, or none at all
        if cell is cells.GRU:
            gates, candidate = second.tensor_split([len(second) // 3 * 2])
            ours[name] = first + torch.cat([gates, torch.zeros_like(candidate)])
            ours[other] = candidate
        else:
            ours[name] = first + ours.pop(other)
    return ours


def to_torch(bias: Tensor, candidate: Tensor | None) -> tuple[Tensor, Tensor]:
    """Torch's two from ours: (b, 0), and gru's `candidate` where torch has it."""
    if candidate is None:
        return bias, torch.zeros_like(bias)
    return bias, torch.cat([bias.new_zeros(len(bias) - len(candidate)), candidate])
