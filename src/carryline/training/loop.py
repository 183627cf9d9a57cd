"""The training loop: epochs of steps, each epoch evaluated, checkpointed and compared."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ConfigError, TrainingError
from carryline.model import network
from carryline.model.config import Config, differences
from carryline.model.history import best_epoch, finished
from carryline.model.lexicon import rounded
from carryline.recurrence import memory
from carryline.recurrence.ragged import Ragged
from carryline.training import checkpoint, losses, model
from carryline.training.adam import Adam
from carryline.training.batches import epoch_batches
from carryline.training.checkpoint import Checkpoint
from carryline.training.draws import WEIGHTS, generator
from carryline.training.folder import FREE
from carryline.training.process import patient_ctrl_c
from carryline.training.progress import Callback
from carryline.training.rate import learning_rate
from carryline.training.step import step


@dataclass(frozen=True, eq=False)
class Labelled:
    """Token ids of texts, the number of each one's class [texts], and how much it counts [texts];
    all the same without weights."""

    ragged: Ragged
    targets: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


@dataclass
class Run:
    """A training run; `train` fills what comes after held. best: the kept weights; interrupted:
    by Ctrl-C.

    vocabulary: rows of the embedding that are trained. held: with word vectors, the rows after
    these that validation texts alone read (see `Table`); the trained ones are then rounded.
    """

    config: Config
    classes: int
    vocabulary: int
    threads: int
    progress: Callback
    folder: Path | None = None  # where checkpoints are written
    source: Path | None = None  # the folder with the checkpoint to go on from
    start: Mapping[str, NDArray[np.float32]] | None = None  # weights to begin with, not fresh ones
    held: NDArray[np.float32] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    resumed: int = 0  # epochs that the checkpoint had
    logits: list[NDArray[Any]] = field(default_factory=list)  # of validation texts, each epoch here
    interrupted: bool = False


def train(run: Run, data: Labelled, valid: Labelled | None) -> None:
    """Train, from the start or from the checkpoint in `run.source`, until the last epoch, the end
    of patience, a callback's wish, or Ctrl-C after an epoch or more.

    Raises `TrainingError` on a loss that is not finite, `ConfigError` when the checkpoint is of
    another configuration or other data.
    """
    with patient_ctrl_c() as stop_if_asked:
        trainer = Trainer(run, data, valid)
        if run.source:
            trainer.restore(checkpoint.read(run.source))
        try:
            while not finished(run.history, run.config):
                ended = trainer.epoch(stop_if_asked)
                stop_if_asked()  # asked while the epoch was evaluated and written
                if ended:
                    break
        except KeyboardInterrupt:
            if not run.history:
                raise
            run.interrupted = True
        finally:
            memory.release()  # blocks of any size, of which nobody else has a use


class Trainer:
    """Weights, optimiser and data of a run: what an epoch and a step work on."""

    def __init__(self, run: Run, data: Labelled, valid: Labelled | None) -> None:
        config = run.config
        self.data_prints = _prints(data, valid, run.start)
        ragged = data.ragged
        if config.mask:  # pads in a text are read past: they are taken out once and for all
            ragged = ragged.without(network.PAD)
        weights = losses.text_weights(config, data.targets, run.classes, data.weights)
        self.run, self.data, self.valid = run, Labelled(ragged, data.targets, weights), valid
        self.optimizer = Adam(
            first_weights(run),
            weight_decay=config.weight_decay,
            clip=config.clip,
            average=config.average,
            rows=[model.EMBEDDING],
            threads=run.threads,
        )
        self.readable = self.optimizer.readable()
        self.lengths = ragged.lengths
        self.steps = -(-len(self.lengths) // config.batch_size)

    def epoch(self, after_step: Callable[[], None]) -> bool:
        """One epoch: train, evaluate, keep the best, write a checkpoint. Whether to end here."""
        run, number = self.run, len(self.run.history) + 1
        began = time.perf_counter()
        texts = tokens = right = 0
        loss_sum = rate = 0.0
        total = int(self.data.ragged.offsets[-1])
        for index, chosen in enumerate(epoch_batches(run.config, self.lengths, number)):
            rate = learning_rate(run.config, (number - 1) * self.steps + index, self.steps)
            batch, weights = self.data.ragged.take(chosen), self.data.weights
            shares = None if weights is None else weights[chosen]
            loss, correct = self.step(
                batch, self.data.targets[chosen], rate, (number, index), shares
            )
            self.check(loss, number, index + 1)
            texts, tokens = texts + len(chosen), tokens + int(batch.offsets[-1])
            loss_sum, right = loss_sum + loss * len(chosen), right + correct
            run.progress.step(number, run.config.epochs, tokens, total, loss_sum / texts)
            after_step()
        self.optimizer.settle()  # the steps that it postponed are the epoch's, too
        seconds = time.perf_counter() - began
        return self.finish(
            {
                "epoch": number,
                "loss": loss_sum / texts,
                "accuracy": right / texts,
                "valid_loss": None,
                "valid_accuracy": None,
                "valid_macro_f1": None,
                "learning_rate": rate,
                "tokens_per_second": tokens / seconds,
                "seconds": seconds,
            }
        )

    def check(self, loss: float, epoch: int, step: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss must be a finite number, it is {loss} in epoch {epoch}, step {step}; "
                f"try a lower learning_rate (now {self.run.config.learning_rate}) or clip=1"
            )

    def step(
        self,
        batch: Ragged,
        targets: NDArray[np.int64],
        rate: float,
        place: tuple[int, int],
        weights: NDArray[np.float32] | None = None,
    ) -> tuple[float, int]:
        """One optimiser step; the batch's mean loss and how many texts it got right.

        place: its epoch (from 1) and its number there (from 0), by which dropout draws.
        """
        if not self.run.config.mask:
            batch = batch.filled(int(batch.lengths.max(initial=0)), network.PAD)
        with memory.passing():  # what a step makes is gone at its end, but for packed weights
            found = step(
                self.run.config, self.readable, batch, targets, weights, place, self.run.threads
            )
            self.optimizer.step(found.gradients, rate)
        return found.loss, found.right

    def finish(self, row: dict[str, Any]) -> bool:
        """Evaluate as the saved model will, note the epoch, keep the best weights."""
        run, arrays = self.run, self.weights()
        odd = [name for name, value in arrays.items() if not np.isfinite(value).all()]
        if odd:
            raise TrainingError(
                f"all weights must be finite numbers, {odd[0]} has others after epoch "
                f"{row['epoch']}; try a lower learning_rate (now {run.config.learning_rate}) or "
                "clip=1"
            )
        if self.valid is not None:
            net = network.Network(run.config, self.read(arrays), table=False)
            logits = net.logits(self.valid.ragged, threads=run.threads)
            row |= losses.figures(logits, self.valid.targets, run.classes)
            run.logits.append(logits)
            self.check(row["valid_loss"], row["epoch"], self.steps)
        history = [*run.history, row]
        best = arrays if best_epoch(history, run.config.keep) == row["epoch"] else run.best
        run.best, run.history = best, history  # together: a Ctrl-C finds no epoch without weights
        if run.folder:
            checkpoint.write(run.folder, self.state())
        return bool(run.progress.epoch(dict(row)))  # whatever is done to it

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights as the run's network has them: their average, if one is kept."""
        self.optimizer.settle()
        kept = self.optimizer.averages or self.optimizer.weights
        copied = {name: value.copy() for name, value in kept.items()}
        if self.run.held is not None:
            copied[model.EMBEDDING] = rounded(copied[model.EMBEDDING])
        return copied

    def read(self, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """The weights that validation texts read."""
        if self.run.held is None:
            return arrays
        both = np.concatenate([arrays[model.EMBEDDING], self.run.held])
        return {**arrays, model.EMBEDDING: both}

    def state(self) -> Checkpoint:
        run = self.run
        tensors: checkpoint.Arrays = {}
        for part, arrays in self.optimizer.state().items():
            tensors |= {f"{part}/{name}": value for name, value in arrays.items()}
        if best_epoch(run.history, run.config.keep) < len(run.history):
            tensors |= {f"best/{n}": a for n, a in run.best.items()}
        notes = {
            "settings": run.config.to_dict(),
            "data": self.data_prints,
            "history": run.history,
            "steps": self.optimizer.steps,
        }
        return Checkpoint(tensors, notes)

    def restore(self, state: Checkpoint) -> None:
        self.check_same(state)
        run = self.run
        for part, arrays in self.optimizer.state().items():
            kept = state.part(part)
            for name, value in arrays.items():
                value[...] = kept[name]
        self.optimizer.steps = state.notes["steps"]
        run.history = state.notes["history"]
        run.resumed = len(run.history)
        run.best = state.part("best") or self.weights()
        said = f"resuming after epoch {run.resumed}"
        if run.config.epochs != state.notes["settings"]["epochs"]:
            said += (
                f"; the learning rate is from here on that of a run of {run.config.epochs} epochs"
            )
        run.progress.message(said)

    def check_same(self, state: Checkpoint) -> None:
        """Raises `ConfigError` when the checkpoint is of another run than this one."""
        ours, done = self.run.config.to_dict(), len(state.notes["history"])
        theirs = {key: v for key, v in state.notes["settings"].items() if key not in FREE}
        others = [name for name, value in self.data_prints.items()
                  if state.notes["data"][name] != value]  # fmt: skip
        if changed := differences(theirs, ours):
            others.insert(0, f"settings ({changed})")
        if others:
            raise ConfigError(
                f"cannot resume: the checkpoint in {self.run.source} was made with other "
                f"{' and other '.join(others)}; give the same, or another folder to start afresh"
            )
        if self.run.config.epochs < done:
            raise ConfigError(
                f"cannot resume: the checkpoint in {self.run.source} has done {done} epochs, so "
                f"epochs >= {done}, it is {self.run.config.epochs}"
            )


def first_weights(run: Run) -> dict[str, NDArray[np.float32]]:
    """Drawn, but for those that the run goes on from."""
    rng, outputs = generator(run.config.seed, WEIGHTS), network.outputs(run.classes)
    drawn = model.initial_weights(run.config, run.vocabulary, outputs, rng)
    return drawn | {name: value.copy() for name, value in (run.start or {}).items()}


def _prints(
    data: Labelled, valid: Labelled | None, start: Mapping[str, NDArray[np.float32]] | None
) -> dict[str, str]:
    """What a resumed run must share with the one it goes on from, besides the settings."""
    parts: dict[str, list[Any]] = {
        "starting weights": [v for _, v in sorted((start or {}).items())]
    }
    for name, part in (("training data", data), ("validation data", valid)):
        arrays = (part.ragged.values, part.ragged.offsets, part.targets) if part else ()
        parts[name] = [*arrays, *([] if part is None or part.weights is None else [part.weights])]
    prints = {}
    for name, each in parts.items():
        digest = hashlib.sha256()
        for array in each:
            digest.update(np.ascontiguousarray(array).tobytes())
        prints[name] = digest.hexdigest()
    return prints
