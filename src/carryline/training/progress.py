"""What training tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """Somebody who watches a training run; every call must return quickly."""

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        """`done` of the `total` tokens of epoch `epoch` (from 1) of `epochs` are trained on.

        loss: the mean over the texts of this epoch so far.
        """

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch has ended; `row` is its row of the history."""

    def message(self, text: str) -> None:
        """Something a person should know, in one line."""


class Quiet:
    """Watches and says nothing."""

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        """Say nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""
