"""Recurrent layers for PyTorch: `RNN`, `LSTM`, `GRU` in the place of torch.nn's, and `CarryLSTM`.

    states, (h, c) = carryline.nn.LSTM(64, 128, bidirectional=True)(batch)

torch is loaded when one of them is first asked for. docs/pytorch.md says what differs from its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carryline.errors import MissingExtraError

if TYPE_CHECKING:
    from carryline.nn.modules import GRU, LSTM, MODULES, RNN, CarryLSTM, Recurrent

__all__ = ["GRU", "LSTM", "MODULES", "RNN", "CarryLSTM", "Recurrent"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'carryline.nn' has no attribute {name!r}")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch", "torch", f"carryline.nn.{name}") from error
    from carryline.nn import modules

    return getattr(modules, name)


def __dir__() -> list[str]:
    return __all__
