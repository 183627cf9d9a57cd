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
from carryline.text.data import Label
from carryline.text.examples import checked_examples, checked_texts, targets_of
from carryline.text.tokens import Tokenizer

if TYPE_CHECKING:
    from carryline.tasks.fitting import Validation
    from carryline.training.progress import Callback

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
        self.interrupted = False  # the last `fit` ended by Ctrl-C
        self.seconds = 0.0  # that the last `fit` took
        self.texts = 0  # that the last `fit` trained on
        self._tokenizer: Tokenizer | None = None
        self._network: Network | None = None

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        sample_weight: Sequence[float] | Array | None = None,
        *,
        valid: Validation = 0.1,
        threads: int | None = None,
        out: str | Path | None = None,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        warm_start: bool = False,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> TextClassifier:
        """Train on texts and their labels, one label a text, two or more classes.

        sample_weight: how much each text counts in the loss [texts], 0 or more; one of 0 is as if
        it were not there, and only what they are to each other matters. valid: examples to validate
        on, or the share of the texts to hold out for it (each class alike), 0 or None for none;
        they all count the same. The weights of the epoch that is best by the setting `keep` are
        kept. Ctrl-C ends training; what was best so far is kept.

        out: a folder for the model, which must not exist; that is found out now, and the model is
        saved at the end. Each epoch's state is written to the folder checkpoint, or else to
        `out`.partial, where no other process may train meanwhile; when the model is saved, the last
        state goes with it (its checkpoint.safetensors, which may be deleted). resume: go on from
        that state, with the same settings and data. `patience` may change, and `epochs` be more
        than they were, of a finished run too: with a constant rate and no warm-up to the same bits
        as a run of so many from the start; else the rate is from there on that of the longer run.

        warm_start: go on from the weights and the vocabulary that the classifier has. The settings
        of the network must be the same. When the labels are not all among its classes, they become
        its classes, and it gets a new head.

        verbose: None shows progress on a terminal and in a notebook, True everywhere, False
        nowhere. callbacks: each a `carryline.Callback`, told what there is to show.

        Raises `DataError`, `ConfigError`, `OutputError`, `TrainingError`.
        """
        _need_extra()
        from carryline.evaluation import metrics
        from carryline.tasks import fitting
        from carryline.training.folder import Place
        from carryline.training.progress import watching

        began = time.perf_counter()
        place = Place.of(out, checkpoint, resume)
        place.check()
        known = None
        if warm_start:
            fitting.check_network(self.network.config, self.config)
            known = fitting.Known(self.classes, self.tokenizer, self.network.weights)
        parts = fitting.prepared(texts, labels, sample_weight, valid, self.config.seed, known)
        with watching(verbose, callbacks) as watcher, place.occupied():
            run, tokenizer, held = fitting.train(
                self.config, parts, known, place, checked_threads(threads), watcher
            )
            self.classes, self._tokenizer = parts.classes, tokenizer
            self._network = Network(self.config, run.best)
            self.history, self.interrupted = run.history, run.interrupted
            self.texts, self.metrics = len(parts.train.texts), None
            if held is not None:
                chances = self._chances(held.ragged, threads)
                self.metrics = metrics.evaluate(chances, held.targets, self.classes)
            self.seconds = time.perf_counter() - began
            place.deliver(self.save, new=len(run.history) > run.resumed, whole=not run.interrupted)
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
        return history.best_epoch(self.history, self.network.config.keep)

    @property
    def tokens_per_second(self) -> float:
        """Of training, the median over epochs."""
        if not self.history:
            raise CarrylineError("this classifier is not trained yet: call fit first")
        return float(np.median([row["tokens_per_second"] for row in self.history]))

    def summary(self) -> str:
        """The layers with their shapes and parameter counts, as a table."""
        outputs = network.outputs(len(self.classes))
        return network.summary(self.config, outputs, self.tokenizer.size)

    def _chances(self, ragged: Ragged, threads: int | None, pad_to: int = 0) -> Array:
        return network.probabilities(self.network.logits(ragged, pad_to=pad_to, threads=threads))

    def _illustrate(self, folder: Path) -> None:
        """Plots and card, where matplotlib is installed; the card alone without it."""
        from carryline.evaluation import report

        write_whole(
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
        report.plot_history(self.history, folder / "plots" / "history.png", self.config.keep)
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
