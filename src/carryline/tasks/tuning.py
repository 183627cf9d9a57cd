"""A search over settings that ends in a trained model."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carryline.errors import ConfigError, OutputError
from carryline.evaluation import card, metrics, tuning_picture
from carryline.evaluation.trials import COMPLETE, Check, Outcome, Trial, as_csv, section
from carryline.files import write_whole
from carryline.model import config as configuration
from carryline.model import network, storage
from carryline.model.config import Config
from carryline.recurrence.machine import checked_threads
from carryline.tasks import beforehand, fitted, fitting, trying
from carryline.tasks.fitted import Fitted
from carryline.tasks.parts import Part, Parts, Validation, prepared
from carryline.tasks.search import Proposals, check_packages
from carryline.tasks.space import defaults, plain, searched
from carryline.tasks.trying import Search
from carryline.tasks.vocabulary import resolved
from carryline.text.data import Dataset, Label, split
from carryline.text.examples import checked_examples
from carryline.training.folder import Place, beside, check_unlocked, holds_checkpoint, locked
from carryline.training.folder import discard as discard_checkpoint
from carryline.training.progress import Callback

# Of so many texts a tenth of those to train on is left aside for a last check. Of 2,000 it is 180,
# on which an accuracy of 0.8 is known to within three points: with fewer that figure would say too
# little for what the missing texts cost the trials.
ENOUGH, ASIDE = 2000, 0.1


@dataclass(frozen=True)
class Tuned:
    """What a search has found, and where its model is.

    config: the winner's settings. interrupted: whether Ctrl-C ended the search. exact: whether
    training with these settings on the same texts makes the model again, to the bit; not where
    Ctrl-C came before the winner was trained on all of them.
    """

    path: Path
    config: Config
    outcome: Outcome
    interrupted: bool
    exact: bool


def tune(
    texts: Iterable[str],
    labels: Iterable[Label],
    out: str | Path,
    *,
    preset: str = "base",
    settings: Mapping[str, Any] | None = None,
    valid: Validation = 0.1,
    minutes: float | None = None,
    trials: int | None = None,
    threads: int | None = None,
    resume: bool = False,
    baseline: bool = True,
    origin: Dataset | None = None,
    watcher: Callback | None = None,
) -> Tuned:
    """Search settings around those of a preset for the best model on validation texts.

    texts, labels, valid, threads, baseline, origin: as of `TextClassifier.fit`; of 2,000 texts and
    more a tenth of those to train on is left aside too, to measure the winner by at the end, which
    is then trained once more with them. settings: those that are given are fixed. minutes, trials:
    the budget, whichever is spent first; at the end of the minutes the trial that runs ends with
    its epoch. The same seed (a setting) and the same texts give the same trials in the same order;
    how many, minutes leave to the machine.

    The first trial is the defaults. The model goes to the folder `out`, which must not exist, with
    trials.csv, plots/tuning.png and a section of its card; until then everything is in
    `out`.partial. Ctrl-C ends the search and leaves the best model so far, of one epoch or more,
    and that folder. resume: go on from it, with the same texts and settings; the budget counts
    what was spent before.

    Raises `DataError`, `ConfigError`, `OutputError`, `MissingExtraError` without Optuna, and
    `TrainingError` where the defaults cannot be trained.
    """
    out, watcher = Path(out), watcher or Callback()
    check(out, resume)
    check_budget(minutes, trials)
    given = settings or {}
    base, lexicon = resolved(
        configuration.preset(preset, **given), by_hand=given.get("embedding") is not None
    )
    base = comparable(base, given)
    if lexicon is not None:  # whose width is that of the embedding
        given = {**given, "embedding": base.embedding}
    proposals = Proposals(base, searched(base, given))
    if not proposals.space:
        raise ConfigError("a search needs a setting that is not given; all it searches are")
    examples = checked_examples(texts, labels)
    whole = prepared(*examples, None, valid, base.seed, None)
    if whole.valid is None:
        raise ConfigError("a search needs validation texts to compare settings by, there are none")
    beforehand.told(*examples, whole, origin, watcher)
    beforehand.tell_missing(baseline, True, watcher)
    parts, aside = set_aside(whole, base.seed)
    if aside:
        watcher.message(f"{len(aside.texts):,} of the texts to train on are left aside for a check")
    with locked(beside(out)):
        check_place(out, resume)  # again: now nobody comes between
        search = Search(
            beside(out), proposals, parts, identity(proposals, parts), checked_threads(threads),
            origin, watcher, lexicon,
        )  # fmt: skip
        try:
            if search.begun:
                search.restore()
            elif resume:
                watcher.message(f"nothing to resume at {out}; starting afresh")
            interrupted = search.run(minutes, trials)
            return Delivery(search, whole, aside, out, baseline).deliver(interrupted)
        finally:
            if not search.begun:
                trying.discard(search.folder)
                discard_checkpoint(search.folder)


def comparable(base: Config, given: Mapping[str, Any]) -> Config:
    """The settings around which is searched: trials are compared by one figure of the same texts,
    so none of these is trained on. Raises `ConfigError` when that is not as it is given."""
    if given.get("folds") and base.folds:
        raise ConfigError(f"folds of a search is 0: it has texts to compare by, it is {base.folds}")
    if given.get("keep") and base.keep == "last":
        raise ConfigError("keep of a search is a figure to compare trials by, it is 'last'")
    keep = "macro_f1" if base.keep == "last" else base.keep
    return base.replace(folds=0, keep=keep)


def check_budget(minutes: float | None, trials: int | None) -> None:
    """Raises `ConfigError` without one, and for one that is none."""
    if minutes is None and trials is None:
        raise ConfigError("a search needs a budget: minutes, trials or both")
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"minutes of a search > 0, they are {minutes}")
    if trials is not None and trials < 1:
        raise ConfigError(f"trials of a search >= 1, they are {trials}")


def check(out: Path, resume: bool) -> None:
    """Raises what `tune` would raise before it looks at a text: `MissingExtraError`,
    `OutputError`."""
    check_packages()
    check_place(out, resume)
    check_unlocked(beside(out))


def check_place(out: Path, resume: bool) -> None:
    """Raises `OutputError` where a search could not write, or would write over another's work."""
    folder = beside(out)
    begun = trying.begun(folder)
    if begun and not resume:
        raise OutputError(
            f"{folder} holds the trials of a search; --resume (resume=True) goes on with it, or "
            "delete it to start afresh"
        )
    storage.check_output(out, replace=begun)  # Ctrl-C left a model there
    if not begun:
        Place(None, folder, False).check_contents()


def set_aside(whole: Parts, seed: int) -> tuple[Parts, Part | None]:
    """What the trials get, and the part that is left for a last check, where there are enough."""
    train, valid = whole.train, whole.valid
    if len(train.texts) + (0 if valid is None else len(valid.texts)) < ENOUGH:
        return whole, None
    left, aside = split(whole.labels(train), ASIDE, seed)
    parts = [Part([train.texts[i] for i in rows], train.targets[rows]) for rows in (left, aside)]
    return Parts(whole.classes, parts[0], valid), parts[1]


def identity(proposals: Proposals, parts: Parts) -> dict[str, Any]:
    """What a search that goes on must share with the one before."""
    known: dict[str, Any] = {
        "settings": proposals.base.to_dict(),
        "searched settings": {name: str(kind) for name, kind in proposals.space.items()},
    }
    for name, part in (("training data", parts.train), ("validation data", parts.valid)):
        digest = hashlib.sha256()
        if part:
            for text, label in zip(part.texts, parts.labels(part), strict=True):
                digest.update(f"{len(text)} {text}{label}\0".encode(errors="surrogatepass"))
        known[name] = digest.hexdigest()
    return known


@dataclass
class Delivery:
    """The end of a search: its winner, measured, trained on all texts, and put where it belongs."""

    search: Search
    whole: Parts
    aside: Part | None
    out: Path
    baseline: bool

    def deliver(self, interrupted: bool) -> Tuned:
        search, winner = self.search, self.search.winner
        model, check, retrained = fitted.read(search.model_of(winner)), self.check(), False
        if not interrupted and (self.aside or winner.state != COMPLETE):
            final = self.train(model.config, winner)
            retrained, interrupted = final is not None, final is None
            model = final or model
        if self.baseline and not interrupted:
            fitting.compare(model, self.whole if retrained else search.parts, search.watcher)
        outcome = self.outcome(check, retrained)
        model.save(self.out, replace=True, extras=lambda folder: add(folder, outcome))
        if not interrupted:
            self.discard()
        exact = retrained or (self.aside is None and winner.state == COMPLETE)
        return Tuned(self.out, model.config, outcome, interrupted, exact)

    def check(self) -> Check | None:
        """The winner and the defaults on the texts that were left aside."""
        trials = [self.search.winner, self.search.trials[0]]
        if self.aside is None:
            return None
        winner, usual = (self.measured(trial) for trial in trials)
        return Check(winner, None if trials[0] is trials[1] else usual)

    def measured(self, trial: Trial) -> dict[str, Any]:
        """Of its model, on the texts that were left aside."""
        assert self.aside is not None
        model = fitted.read(self.search.model_of(trial))
        logits, _ = model.logits(self.aside.texts, threads=self.search.threads)
        return metrics.evaluate(network.probabilities(logits), self.aside.targets, model.classes)

    def train(self, config: Config, winner: Trial) -> Fitted | None:
        """The winner once more, on all that is not for validation, and to the last epoch; None when
        Ctrl-C ended that."""
        search = self.search
        folder = search.folder / f"final-{winner.number}"
        search.watcher.message("training the winner once more, on all texts to train on")
        place = Place(None, folder, holds_checkpoint(folder))
        try:
            with place.occupied():
                _, model = fitting.train(
                    config, self.whole, None, search.lexicon, place, search.threads,
                    search.watcher, search.origin,
                )  # fmt: skip
        except KeyboardInterrupt:  # before its first epoch had ended
            return None
        return None if model.interrupted else model

    def outcome(self, check: Check | None, retrained: bool) -> Outcome:
        proposals, valid = self.search.proposals, self.search.parts.valid
        return Outcome(
            self.search.trials,
            proposals.base.keep,
            0 if valid is None else len(valid.texts),
            plain(defaults(proposals.base, proposals.space)),
            check,
            retrained and self.aside is not None,
        )

    def discard(self) -> None:
        folder = self.search.folder
        trying.discard(folder)
        discard_checkpoint(folder)


def add(folder: Path, outcome: Outcome) -> None:
    """What a search adds to a model directory."""
    write_whole(folder / "trials.csv", as_csv(outcome).encode())
    drawn = importlib.util.find_spec("matplotlib") is not None
    if drawn:
        tuning_picture.plot_tuning(outcome, folder / "plots" / "tuning.png")
    file = folder / "README.md"
    text = card.extended(file.read_text(encoding="utf-8"), section(outcome, drawn))
    write_whole(file, text.encode())
