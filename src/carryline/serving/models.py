"""The models that are served, and their change for new versions while they are."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ModelError
from carryline.model import network
from carryline.serving.refusal import RequestError
from carryline.tasks.classifier import TextClassifier, load
from carryline.text.data import key

Array = NDArray[Any]
_VERSION = 12  # characters of a hash


@dataclass(frozen=True, eq=False)
class Served:
    """One version of a model. version: the beginning of the hash of its config.json, which holds
    those of all that it is."""

    name: str
    folder: str
    version: str
    classifier: TextClassifier

    @classmethod
    def read(cls, name: str, folder: str, threads: int | None) -> Served:
        """Raises `ModelError` when it is missing or damaged, or changes meanwhile."""
        before = _version(folder)
        found = cls(name, folder, before, load(folder))
        if _version(folder) != before:
            raise ModelError(f"{folder} has become another model while it was read")
        found.chances([""], threads)  # the first answer of a model takes longer
        return found

    def chances(
        self, texts: Sequence[str], threads: int | None, most: int | None = None
    ) -> tuple[Array, Array]:
        """Probabilities [texts, classes], each text's as alone, and how many tokens each has.

        most: tokens of a text; one that has more is refused before the work.
        """
        model = self.classifier.trained
        read = model.read(texts)
        _check_lengths(read.ragged.lengths, most)
        if model.config.mask or len(texts) < 2:
            logits = model.logits_of(read, threads=threads)
        else:  # a batch would be filled up to its longest text
            each = [model.logits_of(model.read([text]), threads=threads) for text in texts]
            logits = np.concatenate(each)
        return network.probabilities(logits), read.ragged.lengths

    def check(self, texts: Sequence[str], most: int) -> None:
        """Refuses texts of too many tokens."""
        _check_lengths(self.classifier.trained.read(texts).ragged.lengths, most)

    @property
    def streams(self) -> bool:
        """Whether it can tell its answer after every word: it reads one way alone."""
        return not self.classifier.config.bidirectional

    def account(self) -> dict[str, Any]:
        """What it is, JSON-ready."""
        model = self.classifier
        config, made = model.config, model.made or {}
        return {
            "name": self.name,
            "version": self.version,
            "classes": [key(label) for label in model.classes],
            "cell": config.cell,
            "hidden": list(config.hidden),
            "bidirectional": config.bidirectional,
            "linear": model.trained.linear is not None,
            "parameters": model.parameters,
            "trained_on": model.texts,
            "date": made.get("date"),
            "accuracy": None if model.metrics is None else model.metrics["accuracy"],
            "streams": self.streams,
        }


def _version(folder: str) -> str:
    try:
        content = (Path(folder) / "config.json").read_bytes()
    except FileNotFoundError:
        return ""  # `load` says what is missing
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}") from None
    return hashlib.sha256(content).hexdigest()[:_VERSION]


def _check_lengths(lengths: Array, most: int | None) -> None:
    if most is None or int(lengths.max(initial=0)) <= most:
        return
    at = int(lengths.argmax())
    raise RequestError(
        422, f"a text has at most {most:,} tokens, text {at} (from 0) has {lengths[at]:,}"
    )


class Models:
    """The served models by their names."""

    def __init__(self, models: Sequence[tuple[str, str]], threads: int | None = None) -> None:
        self._threads, self._reading = threads, threading.Lock()
        self._current = {name: Served.read(name, folder, threads) for name, folder in models}

    def __iter__(self) -> Any:
        return iter(self._current.values())

    def find(self, name: str | None) -> Served:
        """The one of a name, or else the first."""
        if name is None:
            return next(iter(self._current.values()))
        if name not in self._current:
            raise RequestError(
                404, f"model must be one of {', '.join(self._current)}, it is {name!r}"
            )
        return self._current[name]

    def reload(self, name: str) -> Served:
        """Reads a model's folder again; who has asked the version before is answered by it.

        Raises `ModelError` when what is there now is missing or damaged: nothing is changed then.
        """
        with self._reading:  # one after the other: the last one to ask gets what is there last
            found = Served.read(name, self.find(name).folder, self._threads)
            self._current[name] = found
        return found
