"""The trials of a search, one after the other, each kept when it has ended.

A folder holds them as long as the search lasts:

    search.json     what is searched, and the trials that have ended; written after each
    trial-N/        the models of the first trial and of the best one
    final-N/        the checkpoint of the winner's last training
    training.lock   locked by the process that searches here
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from carryline.errors import ConfigError, TrainingError
from carryline.evaluation.trials import (
    COMPLETE,
    FAILED,
    NAMES,
    PRUNED,
    STOPPED,
    Trial,
    best,
    sign,
    told,
)
from carryline.files import read, write_whole
from carryline.model import storage
from carryline.model.config import Config, differences
from carryline.model.history import finished
from carryline.model.lexicon import Lexicon
from carryline.tasks import fitting
from carryline.tasks.fitted import Fitted
from carryline.tasks.parts import Parts
from carryline.tasks.search import Proposals
from carryline.text.data import Dataset
from carryline.training.folder import NOWHERE
from carryline.training.progress import Callback

STATE, FORMAT = "search.json", 1
LARGEST_STATE = 64 << 20  # bytes; a trial takes less than a kilobyte


class Watch(Callback):
    """Ends a trial that is hopeless, or when the time is over; keeps its figures.

    hopeless(figures): whether to end a trial that had these so far. config: of the trial. state:
    how it has ended.
    """

    def __init__(self, hopeless: Callable[[Sequence[float]], bool], deadline: float) -> None:
        self.hopeless, self.deadline, self.config = hopeless, deadline, Config()
        self.rows: list[Mapping[str, Any]] = []
        self.figures: list[float] = []
        self.state = COMPLETE

    def epoch(self, row: Mapping[str, Any]) -> bool:
        keep, better = self.config.keep, max if sign(self.config.keep) > 0 else min
        self.rows.append(row)
        self.figures.append(better([*self.figures[-1:], row[f"valid_{keep}"]]))
        if finished(self.rows, self.config):
            return False
        if self.hopeless(self.figures):
            self.state = PRUNED
        elif time.monotonic() >= self.deadline:
            self.state = STOPPED
        return self.state != COMPLETE


@dataclass
class Search:
    """A search in `folder`. parts: what every trial trains on and is measured by; identity: what a
    search that goes on must share with the one before, as `settings` and names of data."""

    folder: Path
    proposals: Proposals
    parts: Parts
    identity: dict[str, Any]
    threads: int
    origin: Dataset | None
    watcher: Callback
    lexicon: Lexicon | None = None
    trials: list[Trial] = field(default_factory=list)
    began: float = 0.0  # on the monotonic clock, less what earlier processes took

    @property
    def winner(self) -> Trial:
        return best(self.trials, self.proposals.base.keep)[0]

    def model_of(self, trial: Trial) -> Path:
        """The folder of its model: of the first trial, and of the winner."""
        return self.folder / f"trial-{trial.number}"

    @property
    def begun(self) -> bool:
        """Whether there is a trial to go on from."""
        return begun(self.folder)

    def restore(self) -> None:
        """The trials that are there. Raises `ConfigError` when they are of another search."""
        state = json.loads(read(self.folder / STATE, LARGEST_STATE))
        if state["format"] != FORMAT:
            raise ConfigError(f"cannot resume: another version of Carryline wrote {self.folder}")
        theirs = dict(state["identity"])
        changed = differences(theirs.pop("settings"), self.identity["settings"])
        others = [f"settings ({changed})"] if changed else []
        others += [name for name, value in theirs.items() if value != self.identity[name]]
        if others:
            raise ConfigError(
                f"cannot resume: the trials in {self.folder} were made with other "
                f"{' and other '.join(others)}; give the same, or another folder to start afresh"
            )
        self.trials = [Trial(**row) for row in state["trials"]]
        self.watcher.message(f"resuming after {len(self.trials)} trials")

    def run(self, minutes: float | None, most: int | None) -> bool:
        """Trials until the budget is spent or nothing new is left; whether Ctrl-C ended it."""
        self.began = time.monotonic() - (self.trials[-1].ended if self.trials else 0.0)
        deadline = math.inf if minutes is None else self.began + 60 * minutes
        if self.trials and self.trials[-1].state == STOPPED and time.monotonic() < deadline:
            self.trials.pop()  # by a smaller budget or Ctrl-C: it is done anew, in full
        try:
            while len(self.trials) < (most or math.inf):
                if self.trials and time.monotonic() >= deadline:
                    break
                settings = self.proposals.next(self.trials)
                if settings is None:
                    self.watcher.message("nothing is left to try: the search ends here")
                    break
                if self.try_out(settings, deadline):
                    return True
        except KeyboardInterrupt:
            if not self.trials:
                raise
            return True
        return False

    def try_out(self, settings: dict[str, Any], deadline: float) -> bool:
        """One trial; whether Ctrl-C ended it. None is kept of it then, but of the first."""
        began, first = time.monotonic(), not self.trials
        watch = Watch(self.proposals.judge(self.trials, settings), deadline)
        model, why = None, ""
        try:
            model = self.trained(settings, watch)
        except (TrainingError, ConfigError, MemoryError) as error:
            if first:
                raise
            watch.state, watch.figures, why = FAILED, [], str(error) or "out of memory"
        interrupted = model is not None and model.interrupted
        if interrupted and not first:
            return True
        now = time.monotonic()
        trial = Trial(
            len(self.trials), watch.state, settings, watch.figures, now - began, now - self.began
        )
        self.keep(trial, model)
        self.watcher.message(self.line(trial, why))
        return interrupted

    def trained(self, settings: Mapping[str, Any], watch: Watch) -> Fitted:
        """A model with these settings, as far as it came.

        Raises `ConfigError` for settings that exclude each other, `TrainingError` for a wild rate.
        """
        config = watch.config = self.proposals.base.replace(**settings)
        _, model = fitting.train(
            config, self.parts, None, self.lexicon, NOWHERE, self.threads, watch, self.origin
        )
        if model.interrupted:
            watch.state = STOPPED
        return model

    def keep(self, trial: Trial, model: Fitted | None) -> None:
        """The model first, where it leads; then the trial; then what has lost its lead goes. So a
        kill at any moment leaves the winner's model."""
        trials = [*self.trials, trial]
        leading = best(trials, self.proposals.base.keep)[0]
        if model is not None and trial in (trials[0], leading):
            storage.save(self.model_of(trial), model.stored(), replace=True)
        rows = [asdict(one) for one in trials]
        state = {"format": FORMAT, "identity": self.identity, "trials": rows}
        write_whole(self.folder / STATE, json.dumps(state, indent=1).encode())
        self.trials = trials
        for one in trials[1:]:
            if one is not leading:
                shutil.rmtree(self.model_of(one), ignore_errors=True)

    def line(self, trial: Trial, why: str) -> str:
        """A trial that has ended, for people."""
        keep = self.proposals.base.keep
        usual = self.trials[0].settings
        figure = "" if trial.figure is None else f"{NAMES[keep]} {trial.figure:.4f}, "
        state = "" if trial.state == COMPLETE else f"{trial.state}, "
        epochs = f"{len(trial.figures)} epoch{'s' if len(trial.figures) != 1 else ''}"
        return (
            f"trial {trial.number}: {state}{figure}best {self.winner.figure:.4f}; {epochs}, "
            f"{trial.seconds:.1f} s; "
            + told({k: v for k, v in trial.settings.items() if v != usual[k]})
            + (f" ({why})" if why else "")
        )


def begun(folder: Path) -> bool:
    """Whether the folder holds trials."""
    return (folder / STATE).exists()


def discard(folder: Path) -> None:
    """Delete what a search kept; what is not Carryline's stays."""
    (folder / STATE).unlink(missing_ok=True)
    for left in folder.glob(f".{STATE}.*"):  # of a write that was killed
        left.unlink(missing_ok=True)
    for pattern in ("trial-*", ".trial-*", "final-*"):
        for model in folder.glob(pattern):
            shutil.rmtree(model, ignore_errors=True)
