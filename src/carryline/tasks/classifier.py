"""What a user holds: text in, labelled probabilities out."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import CarrylineError, MissingExtraError, ModelError
from carryline.files import write_whole
from carryline.model import history, network, storage
from carryline.model.config import Config
from carryline.model.network import Network
from carryline.model.storage import Stored
from carryline.recurrence.machine import checked_threads
from carryline.tasks.estimator import Estimator
from carryline.text import cache
from carryline.text.data import Label
from carryline.text.examples import (
    Examples,
    checked_examples,
    checked_texts,
    checked_weights,
    classes_of,
    hold_out,
    targets_of,
)
from carryline.text.tokens import Tokenizer

if TYPE_CHECKING:
    from carryline.training.progress import Progress

Array = NDArray[Any]
Advance = Callable[[int], object]
TEXTS_AT_ONCE = 2048  # about, when predicting: a second or two of long ones


@dataclass
class Fitted:
    """What `fit` leaves, or `load` finds. history: a row an epoch; metrics: on the validation part,
    None without one; interrupted: training ended by Ctrl-C; seconds, texts: that training took."""

    config: Config
    classes: list[Label]
    tokenizer: Tokenizer
    network: Network
    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    made: dict[str, Any] | None = None
    interrupted: bool = False
    seconds: float = 0.0
    texts: int = 0


class TextClassifier(Estimator):
    """A recurrent text classifier.

        classifier = TextClassifier("base", epochs=3).fit(texts, labels)
        classifier.predict(["what a film"])
        classifier.save("model")

    preset: lecture, lecture-stacked, small or base; overrides: settings to change, such as epochs,
    hidden, cell, dropout, learning_rate or seed. `help(carryline.Config)` lists them all;
    docs/settings.md has their ranges, and the presets' values side by side. Raises `ConfigError`
    for an unknown setting or a value out of range.
    """

    def __init__(self, preset: str = "base", **settings: Any) -> None:
        super().__init__(preset, settings)
        self._fitted: Fitted | None = None

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
        net = Network(self.config, run.best)
        figures = None
        if valid_data is not None:
            chances = network.probabilities(net.logits(valid_data.ragged, threads=threads))
            figures = metrics.evaluate(chances, valid_data.targets, classes)
        self._fitted = Fitted(
            self.config, classes, tokenizer, net, run.history, figures, None,
            run.interrupted, time.perf_counter() - began, len(examples[0]),
        )  # fmt: skip
        return self

    def predict_proba(
        self,
        texts: Iterable[str],
        *,
        pad_to: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> Array:
        """[texts, classes] float32, classes in the order of `classes`.

        pad_to: append <pad> to texts of fewer tokens, as a padded batch would. It changes nothing
        unless the model was trained with `mask=False`. advance: called, now and then, with
        the number of texts done since the last time.
        """
        return self._chances(checked_texts(texts), threads, pad_to, advance)[0]

    def predict(
        self,
        texts: Iterable[str],
        *,
        pad_to: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[Any]:
        """[texts] the most probable label of each text; `.tolist()` gives Python's values."""
        chances = self.predict_proba(texts, pad_to=pad_to, threads=threads, advance=advance)
        labels: NDArray[Any] = self.classes_[chances.argmax(axis=1)]
        return labels

    def evaluate(
        self,
        texts: Iterable[str],
        labels: Iterable[Label],
        *,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> dict[str, Any]:
        """Loss, accuracy and the rest of `metrics.evaluate`, and how fast it went.

        `seconds` is the time from text to probabilities. advance: see `predict_proba`. Raises
        `DataError` for a label that the model has never seen.
        """
        from carryline.evaluation import metrics

        classes = self.trained.classes
        texts, labels = checked_examples(texts, labels)
        targets = targets_of(labels, classes)
        began = time.perf_counter()
        chances, tokens = self._chances(texts, threads, advance=advance)
        seconds = time.perf_counter() - began
        speed = {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}
        return {**metrics.evaluate(chances, targets, classes), **speed}

    def score(
        self,
        texts: Iterable[str],
        labels: Iterable[Label],
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Accuracy; with sample_weight [texts], numbers of 0 or more, of what each text weighs."""
        texts, labels = checked_examples(texts, labels)
        targets = targets_of(labels, self.trained.classes)
        right = self.predict_proba(texts).argmax(axis=1) == targets
        return float(np.average(right, weights=checked_weights(sample_weight, len(texts))))

    def save(self, path: str | Path, *, replace: bool = False) -> None:
        """Write the model directory (see storage.py), whole or not at all.

        Raises `OutputError` when `path` exists (unless it holds a model and `replace` is given).
        """
        stored = Stored(
            self.trained.config,
            self.classes,
            self.tokenizer.to_json(),
            self.network.weights,
            self.history,
            self.metrics,
            self.made,
        )
        storage.save(path, stored, extras=self._illustrate, replace=replace)

    @property
    def trained(self) -> Fitted:
        """What training gave. Raises `CarrylineError` before `fit`."""
        if self._fitted is None:
            raise CarrylineError("this classifier is not trained yet: call fit first")
        return self._fitted

    @property
    def tokenizer(self) -> Tokenizer:
        return self.trained.tokenizer

    @property
    def network(self) -> Network:
        return self.trained.network

    @property
    def classes(self) -> list[Label]:
        return self._fitted.classes if self._fitted else []

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row an epoch (see history.py)."""
        return self._fitted.history if self._fitted else []

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Of `metrics.evaluate` on the validation part, None without one."""
        return self._fitted.metrics if self._fitted else None

    @property
    def made(self) -> dict[str, Any] | None:
        """Where the model comes from (see `storage.Stored`)."""
        return self._fitted.made if self._fitted else None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the last `fit`."""
        return self.trained.interrupted

    @property
    def seconds(self) -> float:
        """That the last `fit` took."""
        return self.trained.seconds

    @property
    def texts(self) -> int:
        """That the last `fit` trained on."""
        return self.trained.texts

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return sum(value.size for value in self.network.weights.values())

    @property
    def best_epoch(self) -> int:
        """The epoch (1, 2, …) whose weights were kept."""
        return history.best_epoch(self.trained.history)

    @property
    def tokens_per_second(self) -> float:
        """Of training, the median over epochs."""
        return float(np.median([row["tokens_per_second"] for row in self.trained.history]))

    def summary(self) -> str:
        """The layers with their shapes and parameter counts, as a table."""
        outputs = network.outputs(len(self.classes))
        return network.summary(self.trained.config, outputs, self.tokenizer.size)

    def __repr__(self) -> str:
        if self._fitted is None:
            return self._call()
        classes = ", ".join(map(str, self.classes[:6])) + (", …" if self.classes[6:] else "")
        told = [f"{len(self.classes)} classes ({classes})", f"{self.parameters:,} parameters"]
        if self.metrics is not None:
            told.append(f"validation accuracy {self.metrics['accuracy']:.4f}")
        return f"<{self._call()}: {'; '.join(told)}>"

    def _chances(
        self,
        texts: list[str],
        threads: int | None,
        pad_to: int = 0,
        advance: Advance | None = None,
    ) -> tuple[Array, int]:
        """Probabilities [texts, classes], and the number of tokens that were read.

        Some texts after the others, which changes no bit; without a mask every batch is filled up
        to its longest text, so these must stay the same.
        """
        net, batch = self.network, self.trained.config.batch_size
        size = max(TEXTS_AT_ONCE // batch, 1) * batch
        parts, tokens = [np.empty((0, len(self.classes)), np.float32)], 0
        for begin in range(0, len(texts), size):
            ragged = self.tokenizer.encode_batch(texts[begin : begin + size])
            logits = net.logits(ragged, pad_to=pad_to, threads=threads)
            parts.append(network.probabilities(logits))
            tokens += len(ragged.values)
            if advance:
                advance(len(ragged))
        return np.concatenate(parts), tokens

    def _illustrate(self, folder: Path) -> None:
        """Plots, where matplotlib is installed, and the card."""
        from carryline.evaluation import card

        text = card.model_card(
            self.trained.config, self.classes, self.parameters, self.history, self.metrics,
            "the validation part", self.trained.made,
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
    classifier._adopt(stored.config)
    net = Network(stored.config, stored.weights)
    classifier._fitted = Fitted(
        stored.config, stored.classes, tokenizer, net, stored.history, stored.metrics, stored.made
    )
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
