"""Recurrent layers for PyTorch: `RNN`, `LSTM`, `GRU` in the place of torch.nn's, and `CarryLSTM`.

    states, (h, c) = LSTM(64, 128, bidirectional=True)(batch)

recurrent.py has what they share, docs/pytorch.md says what differs from torch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from carryline.errors import ConfigError
from carryline.nn.recurrent import Recurrent
from carryline.recurrence import cells

__all__ = ["GRU", "LSTM", "MODULES", "RNN", "CarryLSTM", "Recurrent"]


class RNN(Recurrent):
    """h_t = tanh(W x_t + U h_{t-1} + b)  (Elman 1990).

    nonlinearity: "tanh"; Carryline has no other (`ConfigError`).
    """

    cell, mode = cells.RNN, "RNN_TANH"

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *rest: Any,
        **named: Any,
    ) -> None:
        if nonlinearity != "tanh":
            raise ConfigError(f"nonlinearity must be 'tanh', it is {nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, *rest, **named)


class LSTM(Recurrent):
    """Long short-term memory with forget gates, as `torch.nn.LSTM` with one bias a gate."""

    cell, mode = cells.LSTM, "LSTM"


class GRU(Recurrent):
    """Gated recurrent unit, as `torch.nn.GRU`; the candidate keeps its second bias."""

    cell, mode = cells.GRU, "GRU"


class CarryLSTM(Recurrent):
    """The textbook's LSTM: the output reads the carry that comes in; there is no output gate."""

    cell, mode = cells.CARRY, "CARRY"


MODULES: dict[str, type[Recurrent]] = {m.cell.name: m for m in (RNN, LSTM, GRU, CarryLSTM)}
