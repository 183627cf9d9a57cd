"""What training makes small, and the figures by which an epoch is kept."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carryline.model.config import Config

Weights = NDArray[np.float32]
Targets = NDArray[np.int64]


def loss(logits: Tensor, targets: Targets, weights: Weights | None) -> Tensor:
    """Mean cross-entropy of logits [texts, outputs], by weights [texts] if there are any.

    One output is the logit of the second of two classes.
    """
    kind = "mean" if weights is None else "none"
    wanted = torch.from_numpy(targets)
    if logits.shape[1] > 1:
        each = torch.nn.functional.cross_entropy(logits, wanted, reduction=kind)
    else:
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits.view(-1), wanted.to(logits.dtype), reduction=kind
        )
    if weights is None:
        return each
    shares = torch.from_numpy(weights / weights.sum())
    return (each * shares).sum()


def text_weights(
    config: Config, targets: Targets, classes: int, weights: Weights | None
) -> Weights | None:
    """How much each text counts [texts]: its own weight times that of its class."""
    if config.class_weights == "none":
        return weights
    counts = np.bincount(targets, minlength=classes)
    balanced = (len(targets) / (classes * np.maximum(counts, 1))).astype(np.float32)[targets]
    return balanced if weights is None else balanced * weights


def right(logits: NDArray[np.float32], targets: Targets) -> int:
    """How many texts' largest logit is that of their class."""
    return int((_guesses(logits) == targets).sum())


def figures(logits: NDArray[np.float32], targets: Targets, classes: int) -> dict[str, float]:
    """Of validation texts, all counting the same: mean cross-entropy, accuracy, and macro F1 as
    `metrics.evaluate` has it, over the classes that have a text."""
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        wide = np.concatenate([np.zeros_like(wide), wide], axis=1)
    wide -= wide.max(axis=1, keepdims=True)
    each = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(targets)), targets]
    guesses = _guesses(logits)
    hits = guesses == targets
    together = np.bincount(guesses, minlength=classes) + np.bincount(targets, minlength=classes)
    f1 = 2 * np.bincount(targets[hits], minlength=classes) / np.maximum(together, 1)
    return {
        "valid_loss": float(each.mean()),
        "valid_accuracy": float(hits.mean()),
        "valid_macro_f1": float(f1[np.bincount(targets, minlength=classes) > 0].mean()),
    }


def _guesses(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.int64)
    guesses: NDArray[np.int64] = logits.argmax(axis=1)
    return guesses
