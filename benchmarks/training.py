"""How fast does the `lecture` preset train: ours beside torch.nn.LSTM, in tokens a second?

    python benchmarks/training.py --data imdb-train.parquet

The model: Embedding(64), bidirectional LSTM(64), Dense(64, relu), Dense(1); 8,185 subwords. Both
sides do the whole training step (forward, backward, fused Adam) on the same batches of texts of
similar length, in fp32 with the same number of threads, in turn, after two untimed runs each.

- carryline: the step of its own training loop, on the ragged batch.
- torch padded: each batch filled up to its longest text, on oneDNN. Its results are not exact (the
  final states have read the padding), but it is the fastest way that torch has. oneDNN compiles
  for each length, so the warm-up runs over the very batches that are timed. The filled-up batches
  are made beforehand, which is not timed.
- torch packed (--packed N, on the first N batches): a PackedSequence, torch's exact way. Slow.

Only real tokens count. The ceiling is the fp32 multiply-add peak of the threads used, measured
before and after by a loop on registers alone with the instruction set in use. A token takes
393,216 floating-point operations: the products of two directions with W (64 x 256) and U
(64 x 256), two operations a multiply-add, and three times that for forward and backward. Carryline
multiplies by W once for each distinct token of a batch, so it does less and could pass that peak.

Without --data, made-up texts with lengths and repetitions like those of IMDB's reviews.

Run it on a machine that does nothing else. With other work on two cores torch's rate on the same
batches fell from 95,000 to between 900 and 85,000 tokens a second, ours from 300,000 to between
60,000 and 130,000: the ratio then says nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from carryline import data
from carryline.config import Config, preset
from carryline.errors import CarrylineError
from carryline.machine import peak_flops
from carryline.progress import Quiet
from carryline.ragged import Ragged
from carryline.tokens import Tokenizer
from carryline.training.batches import epoch_batches
from carryline.training.loop import Labelled, Run, Trainer
from carryline.training.process import one_torch_thread

OURS, PADDED, PACKED = "carryline", "torch padded", "torch packed"


@dataclass(frozen=True)
class Batches:
    """The batches that all contenders train on: token ids and a target (0 or 1) for each text."""

    config: Config
    vocabulary: int
    ragged: list[Ragged]
    targets: list[NDArray[np.int64]]

    def first(self, count: int) -> Batches:
        return Batches(self.config, self.vocabulary, self.ragged[:count], self.targets[:count])

    @property
    def tokens(self) -> int:
        return sum(len(batch.values) for batch in self.ragged)

    @cached_property
    def padded(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """As torch takes them: ids [steps, texts], lengths [texts], targets [texts]."""
        return [
            (
                pad_sequence([torch.from_numpy(ids.astype(np.int64)) for ids in batch]),
                torch.from_numpy(batch.lengths),
                torch.from_numpy(targets.astype(np.float32)),
            )
            for batch, targets in zip(self.ragged, self.targets, strict=True)
        ]


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


def synthetic(count: int, seed: int = 0) -> list[str]:
    """Made-up texts. Fitted to IMDB's reviews at 8,185 subwords: 330 tokens in the mean, 240 in the
    median, one token in five distinct within a batch of 64."""
    rng = np.random.default_rng(seed)
    syllables = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    words = np.array(["".join(rng.choice(syllables, n)) for n in rng.integers(1, 5, 60_000)])
    frequency = 1 / np.arange(3, len(words) + 3)
    lengths = np.clip(rng.lognormal(5.38, 0.66, count), 8, 2700).astype(np.int64)
    drawn = words[rng.choice(len(words), lengths.sum(), p=frequency / frequency.sum())]
    return [" ".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]


class Ours:
    """One run of Carryline's own training step over all batches."""

    def __init__(self, batches: Batches, threads: int) -> None:
        self.batches = batches
        run = Run(batches.config, 2, batches.vocabulary, threads, Quiet())
        self.trainer = Trainer(run, Labelled(batches.ragged[0], batches.targets[0]), None)

    def __call__(self) -> None:
        rate = self.batches.config.learning_rate
        with one_torch_thread():  # as `train` does; the kernels use all threads
            for batch, targets in zip(self.batches.ragged, self.batches.targets, strict=True):
                fresh = batch.like(batch.values)  # its plan is made anew, as in an epoch
                self.trainer.step(fresh, targets, rate)


class Peer(torch.nn.Module):
    """The same model from torch's own layers."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        hidden = config.hidden[0]
        self.embedding = torch.nn.Embedding(vocabulary, config.embedding)
        self.recurrence = torch.nn.LSTM(config.embedding, hidden, bidirectional=True)
        self.dense = torch.nn.Linear(2 * hidden, config.dense)
        self.head = torch.nn.Linear(config.dense, 1)

    def forward(self, ids: Tensor, lengths: Tensor | None) -> Tensor:
        """ids [steps, texts] -> logits [texts]; lengths [texts]: pack by them (None: do not)."""
        x: Any = self.embedding(ids)
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, enforce_sorted=False)
        _, (h, _) = self.recurrence(x)
        logits: Tensor = self.head(torch.relu(self.dense(torch.cat([h[0], h[1]], dim=1))))
        return logits[:, 0]


class Theirs:
    """One run of torch's training step over all batches."""

    def __init__(self, batches: Batches, packed: bool) -> None:
        self.batches, self.packed = batches, packed
        self.model = Peer(batches.config, batches.vocabulary)
        rate = batches.config.learning_rate
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, fused=True)

    def __call__(self) -> None:
        for ids, lengths, targets in self.batches.padded:
            logits = self.model(ids, lengths if self.packed else None)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            loss.item()


def on_onednn() -> bool:
    """Whether torch computes such an LSTM by oneDNN on this machine."""
    states, _ = torch.nn.LSTM(8, 8, bidirectional=True)(torch.zeros(2, 2, 8))
    nodes = [states.grad_fn]
    for node in nodes:
        nodes += [following for following, _ in node.next_functions if following]
    return any("mkldnn" in node.name().lower() for node in nodes)


def flop_a_token(config: Config) -> int:
    """Of the recurrent layer's products: forward, and twice as many backward."""
    columns = 4 * config.hidden[0]
    multiply_adds = 2 * (config.embedding * columns + config.hidden[0] * columns)
    return 3 * 2 * multiply_adds


def compare(batches: Batches, threads: int, rounds: int, packed: int) -> dict[str, Any]:
    """Run all contenders; the benchmark's result."""
    about, peak = common.machine("torch"), peak_flops(threads)
    contenders = [
        common.Contender(OURS, Ours(batches, threads), batches.tokens),
        common.Contender(PADDED, Theirs(batches, packed=False), batches.tokens),
    ]
    if packed:
        few = batches.first(packed)
        contenders.append(common.Contender(PACKED, Theirs(few, packed=True), few.tokens, warmups=1))
    rates = common.interleave(contenders, rounds)
    peak = max(peak, peak_flops(threads))
    flop = flop_a_token(batches.config)
    return {
        "benchmark": "training",
        "machine": about,
        "threads": threads,
        "batches": len(batches.ragged),
        "tokens": batches.tokens,
        "padded_tokens": sum(ids.numel() for ids, _, _ in batches.padded),
        "rounds": rounds,
        "onednn": on_onednn(),
        "peak_flops": peak,
        "flop_a_token": flop,
        "tokens_per_second": {name: common.spread(values) for name, values in rates.items()},
        "share_of_peak": {n: common.spread(v)["median"] * flop / peak for n, v in rates.items()},
        "ratio": {n: common.ratios(rates[OURS], v) for n, v in rates.items() if n != OURS},
    }


def report(result: dict[str, Any]) -> str:
    rows = [["", "tokens/s", "lowest", "highest", "of the peak", "ours is faster by"]]
    for name, rate in result["tokens_per_second"].items():
        speeds = [f"{rate[key]:,.0f}" for key in ("median", "min", "max")]
        ratio = result["ratio"].get(name)
        times = "{median:.2f} ({min:.2f} to {max:.2f})".format(**ratio) if ratio else ""
        rows.append([name, *speeds, f"{result['share_of_peak'][name]:.1%}", times])
    peak, flop = result["peak_flops"], result["flop_a_token"]
    rows.append(["fp32 peak", f"{peak / flop:,.0f}", "", "", "100.0%", ""])
    padding = result["padded_tokens"] / result["tokens"]
    engine = "oneDNN" if result["onednn"] else "not oneDNN: this torch has none for LSTMs"
    return (
        f"{common.describe(result['machine'])}\n\n"
        f"Training the lecture preset: {result['threads']} threads, {result['batches']} batches of "
        f"similar length, {result['tokens']:,} tokens; medians of {result['rounds']}\n"
        f"Peak {peak / 1e9:,.0f} GFLOP/s, {flop:,} FLOP a token; torch padded runs on {engine}, "
        f"{padding:.2f} tokens for a real one\n\n"
        f"{common.table(rows)}\n"
    )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = common.options(__doc__)
    parser.add_argument("--data", help="texts to train on: Parquet, CSV, … (default: made up)")
    parser.add_argument("--text", action="append", default=[], help="column of the text")
    parser.add_argument(
        "--texts",
        type=common.positive,
        default=6400,
        help="how many to make up; below 100 batches their lengths differ more within a batch",
    )
    parser.add_argument("--batches", type=common.positive, default=24, help="of an epoch")
    parser.add_argument("--batch-size", type=common.positive, default=64)
    parser.add_argument("--packed", type=int, default=0, help="batches to run packed (default 0)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    config = preset("lecture", batch_size=asked.batch_size)
    try:
        if asked.data:
            texts = data.read(asked.data, text=asked.text, labelled=False).texts
        else:
            texts = synthetic(asked.texts)
    except CarrylineError as error:
        print(error, file=sys.stderr)
        return 2
    batches = prepare(texts, config, asked.batches)
    result = compare(batches, asked.threads, asked.rounds, asked.packed)
    print(report(result))
    common.finish({**result, "data": Path(asked.data).name if asked.data else "synthetic"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
