"""How fast do the cells train: our lstm, carry, gru and rnn beside torch's LSTM, GRU and RNN?

    python benchmarks/cells.py --data imdb-train.parquet

The `lecture` preset (Embedding(64), two directions of 64 units) with each cell. All contenders do
the whole training step (forward, backward, fused Adam) on the same batches of texts of similar
length with the same number of threads, in turn, after two untimed runs each. torch's batches are
filled up to their longest text beforehand, which is not timed; its final states have read the
padding. Only real tokens count. torch has no peer for `carry`, which stands beside our lstm.

The ceiling is the fp32 multiply-add peak of the threads used, measured before and after by a loop
on registers alone. Each cell's operations a token are those of its products, two a multiply-add,
three times that for forward and backward; its table says how many. Carryline multiplies by W once
for each distinct token of a batch and could pass that peak.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

import common
import torch_peer
from batches import Batches, options, ours, prepare, read
from carryline.bench import Contender, forward_flop
from carryline.model.config import CELLS, preset
from carryline.recurrence.machine import peak_flops
from common import Result


def contenders(batches: Batches, threads: int) -> list[Contender]:
    """Ours, and torch's where it has the cell."""
    name = batches.config.cell
    found = [Contender(f"carryline {name}", ours(batches, threads), batches.tokens)]
    if name in torch_peer.LAYERS:
        theirs = torch_peer.TrainingSteps(batches)
        found.append(Contender(f"torch {name.upper()} padded", theirs, batches.tokens))
    return found


def measure(asked: argparse.Namespace) -> Result:
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    config = preset("lecture", batch_size=asked.batch_size)
    batches = prepare(read(asked), config, asked.batches)
    configs = {cell: config.replace(cell=cell) for cell in CELLS}
    peak = peak_flops(asked.threads)
    work = {cell: contenders(batches.of(one), asked.threads) for cell, one in configs.items()}
    rates = common.interleave([c for some in work.values() for c in some], asked.rounds)
    peak = max(peak, peak_flops(asked.threads))
    found = {
        cell: common.compared(
            {one.name: rates[one.name] for one in some}, 3 * forward_flop(configs[cell]), peak
        )
        for cell, some in work.items()
    }
    return {
        **batches.sizes,
        "peak_flops": peak,
        "cells": found,
        "time_of_carry_by_lstm": common.ratios(rates["carryline lstm"], rates["carryline carry"]),
    }


def report(result: Result) -> str:
    parts = [
        f"Training each cell at 64 units: {result['threads']} threads, {result['batches']} batches "
        f"of similar length, {result['tokens']:,} tokens; medians of {result['rounds']}\n"
        f"Peak {result['peak_flops'] / 1e9:,.0f} GFLOP/s; padded batches have "
        f"{result['padded_tokens'] / result['tokens']:.2f} tokens for a real one"
    ]
    for cell, found in result["cells"].items():
        title = f"{cell}, {found['flop_a_token']:,} FLOP a token"
        parts.append(f"{title}\n{common.speeds(found, result['peak_flops'])}")
    carry = common.times(result["time_of_carry_by_lstm"])
    return "\n\n".join([*parts, f"carry takes {carry} times as long as lstm"])


def main(given: Sequence[str] | None = None) -> int:
    return common.run("cells", options(__doc__).parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
