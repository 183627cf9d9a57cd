"""From examples to a trained model: checked, split, held against the model they are to go on from,
told of, trained on, and compared with a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import ConfigError, DataError
from carryline.evaluation import metrics
from carryline.evaluation.baseline import baseline
from carryline.model import network
from carryline.model.config import NETWORK, Config, differences
from carryline.model.history import best_epoch
from carryline.model.lexicon import Lexicon
from carryline.model.network import Network
from carryline.tasks.fitted import Fitted
from carryline.tasks.vocabulary import vocabulary
from carryline.text import cache
from carryline.text.account import Account, account
from carryline.text.data import Dataset, Label, split
from carryline.text.examples import (
    Examples,
    checked_examples,
    checked_weights,
    classes_of,
    targets_of,
)
from carryline.text.tokens import Tokenizer
from carryline.training import loop, table
from carryline.training.folder import Place
from carryline.training.loop import Labelled, Run
from carryline.training.progress import Callback

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


@dataclass(frozen=True, eq=False)
class Parts:
    """The classes, the part to train on and the one to validate on."""

    classes: list[Label]
    train: Part
    valid: Part | None

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
    return Parts(classes, part, Part(held[0], targets_of(held[1], classes, validation=True)))


def train(
    config: Config,
    parts: Parts,
    known: Fitted | None,
    lexicon: Lexicon | None,
    place: Place,
    threads: int,
    watcher: Callback,
) -> tuple[Run, Fitted]:
    """The run, and the model that it ended with, its figures on the validation part.

    config, lexicon: as `vocabulary.resolved` gives them.
    """
    source = place.source
    if place.resume and source is None:
        watcher.message(f"nothing to resume at {place.out or place.folder}; starting afresh")
    tokenizer, lexicon = vocabulary(config, parts.train.texts, known, place, lexicon, watcher)
    run = Run(config, len(parts.classes), tokenizer.rows, threads, watcher, place.folder, source)
    run.start = _start(known, parts.classes, watcher)
    held = None if parts.valid is None else parts.valid.labelled(tokenizer)
    if lexicon is None:
        loop.train(run, parts.train.labelled(tokenizer), held)
    else:
        table.train(run, parts.train.labelled(tokenizer), held, lexicon.vectors)
    if run.interrupted:
        watcher.message(
            f"stopped after epoch {len(run.history)} of {config.epochs}; kept: epoch "
            f"{best_epoch(run.history, config.keep)}"
        )
    net = Network(config, run.best)
    figures = None
    try:
        if held is not None:
            chances = network.probabilities(net.logits(held.ragged, threads=threads))
            figures = metrics.evaluate(chances, held.targets, parts.classes)
    except KeyboardInterrupt:  # the model is there
        run.interrupted = True
        watcher.message("stopped while the validation part was measured: the model has no figures")
    return run, Fitted(
        config, parts.classes, tokenizer, net, run.history, figures,
        interrupted=run.interrupted, lexicon=lexicon,
    )  # fmt: skip


def told(
    texts: list[str],
    labels: list[Label],
    parts: Parts,
    origin: Dataset | None,
    watcher: Callback,
) -> Account:
    """The account of the data, which whoever watches is told line by line."""
    read = origin or Dataset([], None)
    found = account(texts, labels, skipped=len(read.skipped), guessed=read.guessed)
    train, valid = (None if p is None else parts.labels(p) for p in (parts.train, parts.valid))
    found = found.split(train or [], valid)
    for line in found.lines():
        watcher.message(line)
    return found


def made(parts: Parts, origin: Dataset | None) -> dict[str, Any]:
    """Where the model comes from, as `storage.Stored` keeps it."""
    counts = np.bincount(parts.train.targets, minlength=len(parts.classes))
    sources = [] if origin is None else origin.sources
    return {
        "carryline": version("carryline"),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "texts": len(parts.train.texts),
        "validation_texts": 0 if parts.valid is None else len(parts.valid.texts),
        "class_counts": counts.tolist(),
        "sources": [{"name": name, "sha256": digest} for name, digest in sources if digest],
    }


def compare(model: Fitted, parts: Parts, watcher: Callback) -> None:
    """Puts the baseline on the same parts beside the model's figures. Ctrl-C leaves it out."""
    if model.metrics is None or parts.valid is None or model.interrupted:
        return
    watcher.message("measuring the baseline on the same texts (Ctrl-C leaves it out)")
    train, valid = parts.train, parts.valid
    with suppress(KeyboardInterrupt):
        model.metrics["baseline"] = baseline(
            train.texts, train.targets, valid.texts, valid.targets, parts.classes
        )


def _start(
    known: Fitted | None, classes: list[Label], watcher: Callback
) -> dict[str, NDArray[np.float32]] | None:
    """The weights to go on from, without the head when it is for other classes."""
    if known is None:
        return None
    if classes == known.classes:
        watcher.message("going on from trained weights")
        return dict(known.network.weights)
    shared = len(set(map(str, classes)) & set(map(str, known.classes)))
    watcher.message(
        f"going on from trained weights with a new head: {len(classes)} classes, of which the "
        f"model knew {shared}"
    )
    return {n: value for n, value in known.network.weights.items() if not n.startswith("head.")}


def tell_missing(baseline: bool, pictures: bool, watcher: Callback) -> None:
    """Says what of these there will not be, and which extra brings it."""
    if baseline and find_spec("sklearn") is None:
        watcher.message(
            "scikit-learn is not installed: no linear model will stand beside this one, only the "
            "most frequent class; pip install 'carryline[sklearn]'"
        )
    if pictures and find_spec("matplotlib") is None:
        watcher.message(
            "matplotlib is not installed: the model is saved without pictures; "
            "pip install 'carryline[plot]'"
        )


def check_patience(config: Config, validated: bool, asked: bool, watcher: Callback) -> None:
    """Says that a patience has nothing to wait for.

    asked: whether it does not just come with the preset; then it raises `ConfigError`.
    """
    if validated or not config.patience:
        return
    if asked:
        raise ConfigError(
            f"patience={config.patience} waits for a better {config.keep} of validation texts, and "
            "there are none; give some (valid), or patience=0"
        )
    watcher.message(f"no validation texts: {config.epochs} epochs, of which the last one is kept")


def check_network(trained: Config, wanted: Config) -> None:
    """Raises `ConfigError` when a trained network could not be trained further as it is wanted."""
    theirs = {key: value for key, value in trained.to_dict().items() if key in NETWORK}
    changed = differences(theirs, wanted.to_dict())
    if changed:
        raise ConfigError(
            f"a trained network goes on with its own settings ({changed}); only those of training "
            "may be others"
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
