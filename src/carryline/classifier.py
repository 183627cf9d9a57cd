"""What a user holds: text in, labelled probabilities out."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline import config as configuration
from carryline import history, network, storage
from carryline.config import Config
from carryline.data import Label, split
from carryline.errors import CarrylineError, DataError, MissingExtraError, ModelError
from carryline.kernels import default_threads
from carryline.network import Network
from carryline.progress import Progress, Quiet
from carryline.ragged import Ragged
from carryline.storage import Stored
from carryline.tokens import Tokenizer

Array = NDArray[Any]
Examples = tuple[Sequence[str], Sequence[Label]]


class TextClassifier:
    """A recurrent text classifier.

        classifier = TextClassifier("base", epochs=3).fit(texts, labels)
        classifier.predict(["what a film"])
        classifier.save("model")

    preset: one of `carryline.config.PRESETS`; overrides: settings of `Config`. Raises
    `ConfigError` for an unknown setting or a value out of range.
    """

    def __init__(self, preset: str = "base", **overrides: Any) -> None:
        self.config: Config = configuration.preset(preset, **overrides)
        self.classes: list[Label] = []
        self.history: list[dict[str, Any]] = []  # a row an epoch
        self.metrics: dict[str, Any] | None = None  # on the validation part
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
        valid: Examples | float | None = 0.1,
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
        from carryline.training.loop import Labelled, Run, train

        began = time.perf_counter()
        texts, labels = list(texts), _plain(labels)
        self.classes = _classes(texts, labels)
        texts, labels, valid = _hold_out(texts, labels, valid, self.config.seed)
        folder = Path(checkpoint) if checkpoint else None
        progress = progress or Quiet()
        self._tokenizer = _tokenizer(texts, self.config, folder, resume, progress)
        run = Run(
            self.config,
            len(self.classes),
            self.tokenizer.size,
            threads or default_threads(),
            progress,
            folder,
        )
        valid_data = None
        if valid is not None:
            valid_data = Labelled(self._ragged(valid[0]), self._targets(valid[1]))
        train(run, Labelled(self._ragged(texts), self._targets(labels)), valid_data, resume=resume)
        self._network = Network(self.config, run.best)
        self.history, self.interrupted, self.texts = run.history, run.interrupted, len(texts)
        self.metrics = None if valid is None else self.evaluate(*valid, threads=threads)
        self.seconds = time.perf_counter() - began
        return self

    def predict_proba(
        self, texts: Sequence[str], *, pad_to: int = 0, threads: int | None = None
    ) -> Array:
        """[texts, classes] float32, classes in the order of `classes`.

        pad_to: append <pad> to texts of fewer tokens, as a padded batch would. It changes nothing
        unless the model was trained with `mask=False`.
        """
        ragged = self._ragged(_texts(texts))
        return network.probabilities(self.network.logits(ragged, pad_to=pad_to, threads=threads))

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
        from carryline import metrics

        texts, labels = _texts(texts), _plain(labels)
        _check_pairs(texts, labels)
        targets = self._targets(labels)
        began = time.perf_counter()
        ragged = self._ragged(texts)
        chances = network.probabilities(self.network.logits(ragged, threads=threads))
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

    def _ragged(self, texts: Sequence[str]) -> Ragged:
        return Ragged.from_lists(self.tokenizer.encode_batch(texts))

    def _targets(self, labels: Sequence[Label]) -> NDArray[np.int64]:
        numbers = {str(label): i for i, label in enumerate(self.classes)}
        for row, label in enumerate(labels, 1):
            if str(label) not in numbers:
                known = ", ".join(numbers)
                raise DataError(
                    f"row {row} has the label {label!r}, which the model has never seen; "
                    f"it knows {known}"
                )
        return np.array([numbers[str(label)] for label in labels], np.int64)

    def _illustrate(self, folder: Path) -> None:
        """Plots and card, where matplotlib is installed; the card alone without it."""
        from carryline import report

        storage.write_whole(
            folder / "README.md",
            report.model_card(
                self.config, self.classes, self.parameters, self.history, self.metrics,
                "the validation part",
            ).encode(),
        )  # fmt: skip
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            return
        (folder / "plots").mkdir()
        report.plot_history(self.history, folder / "plots" / "history.png")
        if self.metrics is not None:
            report.plot_confusion(self.metrics, folder / "plots" / "confusion.png")


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
    classifier._tokenizer = tokenizer
    classifier._network = Network(stored.config, stored.weights)
    return classifier


def _need_extra() -> None:
    """Training ends in an evaluation: say at its beginning what that would miss."""
    for package, name in (("torch", "torch"), ("sklearn", "scikit-learn")):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(name, "train", "training")


def _plain(labels: Sequence[Label]) -> list[Label]:
    """Labels as plain Python values (NumPy's scalars become them)."""
    return [label.item() if isinstance(label, np.generic) else label for label in labels]


def _texts(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise DataError(f"texts must be a list of strings, not one string ({texts[:40]!r})")
    return list(texts)


def _check_pairs(texts: Sequence[str], labels: Sequence[Label]) -> None:
    if len(texts) != len(labels):
        raise DataError(f"every text needs a label: {len(texts)} texts, {len(labels)} labels")
    if not texts:
        raise DataError("there must be at least one text, there is none")


def _classes(texts: Sequence[str], labels: Sequence[Label]) -> list[Label]:
    """The different labels: numbers by size, else by name. Raises `DataError` below two."""
    _check_pairs(texts, labels)
    by_name = {str(label): label for label in labels}
    if len(by_name) < 2:
        raise DataError(f"there must be two classes or more, every label is {labels[0]!r}")
    classes = list(by_name.values())
    if all(isinstance(label, int | float) for label in classes):
        return sorted(classes, key=float)
    return sorted(classes, key=str)


def _hold_out(
    texts: list[str], labels: list[Label], valid: Examples | float | None, seed: int
) -> tuple[list[str], list[Label], Examples | None]:
    if valid is None or isinstance(valid, tuple):
        return texts, labels, valid
    train, held = split(labels, valid, seed)
    if len(held) == 0:
        return texts, labels, None
    pick = ([texts[i] for i in held], [labels[i] for i in held])
    return [texts[i] for i in train], [labels[i] for i in train], pick


def _tokenizer(
    texts: Sequence[str], config: Config, folder: Path | None, resume: bool, progress: Progress
) -> Tokenizer:
    """Trained on the texts; a resumed run reads the one that it began with."""
    file = folder / "tokenizer.json" if folder else None
    if resume and file and file.exists():
        return Tokenizer.load(file)
    progress.message(f"learning a vocabulary of {config.vocabulary} subwords")
    tokenizer = Tokenizer.train(texts, config.vocabulary)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        storage.write_whole(file, tokenizer.to_json().encode())
    return tokenizer
