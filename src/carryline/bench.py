"""What this machine does: its peak, and tokens a second of the `lecture` preset on made-up reviews.

`carryline bench` prints it; benchmarks/ compares with others, timed the same way: `interleave`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.model.config import Config, preset
from carryline.model.network import Network
from carryline.recurrence import machine
from carryline.recurrence.ragged import Ragged
from carryline.training.loop import Labelled, Run, Trainer
from carryline.training.progress import Callback

SECONDS = 3.0  # spent on each figure
BATCHES = 8
ONE_TEXT = 240  # tokens: the median of IMDB's reviews


@dataclass(frozen=True)
class Contender:
    """Something to be timed. work: does all of it once, and gives the seconds that count if these
    are not all; units: how many (tokens, texts) that is; warmups: untimed runs."""

    name: str
    work: Callable[[], float | None]
    units: int
    warmups: int = 2


def interleave(
    contenders: Sequence[Contender],
    rounds: int = 1,
    least: float = 0.0,
    tell: Callable[[str], object] = lambda _: None,
) -> dict[str, list[float]]:
    """Units a second of each contender in each round, after its warm-ups.

    They run in turn (A B A B …), so that whatever else the machine does falls on all of them alike:
    `rounds` times, and on until `least` seconds are measured. tell: is told what was done.
    """
    for contender in contenders:
        for number in range(contender.warmups):
            tell(f"warming up {contender.name}, {number + 1} of {contender.warmups}")
            contender.work()
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    number, spent = 0, 0.0
    while number < rounds or spent < least:
        number += 1
        for contender in contenders:
            taken = seconds(contender.work)
            spent += taken
            rates[contender.name].append(contender.units / taken)
            tell(f"round {number}, {contender.name}: {contender.units / taken:,.0f} a second")
    return rates


def seconds(work: Callable[..., float | None], *given: Any) -> float:
    """What `work(*given)` takes, or the seconds that it gives back because these are not all."""
    began = time.perf_counter()
    counted = work(*given)
    return time.perf_counter() - began if counted is None else counted


def measure(
    threads: int | None = None, tell: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """A dictionary of what this machine has and does, in under a minute.

    threads: to compute with (None: all cores). tell: is told what is measured next. peak_flops: of
    fp32 multiply-adds, a second; copy_rate: bytes a second; one_text: seconds for a text of 240
    tokens. The shares of the peak count 393,216 operations a token in training, a third of that in
    inference: products that are done once for many tokens count for each. Raises `ConfigError` for
    threads below 1.
    """
    threads = machine.checked_threads(threads)
    config = preset("lecture")
    tell("measuring the peak")
    peak = machine.peak_flops(threads)
    facts: dict[str, Any] = {
        "cpu": machine.cpu(),
        "cores": machine.default_threads(),
        "threads": threads,
        "instruction_set": machine.instruction_set(),
        "instruction_sets": machine.instruction_sets(),
        "copy_rate": machine.copy_rate(threads),
    }
    batches = reviews(BATCHES, config)
    tell("measuring inference")
    inference, one_text = _inference(config, batches, threads)
    tell("measuring training")
    training = _training(config, batches, threads)
    peak = max(peak, machine.peak_flops(threads))  # whatever else the machine does lowers it
    facts |= {"peak_flops": peak, "one_text": one_text}
    for name, rate, passes in (("inference", inference, 1), ("training", training, 3)):
        share = rate * passes * forward_flop(config) / peak
        facts[name] = {"tokens_per_second": rate, "share_of_peak": share}
    return facts


def forward_flop(config: Config) -> int:
    """Floating-point operations a token of the recurrent layers' products, forward; backward has
    twice as many."""
    shapes = network.parameter_shapes(config, 1, 1)
    matrices = {n: shape for n, shape in shapes.items() if n.startswith("recurrence.weight")}
    return 2 * network.count_parameters(matrices)


def reviews(count: int, config: Config) -> list[Ragged]:
    """`count` batches of made-up texts of similar length, as long as IMDB's reviews: 320 tokens in
    the mean, 240 in the median."""
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.lognormal(np.log(ONE_TEXT), 0.75, count * config.batch_size))
    lengths: NDArray[np.int64] = np.clip(drawn, 8, 2700).astype(np.int64)
    return [made_up(part, config.vocabulary) for part in np.split(lengths, count)]


def made_up(lengths: Sequence[int] | NDArray[np.int64], vocabulary: int) -> Ragged:
    """Texts of these lengths. Token n is drawn in proportion to 1/n (Zipf's law): with 8,185 of
    them a batch of 21,000 tokens has 4,100 distinct ones, one of IMDB's reviews 3,900."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    below = np.cumsum(1 / np.arange(1, vocabulary))
    drawn = np.random.default_rng(0).random(offsets[-1]) * below[-1]
    return Ragged(1 + np.searchsorted(below[:-1], drawn).astype(np.int32), offsets)


class TrainingSteps:
    """Carryline's own training step, as `train` does it, over batches of token ids.

    targets: for each batch [texts] the number of each text's class, of two.
    """

    def __init__(
        self,
        config: Config,
        vocabulary: int,
        batches: Sequence[Ragged],
        targets: Sequence[NDArray[np.int64]],
        threads: int,
    ) -> None:
        run = Run(config, 2, vocabulary, threads, Callback())
        self.trainer = Trainer(run, Labelled(batches[0], targets[0]), None)
        self.batches, self.steps = list(zip(batches, targets, strict=True)), 0

    def __call__(self) -> None:
        """Once over all batches."""
        for ragged, targets in self.batches:
            self.step(ragged, targets)

    def step(self, ragged: Ragged, targets: NDArray[np.int64]) -> float:
        """One step; the loss."""
        fresh = ragged.like(ragged.values)  # its plan is made anew, as in an epoch
        config, self.steps = self.trainer.run.config, self.steps + 1
        return self.trainer.step(fresh, targets, config.learning_rate, (1, self.steps))[0]


def made_weights(config: Config, vocabulary: int) -> dict[str, NDArray[np.float32]]:
    """Weights of a network that nobody trained, for two classes; so large that gates close."""
    rng = np.random.default_rng(0)
    shapes = network.parameter_shapes(config, vocabulary, network.outputs(classes=2))
    return {n: rng.uniform(-0.3, 0.3, shape).astype(np.float32) for n, shape in shapes.items()}


def _training(config: Config, batches: Sequence[Ragged], threads: int) -> float:
    """Tokens a second."""
    rng = np.random.default_rng(0)
    targets = [rng.integers(0, 2, len(batch)) for batch in batches]
    steps = TrainingSteps(config, config.vocabulary, batches, targets, threads)
    return _rate(steps, sum(len(batch.values) for batch in batches))


def _inference(config: Config, batches: Sequence[Ragged], threads: int) -> tuple[float, float]:
    """Tokens a second in batches, and seconds for one text alone."""
    net = Network(config, made_weights(config, config.vocabulary))
    one = made_up([ONE_TEXT], config.vocabulary)

    def in_batches() -> None:
        for batch in batches:
            net.logits(batch, threads=threads)

    def alone() -> None:
        net.logits(one, threads=threads)

    tokens = sum(len(batch.values) for batch in batches)
    return _rate(in_batches, tokens), 1 / _rate(alone, 1)


def _rate(work: Callable[[], None], units: int) -> float:
    """Units a second, the median of as many times as fit into `SECONDS` after an untimed one."""
    return statistics.median(interleave([Contender("", work, units, 1)], least=SECONDS)[""])
