"""The models that are served, and their change for new versions while they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    def read(cls, name: str, folder: str) -> Served:
        """Raises `ModelError` when it is missing or damaged."""
        classifier = load(folder)
        content = (Path(folder) / "config.json").read_bytes()
        found = cls(name, folder, hashlib.sha256(content).hexdigest()[:_VERSION], classifier)
        found.chances([""], None)  # the first answer of a model takes longer
        return found

    def chances(self, texts: Sequence[str], threads: int | None) -> tuple[Array, Array]:
        """Probabilities [texts, classes], each text's as alone, and how many tokens each has."""
        model = self.classifier.trained
        read = model.read(texts)
        if model.config.mask or len(texts) < 2:
            logits = model.logits_of(read, threads=threads)
        else:  # a batch would be filled up to its longest text
            each = [model.logits_of(model.read([text]), threads=threads) for text in texts]
            logits = np.concatenate(each)
        return network.probabilities(logits), read.ragged.lengths

    def check(self, texts: Sequence[str], most: int) -> None:
        """Refuses texts of too many tokens."""
        for number, tokens in enumerate(
            self.classifier.trained.read(texts).ragged.lengths.tolist()
        ):
            if tokens > most:
                raise RequestError(
                    422,
                    f"a text has at most {most:,} tokens, text {number} (from 0) has {tokens:,}",
                )

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


class Models:
    """The served models by their names."""

    def __init__(self, models: Sequence[tuple[str, str]]) -> None:
        self._current = {name: Served.read(name, folder) for name, folder in models}

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
        before = self.find(name)
        self._current[name] = Served.read(name, before.folder)
        return self._current[name]
