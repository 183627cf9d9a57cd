"""The texts and batches that benchmarks run on: somebody's data, or made-up reviews."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import common
from carryline.bench import TrainingSteps
from carryline.model.config import Config
from carryline.recurrence.ragged import Ragged
from carryline.text import data
from carryline.text.tokens import Tokenizer
from carryline.training.batches import epoch_batches

# Mean and standard deviation of the logarithm of a text's words.
REVIEWS = (5.38, 0.66)
SHORT = (2.9, 0.5)

# Token ids [steps, texts] int64 and lengths [texts] int64, as a padded batch has them.
Padded = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Batches:
    """The batches that all contenders run on: token ids and a target (0 or 1) for each text."""

    config: Config
    vocabulary: int
    ragged: list[Ragged]
    targets: list[NDArray[np.int64]]

    def first(self, count: int) -> Batches:
        return dataclasses.replace(self, ragged=self.ragged[:count], targets=self.targets[:count])

    def of(self, config: Config) -> Batches:
        """The same for another network."""
        return dataclasses.replace(self, config=config)

    @property
    def tokens(self) -> int:
        return sum(len(batch.values) for batch in self.ragged)

    @property
    def sizes(self) -> common.Result:
        """What a report says of them."""
        filled = sum(ids.size for ids, _ in self.padded)
        return {"batches": len(self.ragged), "tokens": self.tokens, "padded_tokens": filled}

    @cached_property
    def padded(self) -> list[Padded]:
        return [padded(batch) for batch in self.ragged]


def ours(batches: Batches, threads: int) -> TrainingSteps:
    """Carryline's training step over all batches."""
    of = batches.config, batches.vocabulary, batches.ragged, batches.targets
    return TrainingSteps(*of, threads)


def padded(ragged: Ragged) -> Padded:
    """Every text filled up to the longest one."""
    longest = int(ragged.lengths.max())
    ids = ragged.filled(longest, 0).values.reshape(len(ragged), longest)
    return np.ascontiguousarray(ids.T, dtype=np.int64), ragged.lengths


def options(description: str | None, several: bool = False) -> argparse.ArgumentParser:
    """The options of benchmarks that run on batches; several: see `common.options`."""
    parser = common.options(description, several)
    parser.add_argument("--batches", type=common.positive, default=24, help="of an epoch")
    parser.add_argument("--batch-size", type=common.positive, default=64)
    return parser


def read(asked: argparse.Namespace) -> list[str]:
    """The texts that `common.options` name. Raises `DataError`."""
    return from_file(asked.data, asked.text) if asked.data else synthetic(asked.texts)


def from_file(file: str, text: Sequence[str]) -> list[str]:
    """A file's texts, without empty ones, which a PackedSequence refuses; text: its columns."""
    return [t for t in data.read(file, text=text, labelled=False).texts if t]


def prepare(texts: Sequence[str], config: Config, count: int) -> Batches:
    """Tokenize texts and cut the first `count` batches of an epoch. Targets are drawn: speed does
    not depend on them."""
    tokenizer = Tokenizer.train(texts, config.vocabulary)
    ragged = tokenizer.encode_batch(texts)
    targets = np.random.default_rng(config.seed).integers(0, 2, len(ragged))
    chosen = epoch_batches(config, ragged.lengths, 1)[:count]
    return Batches(
        config, tokenizer.size, [ragged.take(c) for c in chosen], [targets[c] for c in chosen]
    )


def synthetic(count: int, seed: int = 0, words_a_text: tuple[float, float] = REVIEWS) -> list[str]:
    """Made-up texts. `REVIEWS` are fitted to IMDB's at 8,185 subwords: 330 tokens in the mean, 240
    in the median, one token in five distinct within a batch of 64. `SHORT` are like sentences of
    film reviews: 25 tokens in the mean, 22 in the median, one in two distinct."""
    rng = np.random.default_rng(seed)
    syllables = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    parts = np.array(syllables)[rng.integers(0, len(syllables), (60_000, 4))].tolist()
    words = np.array(
        ["".join(p[:n]) for p, n in zip(parts, rng.integers(1, 5, 60_000), strict=True)]
    )
    frequency = 1 / np.arange(3, len(words) + 3)
    lengths = np.clip(rng.lognormal(*words_a_text, count), 2, 2700).astype(np.int64)
    drawn = words[rng.choice(len(words), lengths.sum(), p=frequency / frequency.sum())]
    return [" ".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]
