"""Settings that follow from the data: what the preset `auto` stands for.

Every choice is a measured one (docs/accuracy.md). A setting given by hand wins over all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np

from carryline.model.config import FOLLOWED, Config
from carryline.tasks.parts import Parts
from carryline.text.vectors import ENGLISH, Vectors, words_of

AUTO = "auto"
FEW = 2000  # texts; fewer are held out in turns, a tenth of more is enough to choose by
FEWER = 600  # texts; of fewer, more turns and epochs are worth their time
MANY = 6000  # texts; of fewer, batches half as large are worth a third more time
LONG, SHORT = 150, 20  # words of a text, in the mean
KNOWN = 0.75  # share of the words that the vectors must have
_LOOKED_AT = 1 << 20  # characters, about: to tell the language
_LETTERS = re.compile(r"[^\W\d_]+")


def followed(config: Config, given: Collection[str], parts: Parts) -> tuple[Config, list[str]]:
    """The settings for these texts, and why in a few lines; those that are given do not change."""
    texts = parts.train.texts + ([] if parts.valid is None or parts.given else parts.valid.texts)
    words, known = _looked_at(texts)
    why = []
    chosen: dict[str, Any] = {}

    def choose(reason: str, **settings: Any) -> None:
        free = {name: value for name, value in settings.items() if name not in given}
        chosen.update(free)
        if free:
            listed = ", ".join(f"{name} {value}" for name, value in free.items())
            why.append(f"{reason}: {listed}")

    reason, pace = _pace(len(texts), words >= LONG)
    choose(f"{len(texts):,} texts of {words:.0f} words{reason}", **pace)
    if words < SHORT:
        choose("short texts: trained with their embeddings changed for the worse, too",
               adversarial=0.04)  # fmt: skip
    if known >= KNOWN and "embedding" not in given:  # whose width the vectors would set
        choose(
            f"English ({known:.0%} of the words are known): whole words begin as vectors",
            vectors="english",
        )
    elif known < KNOWN and ENGLISH.exists():
        choose(f"no English ({known:.0%} of the words are known): no word vectors", vectors="none")
    return config.replace(**chosen), why


def _pace(texts: int, long: bool) -> tuple[str, dict[str, int]]:
    """Why, and how often, in what batches and in how many turns so many texts are gone through."""
    if texts >= FEW and long:
        return ": larger batches, fewer epochs", {"epochs": 4, "batch_size": 64, "folds": 1}
    if texts >= FEW:
        return ": small batches", {
            "epochs": 8, "batch_size": 32 if texts >= MANY else 16, "folds": 1,
        }  # fmt: skip
    turns, folds, epochs = ("three", 3, 12) if texts < FEWER else ("two", 2, 8)
    reason = f" are few: held out in {turns} turns"
    if long:
        return reason, {"epochs": 6, "batch_size": 32, "folds": folds}
    return f"{reason}, small batches", {"epochs": epochs, "batch_size": 16, "folds": folds}


def taken_over(config: Config, given: Collection[str], known: Config) -> Config:
    """The settings of a model's further training, where they followed from its data before."""
    if config.preset != AUTO or known.preset != AUTO:
        return config
    free = {*FOLLOWED, "embedding"} - {*given}
    return config.replace(**{name: getattr(known, name) for name in free})


def _looked_at(texts: list[str]) -> tuple[float, float]:
    """The mean number of words of a text, and which share of words of letters the vectors have."""
    vectors = Vectors.english().by_word if ENGLISH.exists() else {}
    step = max(1, sum(map(len, texts)) // _LOOKED_AT)
    sample = texts[::step]
    cut = [words_of(text) for text in sample]
    letters = [word for each in cut for word in each if _LETTERS.fullmatch(word)]
    known = np.mean([word in vectors for word in letters]) if letters else 0.0
    return sum(map(len, cut)) / max(1, len(cut)), float(known)
