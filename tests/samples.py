"""Figures and histories that nobody measured, to be shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from carryline.evaluation.metrics import evaluate
from carryline.text.data import Label

ODD: list[Label] = [
    "$x^2$", "a$b", r"\$", "漢字", "مرحبا", "e\u0301" * 40, "🎬", "\x00\n\ud800", "", " ",
    "|a|b|", "<script>", "`x`", "*_~#", "[x](http://y.z)", "&amp;", "long " * 99, 3, 2.5, True,
    "\U0001d608\u1d81", "\u0378",
]  # fmt: skip


def figures(classes: list[Label], texts: int = 200) -> dict[str, Any]:
    random = np.random.default_rng(0)
    targets = random.integers(0, len(classes), texts)
    chances = random.dirichlet(np.ones(len(classes)), texts)
    chances[np.arange(texts), targets] += 0.5
    return evaluate(chances / chances.sum(1, keepdims=True), targets, classes)


def history(epochs: int, *, valid: bool = True) -> list[dict[str, Any]]:
    """The validation loss is lowest in the third epoch."""
    return [
        {
            "epoch": e,
            "loss": 1 / e,
            "accuracy": 1 - 0.5 / e,
            "valid_loss": 0.5 + abs(e - 3) / 10 if valid else None,
            "valid_accuracy": 0.8 if valid else None,
            "learning_rate": 1e-3,
            "tokens_per_second": 123456.7,
            "seconds": 1.25,
        }
        for e in range(1, epochs + 1)
    ]
