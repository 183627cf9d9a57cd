"""From examples to a trained model: checked, split, held against the model they are to go on from,
told of, trained on, and compared with a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ConfigError
from carryline.evaluation import metrics
from carryline.evaluation.baseline import baseline
from carryline.model import network
from carryline.model.config import NETWORK, Config, differences
from carryline.model.history import best_epoch
from carryline.model.lexicon import Lexicon
from carryline.model.network import Network
from carryline.tasks.fitted import Fitted
from carryline.tasks.folds import enough_epochs, mean_figures, turns, validated
from carryline.tasks.members import USUAL, Held, Shares, mixed
from carryline.tasks.parts import Parts
from carryline.tasks.vocabulary import vocabulary
from carryline.text.account import Account, account
from carryline.text.bags import Bags
from carryline.text.data import Dataset, Label
from carryline.training import linear, loop, losses, table
from carryline.training.folder import NOWHERE, Place
from carryline.training.loop import Run
from carryline.training.progress import Callback


def train(
    config: Config,
    parts: Parts,
    known: Fitted | None,
    lexicon: Lexicon | None,
    place: Place,
    threads: int,
    watcher: Callback,
) -> tuple[Run, Fitted]:
    """The run, and the model that it ended with, its figures on the texts held out.

    config, lexicon: as `vocabulary.resolved` gives them.
    """
    if place.resume and place.source is None:
        watcher.message(f"nothing to resume at {place.out or place.folder}; starting afresh")
    several, whole = turns(parts, config.folds, config.seed)
    histories, held = [], []
    for number, turn in enumerate(several, 1):
        if len(several) > 1:
            watcher.message(f"turn {number} of {len(several)}: {_counted(turn)}")
        where = place if whole is None else NOWHERE
        run, model = _model(config, turn, known, lexicon, where, threads, watcher)
        histories.append(run.history)
        try:
            held.append(_held(model, turn, threads))
        except KeyboardInterrupt:  # the model is there
            run.interrupted = True
            watcher.message("stopped while the texts held out were measured")
        if run.interrupted:
            whole = None
            break
    shares, figures = _chosen(held, config, parts.classes)
    if whole is not None:
        epochs = enough_epochs(histories, config.keep)
        watcher.message(f"now the model, on all {len(whole.train.texts):,} texts: {epochs} epochs")
        settled = config.replace(epochs=epochs)
        run, model = _model(settled, whole, known, lexicon, place, threads, watcher)
        run.history, model.config = validated(run.history, histories), config
    model = mixed(model, shares) if model.linear is not None else model
    model.history, model.metrics, model.interrupted = run.history, figures, run.interrupted
    return run, model


def _model(
    config: Config,
    parts: Parts,
    known: Fitted | None,
    lexicon: Lexicon | None,
    place: Place,
    threads: int,
    watcher: Callback,
) -> tuple[Run, Fitted]:
    """The run on these parts, and its model, whose linear part has not got its share yet."""
    tokenizer, lexicon = vocabulary(config, parts.train.texts, known, place, lexicon, watcher)
    run = Run(
        config, len(parts.classes), tokenizer.rows, threads, watcher, place.folder, place.source
    )
    run.start = _start(known, parts.classes, watcher)
    part = None
    if config.linear:
        part = linear.fit(
            parts.train.texts, parts.train.targets, network.outputs(run.classes),
            Bags(lexicon.vectors) if lexicon else None,
            features=config.linear, threads=threads,
            weights=losses.text_weights(
                config, parts.train.targets, run.classes, parts.train.weights
            ),
        )  # fmt: skip
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
    return run, Fitted(
        config, parts.classes, tokenizer, net, run.history, None, lexicon=lexicon, linear=part
    )


def _held(model: Fitted, parts: Parts, threads: int) -> Held | None:
    """Both parts' logits of the texts held out."""
    if parts.valid is None:
        return None
    texts = parts.valid.texts
    recurrent = model.network.logits(parts.valid.labelled(model.tokenizer).ragged, threads=threads)
    part = model.linear.logits(texts, threads) if model.linear else np.zeros_like(recurrent)
    return Held(recurrent, part, parts.valid.targets)


def _chosen(
    held: Sequence[Held | None], config: Config, classes: list[Label]
) -> tuple[Shares, dict[str, Any] | None]:
    """The parts' shares, and the model's figures, on all texts that were held out."""
    found = [each for each in held if each is not None]
    if not found:
        return USUAL, None
    together = Held.together(found)
    shares = together.shares() if config.linear else (1.0, 0.0)
    chances = network.probabilities(together.added(shares))
    return shares, metrics.evaluate(chances, together.targets, classes)


def _counted(parts: Parts) -> str:
    held = 0 if parts.valid is None else len(parts.valid.texts)
    return f"{len(parts.train.texts):,} texts to train on, {held:,} held out"


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
    """Puts the baseline on the same texts beside the model's figures. Ctrl-C leaves it out."""
    if model.metrics is None or parts.valid is None or model.interrupted:
        return
    watcher.message("measuring the baseline on the same texts (Ctrl-C leaves it out)")
    several, _ = turns(parts, model.config.folds, model.config.seed)
    with suppress(KeyboardInterrupt):
        found = []
        for turn in several:
            assert turn.valid is not None
            train, valid = turn.train, turn.valid
            found.append(
                baseline(train.texts, train.targets, valid.texts, valid.targets, parts.classes)
            )
        model.metrics["baseline"] = mean_figures(found)


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
