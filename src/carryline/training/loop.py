"""The training loop: epochs of steps, each epoch evaluated, checkpointed and compared."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carryline.errors import ConfigError, TrainingError
from carryline.model import network
from carryline.model.config import Config
from carryline.model.history import best_epoch
from carryline.recurrence.ragged import Ragged
from carryline.training import checkpoint
from carryline.training.adam import Adam
from carryline.training.batches import epoch_batches
from carryline.training.checkpoint import Checkpoint
from carryline.training.model import Model
from carryline.training.process import one_torch_thread, patient_ctrl_c
from carryline.training.progress import Progress


@dataclass(frozen=True, eq=False)
class Labelled:
    """Token ids of texts and the number of each one's class [texts]."""

    ragged: Ragged
    targets: NDArray[np.int64]


@dataclass
class Run:
    """A training run; `train` fills it. best: the kept weights; interrupted: by Ctrl-C."""

    config: Config
    classes: int
    vocabulary: int
    threads: int
    progress: Progress
    folder: Path | None = None  # where checkpoints are written
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def finished(self) -> bool:
        patience = self.config.patience
        waited = len(self.history) - best_epoch(self.history) if self.history else 0
        return len(self.history) >= self.config.epochs or 0 < patience <= waited


def train(run: Run, data: Labelled, valid: Labelled | None, *, resume: bool) -> None:
    """Train, from the start or from the checkpoint in `run.folder`.

    Raises `TrainingError` on a loss that is not finite, `ConfigError` when the checkpoint is of
    another configuration or other data.
    """
    with one_torch_thread(), torch.random.fork_rng(devices=[]), patient_ctrl_c() as stop_if_asked:
        _seed(run.config, 0)
        trainer = Trainer(run, data, valid)
        if resume and run.folder:
            trainer.restore(checkpoint.read(run.folder))
        try:
            while not run.finished:
                trainer.epoch(stop_if_asked)
        except KeyboardInterrupt:
            if not run.history:
                raise
            run.interrupted = True


class Trainer:
    """Model, optimiser and data of a run: what an epoch and a step work on."""

    def __init__(self, run: Run, data: Labelled, valid: Labelled | None) -> None:
        config = run.config
        self.fingerprint = _fingerprint(config, data, valid)
        if config.mask:  # pads in a text are read past: they are taken out once and for all
            data = Labelled(data.ragged.without(network.PAD), data.targets)
        self.run, self.data, self.valid = run, data, valid
        outputs = network.outputs(run.classes)
        self.model = Model(config, run.vocabulary, outputs, run.threads)
        self.optimizer = Adam(self.model.parameters(), config.weight_decay)
        self.weights = _class_weights(config, data.targets, run.classes)
        self.lengths = data.ragged.lengths
        self.steps = -(-len(self.lengths) // config.batch_size)

    def epoch(self, after_step: Callable[[], None]) -> None:
        """One epoch: train, evaluate, keep the best, write a checkpoint."""
        run, number = self.run, len(self.run.history) + 1
        _seed(run.config, number)
        self.model.train()
        began = time.perf_counter()
        texts = tokens = right = 0
        loss_sum = rate = 0.0
        for index, chosen in enumerate(epoch_batches(run.config, self.lengths, number)):
            rate = learning_rate(run.config, (number - 1) * self.steps + index, self.steps)
            batch = self.data.ragged.take(chosen)
            loss, correct = self.step(batch, self.data.targets[chosen], rate)
            self.check(loss, number, index + 1)
            texts, tokens = texts + len(chosen), tokens + int(batch.offsets[-1])
            loss_sum, right = loss_sum + loss * len(chosen), right + correct
            total = int(self.data.ragged.offsets[-1])
            run.progress.step(number, run.config.epochs, tokens, total, loss_sum / texts)
            after_step()
        seconds = time.perf_counter() - began
        row = {
            "epoch": number,
            "loss": loss_sum / texts,
            "accuracy": right / texts,
            "valid_loss": None,
            "valid_accuracy": None,
            "learning_rate": rate,
            "tokens_per_second": tokens / seconds,
            "seconds": seconds,
        }
        self.finish(row)

    def check(self, loss: float, epoch: int, step: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss must be a finite number, it is {loss} in epoch {epoch}, step {step}; "
                f"try a lower learning_rate (now {self.run.config.learning_rate}) or clip=1"
            )

    def step(self, batch: Ragged, targets: NDArray[np.int64], rate: float) -> tuple[float, int]:
        """One optimiser step; the batch's mean loss and how many texts it got right."""
        config = self.run.config
        if not config.mask:
            batch = batch.filled(int(batch.lengths.max(initial=0)), network.PAD)
        ranked = targets[batch.plan.order]
        logits = self.model(batch)
        loss = _loss(logits, torch.from_numpy(ranked), self.weights)
        torch.autograd.backward(loss)
        if config.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step(rate)
        return loss.item(), _right(logits.detach().numpy(), ranked)

    def finish(self, row: dict[str, Any]) -> None:
        """Evaluate as the saved model will, note the epoch, keep the best weights."""
        run, arrays = self.run, self.model.arrays()
        odd = [name for name, value in arrays.items() if not np.isfinite(value).all()]
        if odd:
            raise TrainingError(
                f"all weights must be finite numbers, {odd[0]} has others after epoch "
                f"{row['epoch']}; try a lower learning_rate (now {run.config.learning_rate}) or "
                "clip=1"
            )
        if self.valid is not None:
            row["valid_loss"], row["valid_accuracy"] = self.evaluate(arrays, self.valid)
        if best_epoch([*run.history, row]) == row["epoch"]:
            run.best = arrays  # first, so that a Ctrl-C here finds no epoch without weights
        run.history.append(row)
        if run.folder:
            checkpoint.write(run.folder, self.state())
        run.progress.epoch(row)

    def evaluate(self, arrays: dict[str, Any], data: Labelled) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""
        net = network.Network(self.run.config, arrays)
        logits = net.logits(data.ragged, threads=self.run.threads)
        loss = _loss(torch.from_numpy(logits).double(), torch.from_numpy(data.targets), None)
        return loss.item(), _right(logits, data.targets) / len(logits)

    def state(self) -> Checkpoint:
        tensors = {f"weights/{n}": p.detach().clone() for n, p in self.model.named_parameters()}
        tensors |= {f"best/{n}": torch.from_numpy(a) for n, a in self.run.best.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam/{name}/{key}"] = value.clone()
        notes = {
            "fingerprint": self.fingerprint,
            "history": self.run.history,
        }
        return Checkpoint(tensors, notes)

    def restore(self, state: Checkpoint | None) -> None:
        if state is None:
            return
        for name, value in self.fingerprint.items():
            if state.notes["fingerprint"].get(name) != value:
                raise ConfigError(
                    f"cannot resume: the checkpoint in {self.run.folder} was made with other "
                    f"{name}; give the same, or delete that folder to start afresh"
                )
        self.run.history = state.notes["history"]
        self.run.best = {n: t.numpy() for n, t in state.part("best").items()}
        self.model.load_state_dict(state.part("weights"))
        for name, parameter in self.model.named_parameters():
            self.optimizer.restore(parameter, state.part(f"adam/{name}"))
        self.run.progress.message(f"resuming after epoch {len(self.run.history)}")


def learning_rate(config: Config, step: int, steps_an_epoch: int) -> float:
    """The rate of a step (0, 1, …): warm-up, then constant or a cosine down to 0."""
    total = config.epochs * steps_an_epoch
    warmup = config.warmup * total
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - warmup) / max(1.0, total - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Mean cross-entropy; one output is the logit of the second of two classes."""
    if logits.shape[1] > 1:
        return torch.nn.functional.cross_entropy(logits, targets, weights)
    loss, wanted = torch.nn.functional.binary_cross_entropy_with_logits, targets.to(logits.dtype)
    if weights is None:
        return loss(logits.view(-1), wanted)
    each = weights[targets]
    return loss(logits.view(-1), wanted, each, reduction="sum") / each.sum()


def _right(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> int:
    """How many texts' largest logit is that of their class."""
    guesses = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    return int((guesses == targets).sum())


def _class_weights(config: Config, targets: NDArray[np.int64], classes: int) -> Tensor | None:
    if config.class_weights == "none":
        return None
    counts = np.bincount(targets, minlength=classes)
    return torch.from_numpy((len(targets) / (classes * np.maximum(counts, 1))).astype(np.float32))


def _fingerprint(config: Config, data: Labelled, valid: Labelled | None) -> dict[str, str]:
    """What a resumed run must share with the one it goes on from."""
    parts: Mapping[str, Labelled | None] = {"training data": data, "validation data": valid}
    prints = {"settings": json.dumps(config.to_dict())}
    for name, part in parts.items():
        digest = hashlib.sha256()
        if part is not None:
            for array in (part.ragged.values, part.ragged.offsets, part.targets):
                digest.update(np.ascontiguousarray(array).tobytes())
        prints[name] = digest.hexdigest()
    return prints


def _seed(config: Config, epoch: int) -> None:
    """Each epoch draws from its own seed, so a resumed run needs no generator's state."""
    seed = np.random.SeedSequence([config.seed, epoch]).generate_state(2, np.uint32)
    torch.manual_seed(int(seed[0]) << 31 | int(seed[1]) >> 1)
