"""How fast do networks train: ours beside torch.nn.LSTM, in tokens a second?

    python benchmarks/training.py --data imdb-train.parquet
    python benchmarks/training.py --net 128,256,2x256,512
    python benchmarks/training.py --net 256,512 --precision bf16

The networks: `lecture` is the preset: Embedding(64), bidirectional LSTM(64), Dense(64, relu),
Dense(1); 8,185 subwords. `256` is the same with Embedding(128) and a bidirectional LSTM(256),
`2x256` has two of these. All contenders do the whole training step (forward, backward, fused Adam)
on the same batches of texts of similar length with the same number of threads, in turn, after two
untimed runs each.

- carryline: the step of its own training loop, on the ragged batch.
- torch padded: each batch filled up to its longest text, on oneDNN. Its results are not exact (the
  final states have read the padding), but it is the fastest way that torch has. oneDNN compiles
  for each length, so the warm-up runs over the very batches that are timed. The filled-up batches
  are made beforehand, which is not timed.
- torch packed (--packed N, on the first N batches): a PackedSequence, torch's exact way. Slow.
- keras masked (--keras N, on the first N batches; where tensorflow-cpu is installed): mask_zero.
- With --precision bf16, carryline's and torch's (autocast's) bf16, and carryline's fp32.

Only real tokens count. The ceiling is the fp32 multiply-add peak of the threads used, measured
before and after by a loop on registers alone with the instruction set in use. In `lecture` a token
takes 393,216 floating-point operations: the products of two directions with W (64 x 256) and U
(64 x 256), two operations a multiply-add, and three times that for forward and backward. Carryline
multiplies by the first layer's W once for each distinct token of a batch, so it does less and could
pass that peak, as bf16 could.

`lecture` also says how much of carryline's step is not the recurrent layer's, see short.py.

Without --data, made-up texts with lengths and repetitions like those of IMDB's reviews.

Run it on a machine that does nothing else. With other work on two cores torch's rate on the same
batches fell from 95,000 to between 900 and 85,000 tokens a second, ours from 300,000 to between
60,000 and 130,000: the ratio then says nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

import torch

import common
import steps
import torch_peer
from batches import Batches, options, ours, prepare, read
from carryline.bench import Contender, forward_flop
from carryline.model.config import Config, preset
from carryline.recurrence.machine import peak_flops
from common import Result

OURS, OURS_BF16 = "carryline", "carryline bf16"
PADDED, PADDED_BF16, PACKED = "torch padded", "torch padded bf16", "torch packed"
KERAS = "keras masked"


def network(name: str, lecture: Config) -> Config:
    """The configuration that a name of --net means."""
    if name == "lecture":
        return lecture
    layers, _, size = name.rpartition("x")
    return lecture.replace(embedding=128, hidden=[int(size)] * int(layers or 1))


def contenders(batches: Batches, asked: argparse.Namespace) -> list[Contender]:
    """The first one is that which the others are compared with."""
    chosen = [Contender(OURS, ours(batches, asked.threads), batches.tokens)]
    if asked.precision == "bf16":
        rounded = batches.of(batches.config.replace(precision="bf16"))
        chosen.insert(0, Contender(OURS_BF16, ours(rounded, asked.threads), batches.tokens))
        if torch_peer.takes_bf16():
            theirs = torch_peer.TrainingSteps(batches, precision="bf16")
            chosen.append(Contender(PADDED_BF16, theirs, batches.tokens))
        return chosen
    chosen.append(Contender(PADDED, torch_peer.TrainingSteps(batches), batches.tokens))
    if asked.packed:
        few = batches.first(asked.packed)
        theirs = torch_peer.TrainingSteps(few, packed=True)
        chosen.append(Contender(PACKED, theirs, few.tokens, warmups=1))
    if asked.keras and common.installed("tensorflow"):
        import keras_peer

        few = batches.first(asked.keras)
        chosen.append(Contender(KERAS, keras_peer.TrainingSteps(few, asked.threads), few.tokens))
    return chosen


def left_out(asked: argparse.Namespace) -> list[str]:
    """What was asked for and is not there."""
    lines = common.missing("tensorflow") if asked.keras else []
    if asked.precision == "bf16" and not torch_peer.takes_bf16():
        lines.append(f"{PADDED_BF16} is left out: oneDNN has no bf16 LSTM for this machine")
    return lines


def measure(asked: argparse.Namespace) -> Result:
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    lecture = preset("lecture", batch_size=asked.batch_size)
    batches = prepare(read(asked), lecture, asked.batches)
    peak = peak_flops(asked.threads)
    rates, splits = {}, {}
    for name in asked.net:
        work = contenders(batches.of(network(name, lecture)), asked)
        rates[name] = common.interleave(work, asked.rounds)
        if name == "lecture":
            own = batches.of(lecture.replace(precision=asked.precision))
            splits[name] = {"step": steps.split(own, asked.threads, asked.rounds)}
    peak = max(peak, peak_flops(asked.threads))
    return {
        "precision": asked.precision,
        **batches.sizes,
        "onednn": torch_peer.on_onednn(),
        "peak_flops": peak,
        "nets": {
            name: common.compared(found, 3 * forward_flop(network(name, lecture)), peak)
            | splits.get(name, {})
            for name, found in rates.items()
        },
        "left_out": left_out(asked),
    }


def report(result: Result) -> str:
    padding = result["padded_tokens"] / result["tokens"]
    engine = "oneDNN" if result["onednn"] else "not oneDNN: this torch has none for LSTMs"
    parts = [
        f"Training: {result['threads']} threads, {result['batches']} batches of similar length, "
        f"{result['tokens']:,} tokens; medians of {result['rounds']}\n"
        f"Peak {result['peak_flops'] / 1e9:,.0f} GFLOP/s; torch padded runs on {engine}, "
        f"{padding:.2f} tokens for a real one"
    ]
    for name, found in result["nets"].items():
        title = f"{name}, {found['flop_a_token']:,} FLOP a token"
        parts.append(f"{title}\n{common.speeds(found, result['peak_flops'])}")
        if "step" in found:
            parts.append(steps.line(found["step"]))
    return "\n\n".join(parts)


def names(text: str) -> list[str]:
    """What --net was given, for argparse."""
    found = text.split(",")
    for name in found:
        if not re.fullmatch(r"lecture|([1-9]\d{0,1}x)?[1-9]\d{0,4}", name):
            raise argparse.ArgumentTypeError(
                f"networks are lecture, units such as 256, or layers x units such as 2x256, "
                f"one is {name!r}"
            )
    return found


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument(
        "--net", type=names, default=["lecture"], help="networks: lecture, 256, 2x256, …"
    )
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--packed", type=int, default=0, help="batches to run packed (default 0)")
    parser.add_argument("--keras", type=int, default=0, help="batches for Keras (default 0)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    return common.run("training", arguments(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
