"""Skip-gram with negative sampling: word vectors by which a word tells those around it.

Mikolov et al. 2013. A word w has an input vector x and an output vector y. Of the texts' words some
are left out: one of frequency f is kept with the chance min(1, sqrt(s / f) + s / f). For each that
is kept the reach of its window is drawn, 1 to `window`, and k negatives, each by its count to the
power of 0.75. Every word c in the window of w gives, with the negatives n that are another word
than w, a term

    loss = -log sigmoid(x_c y_w) - sum over n of log sigmoid(-x_c y_n)

The words of a window share the negatives (Ji et al. 2016), so that the scores of a centre are one
product of matrices. The step is taken at once, with a rate that falls evenly to a ten-thousandth.

In a round the kernel (csrc/vectors.h) works on some stretches of text from the same weights and
adds what each changed. So the bits are the same for any number of threads. Stretches are so short
that the sum is near to what one after the other would give (`rounds`). What is drawn depends on the
seed, the epoch and the place of a word alone, so a run that stops between rounds goes on to the
same bits. A window crosses neither the end of a text nor that of a stretch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ConfigError
from carryline.recurrence import _kernels, machine
from carryline.text.vectors import MOST_WORDS, WIDEST
from carryline.training import draws

Floats = NDArray[np.float32]
Chances = NDArray[np.uint32]

SHARDS, STRETCH = 4, 1000  # stretches of a round, and words of one at most
# A stretch changes no row by steps whose rates add up to more: four that all go the same way from
# the same weights would go too far. Where this allows few words only, one is at work at a time.
_MOST_STEPS, _FEW = 8, 100
_POWER = 0.75  # of the counts, for negatives
_LEAST_RATE = 1e-4  # of the first
_LIMITS = {
    "words": (1, MOST_WORDS), "least": (1, 1 << 30), "width": (1, WIDEST), "window": (1, 100),
    "negatives": (1, 100), "sample": (0, 1), "epochs": (0, 1000), "rate": (1e-9, 1),
    "hidden": (0, 1 << 12), "passes": (0, 1000), "seed": (0, (1 << 64) - 1),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """words: the most frequent ones, at most; least: how often a word must be there. width: values
    of a vector; window: words on each side at most; negatives: drawn for a word; sample: the
    frequency beyond which words are left out by chance, 0 for none; rate: of the first step.
    hidden: state size of a recurrent layer that learns to read them (`language.py`), 0 for none;
    passes: its own, over the texts. epochs, passes: 0 for as many as `for_words` has.

    Raises `ConfigError` for a value out of range.
    """

    words: int = 60_000
    least: int = 5
    width: int = 200
    window: int = 6
    negatives: int = 8
    sample: float = 1e-4
    epochs: int = 0
    rate: float = 0.025
    hidden: int = 0
    passes: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = _LIMITS[field.name]
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ConfigError(f"{low} <= {field.name} <= {high}, it is {value}")

    def for_words(self, words: int) -> Settings:
        """With epochs and passes for texts of so many words: 4 and 2, of fewer than ten million
        so many that 40 and 20 million words are read, but 20 and 10 at most."""
        often = min(20, max(4, 40_000_000 // max(1, words)))
        epochs, passes = self.epochs or often, self.passes or often // 2
        return replace(self, epochs=epochs, passes=passes)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, JSON-ready."""
        return asdict(self)


class SkipGram:
    """Vectors that are being learned: inputs and outputs, [words, width], changed in place."""

    def __init__(self, settings: Settings, counts: NDArray[np.int64]) -> None:
        self.settings = settings = settings.for_words(int(counts.sum()))
        shape = len(counts), settings.width
        drawn = draws.generator(settings.seed, draws.WEIGHTS).random(shape, np.float32)
        self.inputs: Floats = (drawn - np.float32(0.5)) / np.float32(settings.width)
        self.outputs: Floats = np.zeros(shape, np.float32)
        self._keep = kept(counts, settings.sample)
        self._chance, self._other = negatives(counts)
        self._shards, self._stretch = rounds(settings, counts)
        machine.check()

    @property
    def round(self) -> int:
        """Words of a round."""
        return self._shards * self._stretch

    def step(
        self, ids: NDArray[np.int32], epoch: int, place: int, total: int, threads: int
    ) -> tuple[float, int]:
        """Learn from the words `ids` (below 0 a text ends), at `place` of the `total` of epoch
        `epoch` (from 0); place and the number of ids are whole rounds, but at the end.

        Gives the loss of every 32nd word's terms, added up, and how many terms those are.
        """
        s = self.settings
        fall = s.rate / (s.epochs * total)
        key = draws.generator(s.seed, draws.VECTORS, epoch).integers(1 << 64, dtype=np.uint64)
        return _kernels.skip_gram(
            self.inputs, self.outputs, ids, place, int(key), self._keep, self._chance, self._other,
            s.window, s.negatives, s.rate - fall * epoch * total, fall,
            s.rate * _LEAST_RATE, self._shards, self._stretch, threads,
        )  # fmt: skip


def kept(counts: NDArray[np.int64], sample: float) -> Chances:
    """[words] a word is kept where a number drawn from those below 2^32 is not above its own."""
    if not sample:
        return np.full(len(counts), (1 << 32) - 1, np.uint32)
    share = sample / (counts / counts.sum())
    return _of_32_bits(np.sqrt(share) + share)


def negatives(counts: NDArray[np.int64]) -> tuple[Chances, NDArray[np.int32]]:
    """Walker's aliases (Vose 1991) of words drawn evenly, [words] each: the number below which a
    second one must be for the word itself to be taken, and the word to take else."""
    share = len(counts) * drawn_by(counts)
    chance, other = share.tolist(), np.arange(len(share), dtype=np.int32)
    small = [word for word, value in enumerate(chance) if value < 1]
    large = [word for word, value in enumerate(chance) if value >= 1]
    while small and large:
        word, giver = small.pop(), large[-1]
        other[word] = giver
        chance[giver] -= 1 - chance[word]
        if chance[giver] < 1:
            small.append(large.pop())
    return _of_32_bits(np.array(chance)), other


def rounds(settings: Settings, counts: NDArray[np.int64]) -> tuple[int, int]:
    """How many stretches are a round, and the words of each."""
    share = counts / counts.sum() * (kept(counts, settings.sample) / 2**32)
    as_output = share + settings.negatives * drawn_by(counts) * share.sum()
    as_input = share * (1 + settings.negatives)
    steps = (settings.window + 1) * float(np.maximum(as_output, as_input).max())  # for each word
    stretch = min(STRETCH, int(_MOST_STEPS / (settings.rate * steps)))
    return (SHARDS, stretch) if stretch >= min(_FEW, STRETCH) else (1, STRETCH)


def drawn_by(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """[words] the chance of each to be drawn against others."""
    weight = counts.astype(np.float64) ** _POWER
    drawn: NDArray[np.float64] = weight / weight.sum()
    return drawn


def _of_32_bits(chance: NDArray[np.float64]) -> Chances:
    numbers: Chances = np.minimum(chance * 2.0**32, 2.0**32 - 1).astype(np.uint32)
    return numbers
