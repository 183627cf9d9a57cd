"""A training run's history: a row an epoch, as it stands in history.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
# loss and accuracy are of the training texts as they were trained on; valid_* are None without
# validation data; tokens_per_second and seconds are of training alone.
KEYS = frozenset(
    {
        "epoch",
        "loss",
        "accuracy",
        "valid_loss",
        "valid_accuracy",
        "learning_rate",
        "tokens_per_second",
        "seconds",
    }
)


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """The epoch (1, 2, …) whose weights are kept.

    The first one with the lowest validation loss; without validation the last one.
    """
    rows = [row for row in history if row["valid_loss"] is not None]
    if not rows:
        return int(history[-1]["epoch"])
    return int(min(rows, key=lambda row: row["valid_loss"])["epoch"])
