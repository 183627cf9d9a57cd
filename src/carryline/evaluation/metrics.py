"""How good predictions are: figures, and tables of them for the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import InputError
from carryline.text.data import Label
from carryline.text.tokens import visible

# With more classes than this a matrix is too wide for a terminal: the largest confusions instead.
_MATRIX_CLASSES = 12
_LONGEST_NAME = 24
_NAMED = 10  # classes that a sentence names


Shown = Callable[..., str]  # a label or word, and how long it may be


class Pair(NamedTuple):
    """Texts of one class that were taken for another."""

    true: int
    predicted: int
    texts: int
    share: float  # of the texts of the true class


def evaluate(
    probabilities: ArrayLike, targets: ArrayLike, classes: Sequence[Label]
) -> dict[str, Any]:
    """Figures for probabilities [texts, classes] against targets [texts], the true class numbers.

    The predicted class is the most probable one, the lowest of equals. Returns plain numbers,
    ready for JSON:

    - texts, accuracy;
    - macro_f1: the mean over the classes that have a text among the targets;
    - unmeasured: the labels of the others, of which nothing can be said;
    - loss: mean cross-entropy in nats, each probability taken as at least 2.2e-16 so that it is
      finite;
    - roc_auc: of class 1 when there are two, else the mean of each class against the rest; None
      when a class is not among the targets;
    - confusion [true][predicted], texts;
    - per_class: label, precision, recall, f1 (0 where nothing can be divided) and support, texts.

    Raises `InputError` when the shapes or values do not fit.
    """
    count = len(classes)
    p, y = _checked(probabilities, targets, count)
    predicted = p.argmax(axis=1)
    confusion = np.bincount(y * count + predicted, minlength=count**2).reshape(count, count)
    right, support, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = _divided(2 * right, support + answered)
    each = _divided(right, answered), _divided(right, support), f1, support
    truth = np.clip(p[np.arange(len(y)), y], np.finfo(np.float64).eps, 1.0)
    present = support > 0
    scored = range(count) if count > 2 else [1]
    return {
        "texts": len(y),
        "accuracy": float((predicted == y).mean()),
        "loss": abs(float(-np.log(truth).mean())),  # abs: no -0.0
        "macro_f1": float(f1[present].mean()),
        "roc_auc": float(np.mean([_area(p[:, k], y == k) for k in scored]))
        if present.all()
        else None,
        "confusion": confusion.tolist(),
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
        "unmeasured": [label for label, there in zip(classes, present, strict=True) if not there],
    }


def _divided(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """0 where nothing can be divided."""
    share: NDArray[np.float64] = part / np.maximum(whole, 1)
    return share


def _area(chances: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Under the ROC curve: of all pairs of a text of the class and one of the rest, the share in
    which the first has the higher chance [texts]; a pair of equals counts half."""
    ours, others = chances[true], np.sort(chances[~true])
    below = np.searchsorted(others, ours, "left")
    not_above = np.searchsorted(others, ours, "right")
    return int((below + not_above).sum()) / (2 * len(ours) * len(others))


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


def name(label: Label, longest: int = _LONGEST_NAME) -> str:
    """A class name for a table or a picture: on one line, shortened in the middle."""
    text = visible(str(label))
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[: longest - 1 - head]}…{text[len(text) - head :]}"


def unmeasured(metrics: dict[str, Any], shown: Shown = name) -> str:
    """A sentence on the classes that could not be measured, empty when all could.

    shown: `name`, or what takes its place where the sentence is shown.
    """
    names = [shown(row["label"]) for row in metrics["per_class"] if not row["support"]]
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    rest = len(metrics["per_class"]) - len(names)
    others = "the other class alone" if rest == 1 else f"the other {rest} classes"
    return f"not measured: no text of {', '.join(names[:_NAMED])}{more}; macro F1 is of {others}"


def worst_pairs(metrics: dict[str, Any], most: int = 10) -> list[Pair]:
    """The confusions that most texts met, largest first; of equals the larger share."""
    pairs = [
        Pair(i, j, texts, texts / sum(row))
        for i, row in enumerate(metrics["confusion"])
        for j, texts in enumerate(row)
        if texts and i != j
    ]
    pairs.sort(key=lambda pair: (-pair.texts, -pair.share, pair.true, pair.predicted))
    return pairs[:most]


def table(metrics: dict[str, Any]) -> str:
    """The figures of `evaluate` as lines of text for the terminal, without a last line break."""
    names = [name(row["label"]) for row in metrics["per_class"]]
    rows = [["class", "precision", "recall", "F1", "texts"]]
    for label, row in zip(names, metrics["per_class"], strict=True):
        rows.append([label, *shares(row), f"{row['support']:,}"])
    auc = "one class is missing" if metrics["roc_auc"] is None else f"{metrics['roc_auc']:.4f}"
    totals = [
        ["accuracy", f"{metrics['accuracy']:.4f}"],
        ["macro F1", f"{metrics['macro_f1']:.4f}"],
        ["ROC-AUC", auc],
        ["loss", f"{metrics['loss']:.4f}"],
        ["texts", f"{metrics['texts']:,}"],
    ]
    parts = [_aligned(rows), _aligned(totals), [unmeasured(metrics)], _confusions(names, metrics)]
    return "\n\n".join("\n".join(part) for part in parts if any(part))


def shares(row: dict[str, Any]) -> list[str]:
    """Precision, recall and F1 of a row of `per_class`, dashes for a class without a text."""
    figures = [row[key] for key in ("precision", "recall", "f1")]
    return [f"{figure:.4f}" if row["support"] else "–" for figure in figures]


def _confusions(names: list[str], metrics: dict[str, Any]) -> list[str]:
    """The matrix, or with many classes the cells off its diagonal that hold most texts."""
    if len(names) <= _MATRIX_CLASSES:
        rows = [["true \\ predicted", *(name(label, 12) for label in names)]]
        for label, row in zip(names, metrics["confusion"], strict=True):
            rows.append([label, *(f"{n:,}" for n in row)])
        return _aligned(rows)
    rows = [
        [f"{names[pair.true]} → {names[pair.predicted]}", f"{pair.texts:,}", f"{pair.share:.1%}"]
        for pair in worst_pairs(metrics)
    ]
    return _aligned([["true → predicted, most frequent", "texts", "of the true class"], *rows])


# --- beside a baseline


def contenders(metrics: dict[str, Any], shown: Shown = name) -> list[tuple[str, float, float]]:
    """Name, accuracy and macro F1 of the model and of what it is compared with on the same texts.

    Empty without `metrics["baseline"]`, which is: majority (label, accuracy, macro_f1: of always
    answering the most frequent class), linear (name, accuracy, macro_f1, texts, seconds; or None)
    and why there is no linear one.
    """
    baseline = metrics.get("baseline")
    if baseline is None:
        return []
    majority, linear = baseline["majority"], baseline["linear"]
    rows = [("this model", metrics), (f"always {shown(majority['label'])}", majority)]
    if linear is not None:
        rows.insert(1, (shown(linear["name"], 40), linear))
    return [(who, figures["accuracy"], figures["macro_f1"]) for who, figures in rows]


def verdict(metrics: dict[str, Any], shown: Shown = name) -> list[str]:
    """Sentences on `contenders`: who is ahead when it is not the model, why one is missing."""
    baseline, said = metrics.get("baseline"), []
    if baseline is None:
        return []
    linear, majority = baseline["linear"], baseline["majority"]
    other = linear and shown(linear["name"], 40)
    ours = metrics["accuracy"], metrics["macro_f1"]
    if linear is None:
        said.append(f"No linear model stands beside it: {shown(baseline['why'], 200)}.")
    else:
        ahead = linear["accuracy"] > ours[0], linear["macro_f1"] > ours[1]
        by = " and ".join(w for w, b in zip(("accuracy", "macro F1"), ahead, strict=True) if b)
        if by:
            said.append(f"{other} is ahead of this model in {by}, and is the simpler one.")
        took = f"{linear['seconds']:.1f} s" if linear["seconds"] >= 0.05 else "less than 0.1 s"
        all_texts = linear.get("of", linear["texts"])  # models of before do not say
        part = f" of {all_texts:,}" if all_texts > linear["texts"] else ""
        said.append(f"{other} learned from {linear['texts']:,}{part} texts in {took}.")
    if majority["accuracy"] >= ours[0] and majority["macro_f1"] >= ours[1]:
        said.append(
            f"Always answering {shown(majority['label'])} does as well: this model has learned "
            "nothing of use."
        )
    return said


def comparison(metrics: dict[str, Any]) -> str:
    """The model beside its baselines as lines for the terminal; empty without `baseline`."""
    rows = [[who, f"{accuracy:.4f}", f"{f1:.4f}"] for who, accuracy, f1 in contenders(metrics)]
    if not rows:
        return ""
    return "\n".join([*_aligned([["", "accuracy", "macro F1"], *rows]), "", *verdict(metrics)])


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
