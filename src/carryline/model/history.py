"""A training run's history: a row an epoch, as it stands in history.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from carryline.model.config import Config

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


# Every row has it since `keep` is a setting; older files do not.
ADDED = frozenset({"valid_macro_f1"})


def best_epoch(history: Sequence[Mapping[str, Any]], keep: str = "loss") -> int:
    """The epoch (1, 2, …) whose weights are kept.

    The one with the lowest validation loss, or with the highest validation accuracy or macro F1
    when that is what to `keep`; of equals the one with the lowest loss, then the first. Without
    validation the last one.
    """
    rows = [row for row in history if row.get(f"valid_{keep}") is not None]
    if not rows:
        return int(history[-1]["epoch"])
    sign = 1 if keep == "loss" else -1
    best = min(rows, key=lambda row: (sign * row[f"valid_{keep}"], row["valid_loss"]))
    return int(best["epoch"])


def finished(history: Sequence[Mapping[str, Any]], config: Config) -> bool:
    """Whether a run with this configuration has come to its end: by its epochs, or its patience."""
    waited = len(history) - best_epoch(history, config.keep) if history else 0
    return len(history) >= config.epochs or 0 < config.patience <= waited
