"""Examples as training has them: checked, numbered by class, split; what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import DataError
from carryline.tasks.fitted import Fitted
from carryline.text import cache
from carryline.text.data import Dataset, Label, split
from carryline.text.examples import (
    Examples,
    checked_examples,
    checked_weights,
    classes_of,
    targets_of,
)
from carryline.text.tokens import Tokenizer
from carryline.training.loop import Labelled

Validation = Examples | tuple[Sequence[str], Sequence[Label]] | float | None


@dataclass(frozen=True, eq=False)
class Part:
    """Texts, the number of each one's class [texts], and how much each counts [texts]."""

    texts: list[str]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    def labelled(self, tokenizer: Tokenizer) -> Labelled:
        """The rows of the embedding that the texts read."""
        ids = cache.ids(tokenizer, self.texts)
        return Labelled(ids.like(tokenizer.rows_of(ids.values)), self.targets, self.weights)

    def rows(self, numbers: NDArray[np.int64]) -> Part:
        """Some of the texts."""
        weights = None if self.weights is None else self.weights[numbers]
        return Part([self.texts[i] for i in numbers], self.targets[numbers], weights)

    def counting_alike(self) -> Part:
        return Part(self.texts, self.targets)


@dataclass(frozen=True, eq=False)
class Parts:
    """The classes, the part to train on and the one to validate on. given: whether the texts to
    validate on were given as such, not held out."""

    classes: list[Label]
    train: Part
    valid: Part | None
    given: bool = False

    def labels(self, part: Part) -> list[Label]:
        return [self.classes[target] for target in part.targets.tolist()]


def prepared(
    texts: list[str],
    labels: list[Label],
    weights: ArrayLike | None,
    valid: Validation,
    seed: int,
    known: Fitted | None,
) -> Parts:
    """Checked examples, split. Texts of weight 0 are as if they were not there; validation texts
    count all the same; the classes of a known model stay if they have all the labels.

    Raises `DataError`.
    """
    counts = _shares(weights, len(texts))
    if counts is not None and not counts.all():
        texts, labels = _rows((texts, labels), np.flatnonzero(counts))
        counts = counts[counts > 0]
    classes = classes_of(labels)
    if known and set(map(str, classes)) <= set(map(str, known.classes)):
        classes = known.classes
    held: Examples | None = None
    if _is_pair(valid):
        held = checked_examples(valid[0], valid[1])
    else:
        train, rest = split(labels, _checked_share(valid), seed)
        if len(rest):
            held, (texts, labels) = _rows((texts, labels), rest), _rows((texts, labels), train)
            counts = None if counts is None else counts[train]
    part = Part(texts, targets_of(labels, classes), counts)
    if held is None:
        return Parts(classes, part, None)
    return Parts(
        classes, part, Part(held[0], targets_of(held[1], classes, validation=True)), _is_pair(valid)
    )


def _is_pair(valid: Validation) -> TypeGuard[tuple[Sequence[str], Sequence[Label]]]:
    if isinstance(valid, str | bytes) or not isinstance(valid, Sequence):
        return False
    if len(valid) != 2:
        raise DataError(
            f"valid must be texts and their labels, or a share; it has {len(valid)} parts"
        )
    return True


def _checked_share(valid: Any) -> float:
    if valid is None:
        return 0.0
    if isinstance(valid, bool) or not isinstance(valid, int | float | np.number):
        raise DataError(f"valid must be texts and their labels, or a share; it is {valid!r:.60}")
    return float(valid)


def _shares(weights: ArrayLike | None, texts: int) -> NDArray[np.float32] | None:
    """Divided by their mean: alone what they are to each other counts."""
    counts = checked_weights(weights, texts)
    if counts is None:
        return None
    counts = counts / counts.max()  # a sum of large ones would be infinite
    shares: NDArray[np.float32] = (counts / counts[counts > 0].mean()).astype(np.float32)
    return shares


def _rows(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    return [examples[0][i] for i in rows], [examples[1][i] for i in rows]


def made(
    parts: Parts, figures: dict[str, Any] | None, origin: Dataset | None, turned: int
) -> dict[str, Any]:
    """Where a model of these parts comes from, as `storage.Stored` keeps it.

    turned: how many turns of holding out there were before it was trained on all texts.
    """
    counts = np.bincount(parts.train.targets, minlength=len(parts.classes))
    sources = [] if origin is None else origin.sources
    held = 0 if parts.valid is None else len(parts.valid.texts)
    if turned and figures is not None:
        held = figures["texts"]
    return {
        "carryline": version("carryline"),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "texts": len(parts.train.texts),
        "validation_texts": held,
        "class_counts": counts.tolist(),
        "sources": [{"name": name, "sha256": digest} for name, digest in sources if digest],
        **({"turns": turned} if turned else {}),
    }
