"""Where does each nanosecond of a token go when the `lecture` preset trains, and what is its limit?

    python benchmarks/roofline.py --data imdb-train.parquet

Every part of a training step is timed by itself, at the best of the rounds. The time loops do
several things at once, so products of the same sizes, made by the same tiles on one thread, over
the number of threads, stand for theirs (a loop hands nothing over within itself): forward less its
product is activations, states and what is saved; backward less its two products is the pointwise
part and the sums by distinct token. Python is what the whole step takes beyond all parts. Of the
embedding only the rows of a batch are read and stepped; the steps that these have missed are in
Adam's part.

The limit of a part is its operations over the fp32 multiply-add peak of the threads (measured
before and after, on registers alone), or, for what only moves memory, its bytes over the rate at
which the threads copy. Activations count 5 hyperbolic tangents a unit of 13 operations each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import common
from batches import Batches, options, ours, prepare, read
from carryline.bench import seconds
from carryline.model.config import preset
from carryline.recurrence import _kernels, kernels, machine
from carryline.recurrence.cells import CELLS, shapes
from carryline.recurrence.ragged import Ragged
from carryline.training import stages
from carryline.training.adam import Adam
from carryline.training.model import EMBEDDING
from common import Result

CHUNK = 960  # tokens of a product that stands for one in a time loop: they stay in the caches


@dataclass
class Part:
    """seconds: of all batches together; operations or bytes: what they do."""

    name: str
    seconds: float
    operations: float = 0
    bytes: float = 0


class Bench:
    """The parts of a step over some batches: random weights, real ids."""

    def __init__(self, batches: Batches, threads: int, rounds: int) -> None:
        config = batches.config
        self.threads, self.rounds, self.batches = threads, rounds, batches.ragged
        self.inputs, self.hidden = config.embedding, config.hidden[0]
        cell, rng = CELLS[config.cell], np.random.default_rng(0)
        of = shapes(cell, self.inputs, self.hidden).items()
        weights = [
            {name: (rng.standard_normal(shape) * 0.1).astype(np.float32) for name, shape in of}
            for _ in range(2)
        ]
        self.layer = kernels.Layer(cell, weights)
        self.table = rng.standard_normal((batches.vocabulary, self.inputs)).astype(np.float32)
        self.found = [kernels.distinct(b.values, b.plan, batches.vocabulary) for b in self.batches]
        self.tokens = sum(len(b.values) for b in self.batches)
        self.rows = sum(len(ids) for ids, _ in self.found)

    def time(self, work: Callable[[int], Any]) -> float:
        """Of work(0), work(1), … for all batches, at best."""

        def over_all() -> None:
            for index in range(len(self.batches)):
                work(index)

        return min(seconds(over_all) for _ in range(self.rounds))

    def product(self, inner: int, columns: int) -> float:
        """Of [tokens, inner] times [inner, columns] for both directions."""
        dense = kernels.Dense(np.ones((columns, inner), np.float32), np.zeros(columns, np.float32))
        x = np.full((CHUNK, inner), 0.01, np.float32)
        return self._by_chunks(lambda: dense(x, 1))

    def outer(self, left: int, right: int) -> float:
        """Of the sums of outer products [tokens, left] x [tokens, right] for both directions."""
        a = np.full((CHUNK, left), 0.01, np.float32)
        b, out = np.full((CHUNK, right), 0.01, np.float32), np.zeros((1, left, right), np.float32)
        return self._by_chunks(lambda: _kernels.outer(a[None], b, out, False, 1))

    def _by_chunks(self, work: Callable[[], object]) -> float:
        """Of as many chunks as both directions' tokens are, shared out to the threads."""
        chunks = 2 * self.tokens / CHUNK / self.threads
        return self.time(lambda _: [work() for _ in range(20)]) * chunks / (20 * len(self.batches))

    def layer_parts(self) -> tuple[float, float, float]:
        """Seconds of projection, forward and all of backward."""
        layer, threads, hidden = self.layer, self.threads, self.hidden
        x = [self.table[ids] for ids, _ in self.found]
        plans = [batch.plan for batch in self.batches]
        zeros = [np.zeros((2, plan.texts, hidden), np.float32) for plan in plans]
        projected = [layer.project(rows, threads) for rows in x]
        project = self.time(lambda i: layer.project(x[i], threads))

        def forward(i: int) -> kernels.Trace:
            row = self.found[i][1]
            return layer.forward(
                plans[i], projected[i], row, zeros[i], zeros[i],
                states=True, save=True, threads=threads,
            )  # fmt: skip

        walk = self.time(forward)
        traces = [forward(i) for i in range(len(plans))]
        d_h = [np.full_like(zero, 0.01) for zero in zeros]

        def backward(i: int) -> kernels.Gradients:
            row = self.found[i][1]
            return layer.backward(
                plans[i], traces[i], x[i], row, None, d_h[i], zeros[i], by_x=True, threads=threads
            )

        return project, walk, self.time(backward)

    def parts(self) -> list[Part]:
        """All parts of the recurrent layer."""
        hidden, gates, tokens = self.hidden, 4 * self.hidden, self.tokens
        project, forward, backward = self.layer_parts()
        recurrent, back = self.product(hidden, gates), self.product(gates, hidden)
        weights = self.outer(hidden, gates)
        inputs = 2 * project  # dW and dx: each as large as the projection
        by_token = 2.0 * 2 * hidden * gates * tokens
        by_row = 2.0 * 2 * self.inputs * gates * self.rows
        kept = 4.0 * 2 * hidden * tokens  # bytes of a value a unit
        return [
            Part("projection W x + b", project, by_row),
            Part("forward: U h", recurrent, by_token),
            Part("forward: activations, saving", forward - recurrent, 5 * 13 * kept / 4, 6 * kept),
            Part("backward: d_gates U", back, by_token),
            Part("backward: d_gates outer h", weights, by_token),
            Part("backward: pointwise, sums by token", backward - back - weights - inputs,
                 30 * kept / 4, (8 + 2 * 4) * kept),
            Part("backward: dW, dx of distinct tokens", inputs, 2 * by_row),
        ]  # fmt: skip


def rest(batches: Batches, bench: Bench) -> list[Part]:
    """The rest of a training step: embedding, optimiser, plan; and the whole step."""

    def gather(index: int) -> None:
        batch = bench.batches[index]
        fresh = Ragged(batch.values, batch.offsets)  # its plan is made anew, as in an epoch
        kernels.distinct(fresh.values, fresh.plan, batches.vocabulary)

    steps = ours(batches, bench.threads)
    steps()
    whole = min(seconds(steps) for _ in range(bench.rounds))
    adam, gradients = steps.trainer.optimizer, made_gradients(steps.trainer.optimizer, bench)
    rows = 4.0 * bench.rows * bench.inputs
    others = 4.0 * sum(weight.size for name, weight in adam.weights.items() if name != EMBEDDING)

    def embed(index: int) -> None:
        x, back = stages.embedding(bench.table, bench.found[index][0])
        back(x)

    def step(index: int) -> None:
        adam.step(gradients[index], 1e-3)

    return [
        Part("plan, distinct tokens", bench.time(gather)),
        Part("embedding, both ways", bench.time(embed), bytes=2 * rows),
        Part("Adam", bench.time(step), bytes=7 * (rows + len(bench.batches) * others)),
        Part("whole step", whole),
    ]


def made_gradients(adam: Adam, bench: Bench) -> list[stages.Gradients]:
    """For each batch gradients of all weights, of the embedding by the batch's rows."""
    whole = {name: np.full_like(weight, 0.01) for name, weight in adam.weights.items()}
    return [
        whole | {EMBEDDING: stages.Rows(ids, np.full((len(ids), bench.inputs), 0.01, np.float32))}
        for ids, _ in bench.found
    ]


def measure(asked: Any) -> Result:
    batches = prepare(read(asked), preset("lecture", batch_size=asked.batch_size), asked.batches)
    peak, copy = machine.peak_flops(asked.threads), machine.copy_rate(asked.threads)
    bench = Bench(batches, asked.threads, asked.rounds)
    *others, whole = rest(batches, bench)
    parts = [*bench.parts(), *others]
    python = Part("Python, pooling, head, loss", whole.seconds - sum(p.seconds for p in parts))
    peak = max(peak, machine.peak_flops(asked.threads))
    rows = []
    for part in [*parts, python, whole]:
        limit = max(part.operations / peak, part.bytes / copy)
        rows.append(
            {
                "part": part.name,
                "nanoseconds_a_token": part.seconds / batches.tokens * 1e9,
                "limit": limit / batches.tokens * 1e9,
            }
        )
    return {
        **batches.sizes,
        "distinct": bench.rows,
        "peak_flops": peak,
        "copy_rate": copy,
        "parts": rows,
    }


def report(result: Result) -> str:
    rows = [["", "ns a token", "its limit", "of the limit"]]
    for part in result["parts"]:
        spent, limit = part["nanoseconds_a_token"], part["limit"]
        shown = [f"{limit:,.1f}", f"{limit / spent:.0%}"] if limit else ["", ""]
        rows.append([part["part"], f"{spent:,.1f}", *shown])
    return (
        f"A training step of the lecture preset: {result['threads']} threads, {result['batches']} "
        f"batches, {result['tokens']:,} tokens, {result['distinct']:,} distinct in their batches; "
        f"best of {result['rounds']}\nPeak {result['peak_flops'] / 1e9:,.0f} GFLOP/s, copying "
        f"{result['copy_rate'] / 1e9:,.1f} GB/s\n\n{common.table(rows)}"
    )


def main(given: Sequence[str] | None = None) -> int:
    return common.run("roofline", options(__doc__).parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
