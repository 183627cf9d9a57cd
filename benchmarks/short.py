"""How fast do networks train on short texts, and where does a step's time go?

    python benchmarks/short.py --data mr.csv --data trec-train.csv
    python benchmarks/short.py --net lecture --beside SITE

A batch of 64 sentences has 1,700 tokens where 64 reviews have 21,000: what a step takes once,
whatever the number of tokens, counts. The networks are presets with their own settings, dropout and
clipping included, at a constant learning rate. All contenders do the whole training step (forward,
backward, clipping, Adam) on the same batches of texts of similar length with the same number of
threads, in turn, after two untimed runs each over the very batches that are timed: oneDNN compiles
for each length.

- carryline: the step of its own training loop, on the ragged batch.
- torch padded: the same network from torch's layers, each batch filled up to its longest text
  beforehand, which is not timed. Largest and mean states are those of real tokens; the final ones
  have read the padding.
- carryline beside (--beside SITE): the Carryline in the folder SITE, in a process of its own, that
  waits while others run. `pip install --no-deps --target SITE WHEEL` makes such a folder.

Only real tokens count. The ceiling is the fp32 multiply-add peak of the threads used, measured
before and after; operations a token are those of the recurrent layers' products, see training.py.

A second table splits carryline's step, in a pass of its own: the time in each compiled kernel, and
the rest. The line below it says what the step takes beside the recurrent layers, whose time rises
with the tokens: the recurrence's two kernels, and the products and weight gradients of its inputs.

Without --data, made-up texts as long as sentences of film reviews.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import beside
import common
import steps
import torch_peer
from batches import SHORT, Batches, from_file, options, ours, prepare, synthetic
from carryline.bench import Contender, forward_flop
from carryline.model.config import PRESETS, preset
from carryline.recurrence.machine import peak_flops
from common import Result

OURS, PADDED, BESIDE = "carryline", "torch padded", "carryline beside"
NETS = [name for name, config in PRESETS.items() if len(set(config.hidden)) == 1]  # torch's way


def texts(asked: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Name and texts of each file."""
    if not asked.data:
        return [("made up", synthetic(asked.texts, words_a_text=SHORT))]
    return [(Path(file).name, from_file(file, asked.text)) for file in asked.data]


def rates(batches: Batches, asked: argparse.Namespace) -> dict[str, list[float]]:
    """Tokens a second of each contender in each round."""
    work = [
        Contender(OURS, ours(batches, asked.threads), batches.tokens),
        Contender(PADDED, torch_peer.TrainingSteps(batches), batches.tokens),
    ]
    if not asked.beside:
        return common.interleave(work, asked.rounds)
    with beside.training_steps(asked.beside, batches, asked.threads) as theirs:
        work.append(Contender(BESIDE, theirs, batches.tokens))
        return common.interleave(work, asked.rounds)


def measure(asked: argparse.Namespace) -> Result:
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    peak = peak_flops(asked.threads)
    timed = []
    for data, read in texts(asked):
        for net in asked.net:
            config = preset(net, batch_size=asked.batch_size)
            batches = prepare(read, config, asked.batches)
            split = steps.split(batches, asked.threads, asked.rounds)
            timed.append((data, net, batches, rates(batches, asked), split))
    peak = max(peak, peak_flops(asked.threads))
    sections = [
        {
            "data": data,
            "net": net,
            "texts": sum(map(len, batches.ragged)),
            **batches.sizes,
            **common.compared(found, 3 * forward_flop(batches.config), peak),
            "step": split,
        }
        for data, net, batches, found, split in timed
    ]
    return {"onednn": torch_peer.on_onednn(), "peak_flops": peak, "sections": sections}


def section(found: Result, peak: float) -> str:
    """One network on one file."""
    title = (
        f"{found['net']} on {found['data']}: {found['batches']} batches, {found['tokens']:,} "
        f"tokens, {found['tokens'] / found['texts']:.1f} a text, "
        f"{found['padded_tokens'] / found['tokens']:.2f} padded for a real one; "
        f"{found['flop_a_token']:,} FLOP a token"
    )
    split = f"{steps.table(found['step'])}\n{steps.line(found['step'])}"
    return f"{title}\n{common.speeds(found, peak)}\n\n{split}"


def report(result: Result) -> str:
    engine = "oneDNN" if result["onednn"] else "not oneDNN: this torch has none for LSTMs"
    head = (
        f"Training on short texts: {result['threads']} threads; medians of {result['rounds']}, "
        f"a step's parts in the fastest of as many\nPeak {result['peak_flops'] / 1e9:,.0f} "
        f"GFLOP/s; torch padded runs on {engine}"
    )
    return "\n\n".join([head, *(section(one, result["peak_flops"]) for one in result["sections"])])


def names(text: str) -> list[str]:
    """What --net was given, for argparse."""
    found = text.split(",")
    for name in found:
        if name not in NETS:
            raise argparse.ArgumentTypeError(
                f"networks are {', '.join(NETS)}, with commas between, one is {name!r}"
            )
    return found


def main(given: Sequence[str] | None = None) -> int:
    parser = options(__doc__, several=True)
    parser.set_defaults(batches=100)
    parser.add_argument("--net", type=names, default=["base", "lecture"], help=", ".join(NETS))
    parser.add_argument("--beside", metavar="SITE", help="a folder with another Carryline")
    return common.run("short", parser.parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
