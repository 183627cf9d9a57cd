"""What does a token cost in training as texts, batches and threads grow?

    python benchmarks/scaling.py --data imdb-train.parquet

The `lecture` preset, ours beside torch.nn.LSTM padded. Four questions:

- Time a token, from texts of 16 tokens to texts of 16,384, the same (made-up) tokens a batch. All
  texts of a batch are equally long, so torch needs no padding and is exact. The ceiling is the
  fp32 multiply-add peak, see training.py; what is looked for is a flat line.
- Memory a token: the growth of the largest resident set of a fresh process from before the first
  step to after the second one, by batches of rising size. Straight is the best that can be, since
  the backward pass needs something of every token. Read from /proc: on Linux only.
- One text of 100,000 tokens: that it trains, and how fast.
- Threads: our step on reviews with 1, 2 and 4 threads, and with --threads while torch's or NumPy's
  pool is awake: it has just done a product on as many threads, which is not timed. Two threads are
  at best twice as fast as one, more threads than cores at best as fast as the cores; beside threads
  that wait by spinning (torch's for some 5 ms, OpenBLAS's for 0.1 s) half of a core is gone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import common
import torch_peer
from batches import Batches, options, ours, prepare, read
from carryline.bench import Contender, forward_flop, made_up, seconds
from carryline.model.config import Config, preset
from carryline.recurrence.machine import peak_flops
from carryline.recurrence.ragged import Ragged
from common import Result

OURS, PADDED = "carryline", "torch padded"
STATUS = Path("/proc/self/status")


def even(config: Config, length: int, tokens: int) -> Batches:
    """One batch of made-up texts of `length` tokens, `tokens` together."""
    ragged = made_up([length] * max(1, tokens // length), config.vocabulary)
    targets = np.random.default_rng(0).integers(0, 2, len(ragged))
    return Batches(config, config.vocabulary, [ragged], [targets])


def by_length(config: Config, asked: argparse.Namespace, peak: float) -> dict[str, Result]:
    """`common.compared` for each length of text."""
    found = {}
    for length in asked.lengths:
        batches = even(config, length, asked.tokens)
        contenders = [
            Contender(OURS, ours(batches, asked.threads), batches.tokens),
            Contender(PADDED, torch_peer.TrainingSteps(batches), batches.tokens),
        ]
        rates = common.interleave(contenders, asked.rounds)
        found[str(length)] = common.compared(rates, 3 * forward_flop(config), peak)
    return found


def memory(config: Config, asked: argparse.Namespace) -> dict[str, list[int]]:
    """Bytes that two steps add to a fresh process, for each size of `asked.sizes`."""
    if not STATUS.exists():
        return {}
    return {
        name: [in_fresh_process(name, config, tokens, asked.threads) for tokens in asked.sizes]
        for name in (OURS, PADDED)
    }


def in_fresh_process(name: str, config: Config, tokens: int, threads: int) -> int:
    """`growth` in a process that has done nothing before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(growth, name, config, tokens, threads).result()


def growth(name: str, config: Config, tokens: int, threads: int) -> int:
    """Bytes by which the largest resident set grows in two steps on texts of 256 tokens.

    A step on a small batch comes before: what is there once, however large batches are, is not
    counted.
    """
    torch.set_num_threads(threads)
    small, large = even(config, 16, 1024), even(config, 256, tokens)

    def step(batches: Batches) -> None:
        work = ours(batches, threads) if name == OURS else torch_peer.TrainingSteps(batches)
        for _ in range(2):
            work()

    step(small)
    before = resident("VmRSS")
    step(large)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at most so far. (The usual ru_maxrss begins
    with what the parent had.)"""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def slopes(sizes: Sequence[int], grown: Sequence[int]) -> list[float]:
    """Bytes a token between each size and the next."""
    return [float(slope) for slope in np.diff(grown) / np.diff(sizes)]


def one_long(config: Config, asked: argparse.Namespace) -> Result:
    """A step on a single text."""
    batches = even(config, asked.longest, asked.longest)
    steps, losses = ours(batches, asked.threads), []

    def step() -> None:
        losses.append(steps.step(*steps.batches[0]))

    step()
    taken = seconds(step)
    return {"tokens": batches.tokens, "seconds": taken, "losses": losses}


class BesidePool:
    """Our steps, each just after `product`, of somebody else's threads."""

    def __init__(self, batches: Batches, threads: int, product: Callable[[], object]) -> None:
        self.steps, self.threads, self.product = ours(batches, threads), threads, product

    def __call__(self) -> float:
        """Seconds of the steps alone."""
        taken = 0.0
        for batch in self.steps.batches:
            torch.set_num_threads(self.threads)
            self.product()
            taken += seconds(self.step, *batch)
        return taken

    def step(self, ragged: Ragged, targets: NDArray[np.int64]) -> None:
        self.steps.step(ragged, targets)


def by_threads(batches: Batches, asked: argparse.Namespace, peak: float) -> Result:
    """`common.compared`; the first contender has `asked.threads`."""
    counts = [asked.threads, *({1, 2, 4} - {asked.threads})]
    contenders = [
        Contender(f"{n} thread{'s' * (n > 1)}", ours(batches, n), batches.tokens) for n in counts
    ]
    tensor = torch.rand(1024, 1024)
    array = tensor.numpy()
    pools = {"torch": lambda: tensor @ tensor, "NumPy": lambda: array @ array}
    for name, product in pools.items():
        beside = BesidePool(batches, asked.threads, product)
        label = f"{asked.threads}, {name}'s pool awake"
        contenders.append(Contender(label, beside, batches.tokens))
    rates = common.interleave(contenders, asked.rounds)
    return common.compared(rates, 3 * forward_flop(batches.config), peak)


def measure(asked: argparse.Namespace) -> Result:
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    config = preset("lecture", batch_size=asked.batch_size)
    batches = prepare(read(asked), config, asked.batches)
    peak = peak_flops(asked.threads)
    grown = memory(config, asked)
    return {
        "peak_flops": peak,
        "tokens_a_batch": asked.tokens,
        "lengths": by_length(config, asked, peak),
        "sizes": asked.sizes,
        "memory": grown,
        "bytes_a_token": {name: slopes(asked.sizes, values) for name, values in grown.items()},
        "one_long_text": one_long(config, asked),
        "by_threads": by_threads(batches, asked, peak),
        "left_out": [] if grown else ["memory is left out: there is no /proc"],
    }


def report(result: Result) -> str:
    long, by_threads = result["one_long_text"], result["by_threads"]
    parts = [
        f"Training the lecture preset: {result['threads']} threads, medians of "
        f"{result['rounds']}\n"
        f"Nanoseconds a token by the texts' length, {result['tokens_a_batch']:,} tokens a batch\n"
        f"{lengths_table(result['lengths'])}"
    ]
    if result["memory"]:
        parts.append(
            f"Bytes a token, by tokens a batch\n{memory_table(result['sizes'], result['memory'])}"
        )
    parts.append(
        f"One text of {long['tokens']:,} tokens: {long['seconds']:.2f} s a step, "
        f"{long['tokens'] / long['seconds']:,.0f} tokens/s, loss {long['losses'][0]:.4f}, "
        f"then {long['losses'][1]:.4f}"
    )
    parts.append(f"Threads\n{common.speeds(by_threads, result['peak_flops'])}")
    return "\n\n".join(parts)


def lengths_table(lengths: dict[str, Result]) -> str:
    """A row a contender, a column a length; at last the slowest length's time by the fastest's."""
    rows = [["", *(f"{int(length):,}" for length in lengths), "slowest / fastest"]]
    for name in (OURS, PADDED):
        rates = [found["tokens_per_second"][name]["median"] for found in lengths.values()]
        times = [f"{1e9 / rate:,.0f}" for rate in rates]
        rows.append([name, *times, f"{max(rates) / min(rates):.2f}"])
    return common.table(rows)


def memory_table(sizes: Sequence[int], memory: dict[str, list[int]]) -> str:
    """Between each size and the next."""
    steps = [f"{a:,} to {b:,}" for a, b in pairwise(sizes)]
    rows = [["", *steps]]
    for name, grown in memory.items():
        rows.append([name, *(f"{slope:,.0f}" for slope in slopes(sizes, grown))])
    return common.table(rows)


def counts(text: str) -> list[int]:
    """Whole numbers with commas between, for argparse."""
    return [common.positive(part) for part in text.split(",")]


def main(given: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--tokens", type=common.positive, default=1 << 18, help="a batch")
    parser.add_argument("--lengths", type=counts, default=[16, 64, 256, 1024, 4096, 16_384])
    parser.add_argument(
        "--sizes", type=counts, default=[1 << 16, 1 << 17, 1 << 18], help="tokens, for memory"
    )
    parser.add_argument("--longest", type=common.positive, default=100_000, help="tokens")
    return common.run("scaling", parser.parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
