"""How a run of `vectors.py` goes through the texts: first skip-gram's epochs, then, if a layer is
wanted, those of the language model that reads the vectors.

Each can be stopped between two calls of `advance`; what `state` gives is all that `restore` needs
to go on to the same bits.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError, TrainingError
from carryline.training import language
from carryline.training.checkpoint import Arrays
from carryline.training.language import LanguageModel
from carryline.training.progress import Callback
from carryline.training.skipgram import Settings, SkipGram

Ids = NDArray[np.int32]
Floats = NDArray[np.float32]
_BLOCK = 500_000  # words between two looks at the keyboard


class History:
    """Of each epoch: the loss of its terms, how many these are, seconds.

    advice: what may help when a loss is not finite.
    """

    def __init__(self, advice: str) -> None:
        self.rows: list[list[float]] = []
        self._advice = advice

    def add(self, epoch: int, loss: float, terms: int, seconds: float) -> float:
        """The epoch's mean so far. Raises `TrainingError` when it is not finite."""
        if epoch == len(self.rows):
            self.rows.append([0.0, 0, 0.0])
        row = self.rows[epoch]
        row[0], row[1], row[2] = row[0] + loss, row[1] + terms, row[2] + seconds
        mean = row[0] / max(1, row[1])
        if not np.isfinite(mean):
            raise TrainingError(
                f"the loss is not finite any more in epoch {epoch + 1}; {self._advice}"
            )
        return mean

    @property
    def losses(self) -> list[float]:
        """The mean of each epoch."""
        return [row[0] / max(1, row[1]) for row in self.rows]

    def said(self, epoch: int, words: int) -> str:
        """Of an epoch that has ended."""
        seconds = self.rows[epoch][2]
        return f"loss {self.losses[epoch]:.4f}; {seconds:.1f} s, {words / seconds:,.0f} words/s"


class SkipGramPasses:
    """Skip-gram's epochs over the words `ids`."""

    def __init__(
        self, settings: Settings, counts: NDArray[np.int64], ids: Ids, threads: int
    ) -> None:
        self.model, self.done = SkipGram(settings, counts), 0
        self.history = History(f"a smaller rate than {settings.rate} may help")
        self._ids, self._threads = ids, threads
        self._words = int(counts.sum())

    @property
    def ended(self) -> bool:
        return self.done >= self.model.settings.epochs * len(self._ids)

    def advance(self, watcher: Callback) -> bool:
        """Some rounds; whether an epoch has ended with them."""
        epochs, total = self.model.settings.epochs, len(self._ids)
        epoch, place = divmod(self.done, total)
        rounds = max(1, _BLOCK // self.model.round)
        ids = self._ids[place : place + rounds * self.model.round]
        began = time.perf_counter()
        loss, terms = self.model.step(ids, epoch, place, total, self._threads)
        mean = self.history.add(epoch, loss, terms, time.perf_counter() - began)
        self.done += len(ids)
        watcher.step(epoch + 1, epochs, place + len(ids), total, mean)
        if self.done % total:
            return False
        watcher.message(f"epoch {epoch + 1}: {self.history.said(epoch, self._words)}")
        if not self.history.rows[epoch][1]:
            watcher.message("hardly a word was learned from; --sample 0 leaves none out")
        return True

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays: Arrays = {"inputs": self.model.inputs, "outputs": self.model.outputs}
        return arrays, {"done": self.done, "history": self.history.rows}

    def restore(self, arrays: Arrays, notes: dict[str, Any]) -> None:
        self.model.inputs, self.model.outputs = arrays["inputs"], arrays["outputs"]
        self.done, self.history.rows = notes["done"], notes["history"]


class LanguagePasses:
    """The language model's passes over the words `ids`, whose vectors have been learned.

    Raises `DataError` when no text has two words.
    """

    def __init__(
        self,
        settings: Settings,
        counts: NDArray[np.int64],
        vectors: Floats,
        ids: Ids,
        threads: int,
    ) -> None:
        self.model = LanguageModel(settings, counts, vectors, threads)
        self.history = History("--hidden 0 learns vectors without a layer")
        self._settings, self._ids = settings, ids
        self.place = (0, 0)  # the pass and the step in it that come next
        self._cut: tuple[int, Any] = (-1, None)

    @property
    def ended(self) -> bool:
        return self.place[0] >= self._settings.passes

    def advance(self, watcher: Callback) -> bool:
        """A step; whether a pass has ended with it."""
        (number, step), passes = self.place, self._settings.passes
        began = time.perf_counter()
        begin, end, firsts = self._stretches(number)
        steps = len(firsts) - 1
        part = slice(firsts[step], firsts[step + 1])
        texts = language.batch(self._ids, begin[part], end[part])
        loss, terms = self.model.step(texts, self.place, (number + step / steps) / passes)
        mean = self.history.add(number, loss, terms, time.perf_counter() - began)
        watcher.step(number + 1, passes, step + 1, steps, mean)
        self.place = (number, step + 1)
        if step + 1 < steps:
            return False
        self.place = (number + 1, 0)
        words = int((end - begin).sum())
        watcher.message(f"reading, pass {number + 1}: {self.history.said(number, words)}")
        return True

    def _stretches(self, number: int) -> Any:
        if self._cut[0] != number:
            self._cut = number, language.stretches(self._ids, self._settings.seed, number)
            if not len(self._cut[1][0]):
                raise DataError(
                    "no text has two words that are learned; --hidden 0 learns no layer"
                )
        return self._cut[1]

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays: Arrays = {}
        for part, own in self.model.optimizer.state().items():
            arrays |= {f"{part}/{name}": value for name, value in own.items()}
        steps = self.model.optimizer.steps
        return arrays, {"place": self.place, "history": self.history.rows, "steps": steps}

    def restore(self, arrays: Arrays, notes: dict[str, Any]) -> None:
        for part, own in self.model.optimizer.state().items():
            for name, value in own.items():
                value[...] = arrays[f"{part}/{name}"]
        self.model.optimizer.steps = notes["steps"]
        self.place, self.history.rows = tuple(notes["place"]), notes["history"]
