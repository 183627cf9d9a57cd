"""How good predictions are: figures by scikit-learn, and a table of them for the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import InputError, MissingExtraError
from carryline.text.data import Label
from carryline.text.tokens import visible

# With more classes than this a matrix is too wide for a terminal: the largest confusions instead.
_MATRIX_CLASSES = 12
_LONGEST_NAME = 24


def evaluate(
    probabilities: ArrayLike, targets: ArrayLike, classes: Sequence[Label]
) -> dict[str, Any]:
    """Figures for probabilities [texts, classes] against targets [texts], the true class numbers.

    The predicted class is the most probable one, the lowest of equals. Returns plain numbers,
    ready for JSON:

    - texts, accuracy, macro_f1 (over all classes, absent ones too);
    - loss: mean cross-entropy in nats, each probability taken as at least 2.2e-16 so that it is
      finite;
    - roc_auc: of class 1 when there are two, else the mean of each class against the rest; None
      when a class is not among the targets;
    - confusion [true][predicted], texts;
    - per_class: label, precision, recall, f1 (0 where nothing can be divided) and support, texts.

    Raises `InputError` when the shapes or values do not fit, `MissingExtraError` without
    scikit-learn.
    """
    try:
        from sklearn import metrics as sk
    except ImportError:
        raise MissingExtraError("scikit-learn", "train", "evaluating a model") from None
    p, y = _checked(probabilities, targets, len(classes))
    numbers = range(len(classes))
    predicted = p.argmax(axis=1)
    each = sk.precision_recall_fscore_support(y, predicted, labels=numbers, zero_division=0)
    truth = np.clip(p[np.arange(len(y)), y], np.finfo(np.float64).eps, 1.0)
    present = len(np.unique(y)) == len(classes)
    scored = numbers if len(classes) > 2 else [1]
    return {
        "texts": len(y),
        "accuracy": float((predicted == y).mean()),
        "loss": abs(float(-np.log(truth).mean())),  # abs: no -0.0
        "macro_f1": float(each[2].mean()),
        "roc_auc": float(np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in scored]))
        if present
        else None,
        "confusion": sk.confusion_matrix(y, predicted, labels=numbers).tolist(),
        "per_class": [
            {
                "label": label,
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(f1),
                "support": int(support),
            }
            for label, precision, recall, f1, support in zip(classes, *each, strict=True)
        ],
    }


def _checked(
    probabilities: ArrayLike, targets: ArrayLike, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p, y = np.asarray(probabilities, np.float64), np.asarray(targets)
    if classes < 2:
        raise InputError(f"figures need two classes or more, there is {classes}")
    if y.ndim != 1 or len(y) == 0 or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"targets are class numbers of one text or more, not {y.dtype} {y.shape}")
    if p.shape != (len(y), classes):
        raise InputError(f"probabilities are {(len(y), classes)} for these targets, not {p.shape}")
    if y.min() < 0 or y.max() >= classes:
        raise InputError(f"targets go from 0 to {classes - 1}, these from {y.min()} to {y.max()}")
    if not ((p >= 0) & (p <= 1 + 1e-5)).all():
        raise InputError(f"probabilities go from 0 to 1, these from {p.min()} to {p.max()}")
    return p, y.astype(np.int64)


def table(metrics: dict[str, Any]) -> str:
    """The figures of `evaluate` as lines of text for the terminal, without a last line break."""
    names = [name(row["label"]) for row in metrics["per_class"]]
    rows = [["class", "precision", "recall", "F1", "texts"]]
    for label, row in zip(names, metrics["per_class"], strict=True):
        shares = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
        rows.append([label, *shares, f"{row['support']:,}"])
    auc = "one class is missing" if metrics["roc_auc"] is None else f"{metrics['roc_auc']:.4f}"
    totals = [
        ["accuracy", f"{metrics['accuracy']:.4f}"],
        ["macro F1", f"{metrics['macro_f1']:.4f}"],
        ["ROC-AUC", auc],
        ["loss", f"{metrics['loss']:.4f}"],
        ["texts", f"{metrics['texts']:,}"],
    ]
    return "\n".join(
        [*_aligned(rows), "", *_aligned(totals), "", *_confusions(names, metrics["confusion"])]
    )


def name(label: Label, longest: int = _LONGEST_NAME) -> str:
    """A class name for a table or a picture: on one line, shortened in the middle."""
    text = visible(str(label))
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[: longest - 1 - head]}…{text[len(text) - head :]}"


def _confusions(names: list[str], confusion: list[list[int]]) -> list[str]:
    """The matrix, or with many classes the cells off its diagonal that hold most texts."""
    if len(names) <= _MATRIX_CLASSES:
        rows = [["true \\ predicted", *(name(label, 12) for label in names)]]
        rows += [[names[i], *(f"{n:,}" for n in row)] for i, row in enumerate(confusion)]
        return _aligned(rows)
    wrong = [
        (n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if n and i != j
    ]
    wrong.sort(key=lambda cell: (-cell[0], cell[1:]))
    largest = [[f"{names[i]} → {names[j]}", f"{n:,}"] for n, i, j in wrong[:10]]
    return _aligned([["true → predicted, most frequent", "texts"], *largest])


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns side by side: the first to the left, numbers to the right."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first + " " * (widths[0] - _width(first))]
        cells += [" " * (w - _width(c)) + c for w, c in zip(widths[1:], others, strict=True)]
        lines.append("  ".join(cells))
    return lines


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes: two for East Asian characters, 0 for marks."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me") for c in text)
