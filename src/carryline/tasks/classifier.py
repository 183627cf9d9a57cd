"""What a user holds: text in, labelled probabilities out."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import CarrylineError, MissingExtraError, ModelError
from carryline.files import write_whole
from carryline.model import config as configuration
from carryline.model import history, network, storage
from carryline.model.config import Config
from carryline.model.network import Network
from carryline.model.storage import Stored
from carryline.recurrence.machine import checked_threads
from carryline.recurrence.ragged import Ragged
from carryline.text import cache
from carryline.text.data import Label
from carryline.text.examples import (
    Examples,
    checked_examples,
    checked_texts,
    classes_of,
    hold_out,
    targets_of,
)
from carryline.text.tokens import Tokenizer

if TYPE_CHECKING:
    from carryline.training.progress import Progress

Array = NDArray[Any]


class TextClassifier:
    """A recurrent text classifier.

        classifier = TextClassifier("base", epochs=3).fit(texts, labels)
        classifier.predict(["what a film"])
        classifier.save("model")

    preset: one of `carryline.model.config.PRESETS`; overrides: settings of `Config`. Raises
    `ConfigError` for an unknown setting or a value out of range.
    """

    def __init__(self, preset: str = "base", **overrides: Any) -> None:
        self.config: Config = configuration.preset(preset, **overrides)
        self.classes: list[Label] = []
        self.history: list[dict[str, Any]] = []  # a row an epoch
        self.metrics: dict[str, Any] | None = None  # on the validation part
        self.made: dict[str, Any] | None = None  # where it comes from, see storage.Stored
        self.interrupted = False  # the last `fit` ended by Ctrl-C
        self.seconds = 0.0  # that the last `fit` took
        self.texts = 0  # that the last `fit` trained on
        self._tokenizer: Tokenizer | None = None
        self._network: Network | None = None

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        *,
        valid: tuple[Sequence[str], Sequence[Label]] | float | None = 0.1,
        threads: int | None = None,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> TextClassifier:
        """Train on texts and their labels, one label a text, two or more classes.

        valid: examples to validate on, or the share of the texts to hold out for it (each class
        alike), 0 or None for none. The weights of the epoch with the lowest validation loss are
        kept. checkpoint: a folder where each epoch's state is written; resume: go on from it.
        Ctrl-C ends training; what was best so far is kept. Raises `DataError`, `TrainingError`.
        """
        _need_extra()
        from carryline.evaluation import metrics
        from carryline.training.loop import Labelled, Run, train
        from carryline.training.progress import Quiet

        began = time.perf_counter()
        examples = checked_examples(texts, labels)
        classes = classes_of(examples[1])
        if isinstance(valid, tuple):
            held: Examples | None = checked_examples(*valid)
        else:
            examples, held = hold_out(examples, valid or 0.0, self.config.seed)
        targets = targets_of(examples[1], classes)
        held_targets = None if held is None else targets_of(held[1], classes)
        folder = Path(checkpoint) if checkpoint else None
        progress = progress or Quiet()
        tokenizer = _tokenizer(examples[0], self.config, folder, resume, progress)
        run = Run(
            self.config,
            len(classes),
            tokenizer.size,
            checked_threads(threads),
            progress,
            folder,
        )
        data = Labelled(cache.ids(tokenizer, examples[0]), targets)
        valid_data = None
        if held is not None and held_targets is not None:
            valid_data = Labelled(cache.ids(tokenizer, held[0]), held_targets)
        train(run, data, valid_data, resume=resume)
        self.classes, self._tokenizer = classes, tokenizer
        self._network = Network(self.config, run.best)
        self.history, self.interrupted = run.history, run.interrupted
        self.texts = len(examples[0])
        self.metrics = None
        if valid_data is not None:
            chances = self._chances(valid_data.ragged, threads)
            self.metrics = metrics.evaluate(chances, valid_data.targets, classes)
        self.seconds = time.perf_counter() - began
        return self

    def predict_proba(
        self, texts: Sequence[str], *, pad_to: int = 0, threads: int | None = None
    ) -> Array:
        """[texts, classes] float32, classes in the order of `classes`.

        pad_to: append <pad> to texts of fewer tokens, as a padded batch would. It changes nothing
        unless the model was trained with `mask=False`.
        """
        return self._chances(self.tokenizer.encode_batch(checked_texts(texts)), threads, pad_to)

    def predict(
        self, texts: Sequence[str], *, pad_to: int = 0, threads: int | None = None
    ) -> list[Label]:
        """The most probable label of each text."""
        best = self.predict_proba(texts, pad_to=pad_to, threads=threads).argmax(axis=1)
        return [self.classes[i] for i in best]

    def evaluate(
        self, texts: Sequence[str], labels: Sequence[Label], *, threads: int | None = None
    ) -> dict[str, Any]:
        """Loss, accuracy and the rest of `metrics.evaluate`, and how fast it went.

        `seconds` is the time from text to probabilities. Raises `DataError` for a label that the
        model has never seen.
        """
        from carryline.evaluation import metrics

        tokenizer = self.tokenizer
        texts, labels = checked_examples(texts, labels)
        targets = targets_of(labels, self.classes)
        began = time.perf_counter()
        ragged = tokenizer.encode_batch(texts)
        chances = self._chances(ragged, threads)
        seconds = time.perf_counter() - began
        tokens = len(ragged.values)
        speed = {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}
        return {**metrics.evaluate(chances, targets, self.classes), **speed}

    def score(self, texts: Sequence[str], labels: Sequence[Label]) -> float:
        """Accuracy."""
        return float(self.evaluate(texts, labels)["accuracy"])

    def save(self, path: str | Path, *, replace: bool = False) -> None:
        """Write the model directory (see storage.py), whole or not at all.

        Raises `OutputError` when `path` exists (unless it holds a model and `replace` is given).
        """
        stored = Stored(
            self.config,
            self.classes,
            self.tokenizer.to_json(),
            self.network.weights,
            self.history,
            self.metrics,
            self.made,
        )
        storage.save(path, stored, extras=self._illustrate, replace=replace)

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise CarrylineError("this classifier is not trained yet: call fit first")
        return self._tokenizer

    @property
    def network(self) -> Network:
        if self._network is None:
            raise CarrylineError("this classifier is not trained yet: call fit first")
        return self._network

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return sum(value.size for value in self.network.weights.values())

    @property
    def best_epoch(self) -> int:
        """The epoch (1, 2, …) whose weights were kept."""
        return history.best_epoch(self.history)

    @property
    def tokens_per_second(self) -> float:
        """Of training, the median over epochs."""
        return float(np.median([row["tokens_per_second"] for row in self.history]))

    def summary(self) -> str:
        """The layers with their shapes and parameter counts, as a table."""
        outputs = network.outputs(len(self.classes))
        return network.summary(self.config, outputs, self.tokenizer.size)

    def _chances(self, ragged: Ragged, threads: int | None, pad_to: int = 0) -> Array:
        return network.probabilities(self.network.logits(ragged, pad_to=pad_to, threads=threads))

    def _illustrate(self, folder: Path) -> None:
        """Plots, where matplotlib is installed, and the card."""
        from carryline.evaluation import card

        text = card.model_card(
            self.config, self.classes, self.parameters, self.history, self.metrics,
            "the validation part", self.made,
        )  # fmt: skip
        text = card.illustrated(text, self._draw(folder / "plots"))
        write_whole(folder / "README.md", text.encode())

    def _draw(self, folder: Path) -> list[str]:
        """The names of the pictures that were drawn."""
        from carryline.evaluation import pictures

        try:
            import matplotlib  # noqa: F401
        except ImportError:
            return []
        folder.mkdir()
        return pictures.draw(folder, self.history, self.metrics)


def load(path: str | Path) -> TextClassifier:
    """The classifier in a model directory. Runs no code from it and imports no torch.

    Raises `ModelError` when it is missing or damaged.
    """
    stored = storage.load(path)
    tokenizer = Tokenizer.from_json(stored.tokenizer)
    rows = len(stored.weights["embedding.weight"])
    if tokenizer.size != rows:
        raise ModelError(
            f"{path}: tokenizer.json has {tokenizer.size} entries, the embedding {rows}"
        )
    classifier = TextClassifier()
    classifier.config, classifier.classes = stored.config, stored.classes
    classifier.history, classifier.metrics = stored.history, stored.metrics
    classifier.made = stored.made
    classifier._tokenizer = tokenizer
    classifier._network = Network(stored.config, stored.weights)
    return classifier


def _need_extra() -> None:
    """Training ends in an evaluation: say at its beginning what that would miss."""
    for package, name in (("torch", "torch"), ("sklearn", "scikit-learn")):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(name, "train", "training")


def _tokenizer(
    texts: Sequence[str], config: Config, folder: Path | None, resume: bool, progress: Progress
) -> Tokenizer:
    """Learned from the texts; a run that is resumed after an epoch reads the one it began with."""
    file = folder / "tokenizer.json" if folder else None
    going_on = resume and folder is not None and storage.holds_checkpoint(folder)
    if going_on and file and file.exists():
        return Tokenizer.load(file)
    tokenizer = cache.vocabulary(texts, config.vocabulary, progress.message)
    if folder and file:
        if not going_on:
            storage.discard(folder)  # what another run left
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, tokenizer.to_json().encode())
    return tokenizer
