"""What training makes small, and the figures by which an epoch is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model.config import Config
from carryline.recurrence.cells import sigmoid
from carryline.training.stages import Back

Array = NDArray[Any]
Weights = NDArray[np.float32]
Targets = NDArray[np.int64]


def loss(logits: Array, targets: Targets, weights: Weights | None) -> tuple[float, Back]:
    """Mean cross-entropy of logits [rows, outputs], by weights [rows] if there are any, and the
    way back, which begins with the gradient by the loss itself: 1.

    One output is the logit of the second of two classes. The gradients are the textbook's: the
    probabilities less 1 for the true class, each row's times its share.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # a loss that is not finite is seen as such
        each, by_logits = (_binary if logits.shape[1] == 1 else _softmax)(logits, targets)
        if weights is None:
            mean = float(each.sum()) / len(each)
            by_logits /= len(each)
        else:
            shares = (weights / (weights.sum() or 1)).astype(logits.dtype)
            mean = float((each * shares).sum())  # 0 of texts that all count nothing
            by_logits *= shares[:, None]
    return mean, lambda d: (d * by_logits, {})


def _softmax(logits: Array, targets: Targets) -> tuple[Array, Array]:
    """-log p of each row's class, and its gradient."""
    wide = logits - logits.max(axis=1, keepdims=True)
    chances = np.exp(wide)
    sums = chances.sum(axis=1, keepdims=True)
    chances /= sums
    rows = np.arange(len(targets))
    each = np.log(sums[:, 0]) - wide[rows, targets]
    chances[rows, targets] -= 1
    return each, chances


def _binary(logits: Array, targets: Targets) -> tuple[Array, Array]:
    """The same of one logit x: log(1 + e^x) - x y, and sigmoid(x) - y."""
    x = logits[:, 0]
    y = targets.astype(x.dtype)
    return np.logaddexp(0, x) - x * y, (sigmoid(x) - y)[:, None]


def text_weights(
    config: Config, targets: Targets, classes: int, weights: Weights | None
) -> Weights | None:
    """How much each text counts [texts]: its own weight times that of its class."""
    if config.class_weights == "none":
        return weights
    counts = np.bincount(targets, minlength=classes)
    balanced = (len(targets) / (classes * np.maximum(counts, 1))).astype(np.float32)[targets]
    return balanced if weights is None else balanced * weights


def right(logits: Array, targets: Targets) -> int:
    """How many texts' largest logit is that of their class."""
    return int(np.count_nonzero(_guesses(logits) == targets))


def figures(logits: Array, targets: Targets, classes: int) -> dict[str, float]:
    """Of validation texts, all counting the same: mean cross-entropy, accuracy and macro F1 as
    `metrics.evaluate` has them: no text's loss is above that of a probability of 2.2e-16, and F1 is
    over the classes that have a text."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        each, _ = (_binary if wide.shape[1] == 1 else _softmax)(wide, targets)
    each = np.minimum(each, -np.log(np.finfo(np.float64).eps))
    guesses = _guesses(logits)
    hits = guesses == targets
    together = np.bincount(guesses, minlength=classes) + np.bincount(targets, minlength=classes)
    f1 = 2 * np.bincount(targets[hits], minlength=classes) / np.maximum(together, 1)
    return {
        "valid_loss": float(each.mean()),
        "valid_accuracy": float(hits.mean()),
        "valid_macro_f1": float(f1[np.bincount(targets, minlength=classes) > 0].mean()),
    }


def _guesses(logits: Array) -> NDArray[np.int64]:
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.int64)
    guesses: NDArray[np.int64] = logits.argmax(axis=1)
    return guesses
