"""From parts of examples to a trained model, compared with a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.evaluation import metrics
from carryline.evaluation.baseline import baseline
from carryline.model import network
from carryline.model.config import Config
from carryline.model.history import best_epoch
from carryline.model.lexicon import Lexicon
from carryline.model.network import Network
from carryline.tasks.fitted import Fitted
from carryline.tasks.folds import mean_figures, turns, validated
from carryline.tasks.members import USUAL, Held, Shares, mixed, smoothed_best
from carryline.tasks.parts import Parts, made
from carryline.tasks.vocabulary import vocabulary
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
    origin: Dataset | None = None,
) -> tuple[Run, Fitted]:
    """The run, and the model that it ended with, its figures on the texts held out.

    config, lexicon: as `vocabulary.resolved` gives them; origin: of the texts. When Ctrl-C ends a
    turn after the first, or the training on all texts, the model of the turn before is what is
    left, with its own figures.
    """
    if place.resume and place.source is None:
        watcher.message(f"nothing to resume at {place.out or place.folder}; starting afresh")
    several, whole = turns(parts, config.folds, config.seed)
    ended: list[_Turn] = []
    for number, turn in enumerate(several, 1):
        if len(several) > 1:
            watcher.message(f"turn {number} of {len(several)}: {_counted(turn)}")
        where = place if whole is None else NOWHERE
        fit = partial(_turn, config, turn, known, lexicon, where, threads, watcher)
        ended = _with_next(ended, fit)
        if ended[-1].run.interrupted:
            break
    run, model, used = ended[-1].run, ended[-1].model, ended[-1].parts
    again = whole is not None and not run.interrupted
    try:
        epochs, shares, figures = _chosen(ended, config, again)
    except KeyboardInterrupt:
        epochs, shares, figures, run.interrupted = config.epochs, USUAL, None, True
    if whole is not None and not run.interrupted:
        many = "1 epoch" if epochs == 1 else f"{epochs} epochs"
        watcher.message(f"now the model, on all {len(whole.train.texts):,} texts: {many}")
        fit = partial(
            _turn, config.replace(epochs=epochs), whole, known, lexicon, place, threads, watcher
        )
        last = _with_next(ended, fit)
        run, model, used = last[-1].run, last[-1].model, last[-1].parts
        if run.interrupted:
            _, shares, figures = _chosen(last[-1:], config, False)
        else:
            run.history = validated(run.history, [turn.run.history for turn in ended])
    if whole is not None and run.interrupted:
        watcher.message(f"stopped: the model is one of {len(used.train.texts):,} texts")
    model = mixed(model, shares) if model.linear is not None else model
    model.config, model.history, model.metrics = config, run.history, figures
    model.interrupted = run.interrupted
    model.made = made(used, figures, origin, turned=len(ended) if used is whole else 0)
    return run, model


@dataclass(frozen=True)
class _Turn:
    """What was trained on some texts, and how it does on those held out."""

    run: Run
    model: Fitted
    parts: Parts
    held: list[Held]


def _with_next(ended: list[_Turn], fit: Callable[[], _Turn]) -> list[_Turn]:
    """The turns with one more; when Ctrl-C ends it, the one before alone, if there is one."""
    try:
        turn = fit()
        if not ended or not turn.run.interrupted:
            return [*ended, turn]
    except KeyboardInterrupt:
        if not ended:
            raise
    ended[-1].run.interrupted = True
    return ended[-1:]


def _turn(
    config: Config,
    parts: Parts,
    known: Fitted | None,
    lexicon: Lexicon | None,
    place: Place,
    threads: int,
    watcher: Callback,
) -> _Turn:
    run, model = _model(config, parts, known, lexicon, place, threads, watcher)
    held: list[Held] = []
    try:
        held = _held(model, run, parts, threads)
    except KeyboardInterrupt:  # the model is there
        run.interrupted = True
        watcher.message("stopped while the texts held out were measured")
    return _Turn(run, model, parts, held)


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


def _held(model: Fitted, run: Run, parts: Parts, threads: int) -> list[Held]:
    """Both parts' logits of the texts held out: with the kept weights first, then after each
    epoch."""
    if parts.valid is None:
        return []
    texts, targets = parts.valid.texts, parts.valid.targets
    kept = model.network.logits(parts.valid.labelled(model.tokenizer).ragged, threads=threads)
    part = model.linear.logits(texts, threads) if model.linear else np.zeros_like(kept)
    return [Held(recurrent, part, targets) for recurrent in (kept, *run.logits)]


def _chosen(
    turns: Sequence[_Turn], config: Config, by_epoch: bool
) -> tuple[int, Shares, dict[str, Any] | None]:
    """How many epochs are enough, the parts' shares, and the model's figures with them, on all
    texts that were held out. by_epoch: whether an epoch is chosen, by the accuracy of both parts
    together in it and those beside it; else the kept weights are measured."""
    held = [turn.held for turn in turns if turn.held]
    if not held:
        return config.epochs, USUAL, None
    epochs = range(1, min(map(len, held))) if by_epoch else range(1)
    all_held = [Held.together([each[epoch] for each in held]) for epoch in epochs]
    shares = [each.shares() if config.linear else (1.0, 0.0) for each in all_held]
    best = smoothed_best([a.accuracy(s) for a, s in zip(all_held, shares, strict=True)])
    together, chosen = all_held[best], shares[best]
    chances = network.probabilities(together.added(chosen))
    figures = metrics.evaluate(chances, together.targets, turns[0].parts.classes)
    return epochs[best], chosen, figures


def _counted(parts: Parts) -> str:
    held = 0 if parts.valid is None else len(parts.valid.texts)
    return f"{len(parts.train.texts):,} texts to train on, {held:,} held out"


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
