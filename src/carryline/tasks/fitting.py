"""From parts of examples to a trained model, compared with a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from carryline.evaluation.baseline import baseline
from carryline.model import network
from carryline.model.config import Config
from carryline.model.history import best_epoch
from carryline.model.lexicon import Lexicon
from carryline.model.linear import Linear
from carryline.model.network import Network
from carryline.tasks import choice
from carryline.tasks.choice import Choice, Outside
from carryline.tasks.fitted import Fitted
from carryline.tasks.folds import mean_figures, turns, validated
from carryline.tasks.members import mixed
from carryline.tasks.parts import Part, Parts, made
from carryline.tasks.start import start
from carryline.tasks.vocabulary import vocabulary
from carryline.text.bags import Bags
from carryline.text.cut import Cut
from carryline.text.data import Dataset
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
    fitting = _Fitting(config, known, lexicon, threads, watcher)
    ended = fitting.turns(several, place if whole is None else NOWHERE)
    last = ended[-1]
    chose = _chosen(ended, whole is not None)
    if whole is not None and not last.run.interrupted:
        last = fitting.whole(ended, whole, chose, place)
        if last.run.interrupted:
            chose = _chosen([last], False)
    model = last.finished(chose)
    if whole is not None and last.run.interrupted:
        watcher.message(f"stopped: the model is one of {len(last.parts.train.texts):,} texts")
    turned = len(ended) if last.parts is whole else 0
    model.made = made(last.parts, chose.figures, origin, turned=turned)
    return last.run, model


@dataclass(frozen=True)
class _Turn:
    """What was trained on some texts, and what it tells of those held out, if there are any.

    linear: the candidates for the linear part, which have no shares yet.
    """

    run: Run
    model: Fitted
    linear: list[Linear]
    parts: Parts
    outside: Outside | None

    def finished(self, chose: _Chosen) -> Fitted:
        """The model with the linear part that was chosen, and with the figures."""
        model, choice = self.model, chose.choice
        if self.linear:
            number = choice.linear if len(self.linear) > 1 else 0
            model = mixed(replace(model, linear=self.linear[number]), choice.shares)
        model.history, model.metrics = self.run.history, chose.figures
        model.interrupted = self.run.interrupted
        return model


@dataclass(frozen=True)
class _Chosen:
    """figures: None when there were no texts to choose by."""

    choice: Choice
    figures: dict[str, Any] | None


def _chosen(ended: list[_Turn], by_epoch: bool) -> _Chosen:
    """By the texts held out in turns that ended; Ctrl-C marks the last one."""
    last = ended[-1]
    by_epoch = by_epoch and not last.run.interrupted
    try:
        outside = [turn.outside for turn in ended if turn.outside is not None]
        if outside:
            figures = choice.figures(outside, by_epoch, last.parts.classes)
            return _Chosen(choice.chosen(outside, by_epoch), figures)
    except KeyboardInterrupt:
        last.run.interrupted = True
    return _Chosen(choice.unseen(last.model.config, last.linear), None)


@dataclass(frozen=True)
class _Fitting:
    """What all turns have in common."""

    config: Config
    known: Fitted | None
    lexicon: Lexicon | None
    threads: int
    watcher: Callback

    def turns(self, several: Sequence[Parts], place: Place) -> list[_Turn]:
        """All of them; with Ctrl-C, the one that was ended by it or, if there is one, before it."""
        ended: list[_Turn] = []
        for number, parts in enumerate(several, 1):
            if len(several) > 1:
                self.watcher.message(f"turn {number} of {len(several)}: {_counted(parts)}")
            ended = _with_next(ended, partial(self.turn, parts, place, self.config.epochs))
            if ended[-1].run.interrupted:
                break
        return ended

    def whole(self, ended: list[_Turn], parts: Parts, chose: _Chosen, place: Place) -> _Turn:
        """What was trained on all texts; with Ctrl-C, the last turn."""
        epochs = chose.choice.epoch or self.config.epochs
        many = "1 epoch" if epochs == 1 else f"{epochs} epochs"
        self.watcher.message(f"now the model, on all {len(parts.train.texts):,} texts: {many}")
        fit = partial(self.turn, parts, place, epochs, chose.choice.linear)
        last = _with_next(ended, fit)[-1]
        if not last.run.interrupted:
            last.run.history = validated(last.run.history, [turn.run.history for turn in ended])
        return last

    def turn(self, parts: Parts, place: Place, epochs: int, linear: int | None = None) -> _Turn:
        """linear: the one candidate for the linear part that is wanted."""
        run, model, candidates = self._trained(parts, place, epochs, linear)
        outside = None
        try:
            if parts.valid is not None:
                outside = self._outside(run, model, candidates, parts.valid)
        except KeyboardInterrupt:  # the model is there
            run.interrupted = True
            self.watcher.message("stopped while the texts held out were measured")
        return _Turn(run, model, candidates, parts, outside)

    def _trained(
        self, parts: Parts, place: Place, epochs: int, linear: int | None
    ) -> tuple[Run, Fitted, list[Linear]]:
        """The run on these parts, its model, and the candidates for that one's linear part."""
        config = self.config.replace(epochs=epochs)
        tokenizer, lexicon = vocabulary(
            config, parts.train.texts, self.known, place, self.lexicon, self.watcher
        )
        run = Run(
            config, len(parts.classes), tokenizer.rows, self.threads, self.watcher,
            place.folder, place.source,
        )  # fmt: skip
        run.start = start(config, parts.classes, self.known, lexicon, self.watcher)
        candidates = self._candidates(parts, lexicon, linear) if config.linear else []
        held = None if parts.valid is None else parts.valid.labelled(tokenizer)
        if lexicon is None:
            loop.train(run, parts.train.labelled(tokenizer), held)
        else:
            table.train(run, parts.train.labelled(tokenizer), held, lexicon.vectors)
        if run.interrupted:
            self.watcher.message(
                f"stopped after epoch {len(run.history)} of {config.epochs}; kept: epoch "
                f"{best_epoch(run.history, config.keep)}"
            )
        net = Network(config, run.best, table=not candidates)  # `mixed` makes another one
        model = Fitted(
            self.config, parts.classes, tokenizer, net, run.history, None, lexicon=lexicon
        )
        return run, model, candidates

    def _candidates(
        self, parts: Parts, lexicon: Lexicon | None, number: int | None
    ) -> list[Linear]:
        """Those that there are to choose from, or one of them; without texts to choose by, the
        first."""
        outputs = network.outputs(len(parts.classes))
        balances = linear.worth_trying(outputs, lexicon is not None)
        if parts.valid is None:
            balances = [balances[number or 0]]
        train = parts.train
        weights = losses.text_weights(self.config, train.targets, len(parts.classes), train.weights)
        return linear.fit(
            train.texts, train.targets, outputs,
            Bags(lexicon.vectors) if lexicon else None, balances,
            features=self.config.linear, threads=self.threads, weights=weights,
        )  # fmt: skip

    def _outside(self, run: Run, model: Fitted, candidates: list[Linear], valid: Part) -> Outside:
        """Both parts' logits of the texts held out."""
        ragged = valid.labelled(model.tokenizer).ragged
        kept = model.network.logits(ragged, threads=self.threads)
        cut = Cut.of(valid.texts) if candidates else None
        parts = [each.pieces(cut, self.threads) for each in candidates if cut is not None]
        return Outside([kept, *run.logits], parts, valid.targets)


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
