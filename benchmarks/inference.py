"""How fast does the `lecture` preset predict: ours beside ONNX Runtime and torch, in tokens/s?

    python benchmarks/inference.py --data imdb-train.parquet

The network alone: token ids in, logits out, in batches of texts of similar length, all with the
same (untrained) weights and the same number of threads, in turn, after two untimed runs each.

- carryline: `Network.logits` on the ragged batch.
- onnxruntime: its LSTM with `sequence_lens`, which makes it exact, on filled-up batches.
- torch padded: torch.nn.LSTM on filled-up batches, by oneDNN. Not exact: the final states have read
  the padding.
- torch packed: a PackedSequence, torch's exact way.

The filled-up batches are made beforehand, which is not timed. Before timing, the logits of all
exact contenders must agree within 1e-4 on every batch. Only real tokens count.

The ceiling is the fp32 multiply-add peak of the threads used, measured before and after by a loop
on registers alone. A token takes 131,072 floating-point operations: the products of two directions
with W (64 x 256) and U (64 x 256), two operations a multiply-add. Carryline does those with W once
for every entry of the vocabulary when a model is loaded; it does half of the operations that are
counted and could pass that peak.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import common
from batches import Batches, options, prepare, read
from carryline.bench import Contender, forward_flop, made_weights
from carryline.model.config import preset
from carryline.model.network import Network
from carryline.recurrence.machine import peak_flops
from common import Result

OURS, ONNX, PADDED, PACKED = "carryline", "onnxruntime", "torch padded", "torch packed"
NOT_EXACT = (PADDED,)
TOLERANCE = 1e-4

Work = Callable[[], list[NDArray[Any]]]  # the logits of each batch


def works(batches: Batches, threads: int) -> dict[str, Work]:
    """What each contender that is installed does: all batches once."""
    weights = made_weights(batches.config, batches.vocabulary)
    ours = Network(batches.config, weights)
    found: dict[str, Work] = {
        OURS: lambda: [ours.logits(batch, threads=threads)[:, 0] for batch in batches.ragged]
    }
    if common.installed("onnx", "onnxruntime"):
        import onnx_peer

        runtime = onnx_peer.Peer(weights, threads)
        found[ONNX] = lambda: [runtime.logits(batch) for batch in batches.padded]
    if common.installed("torch"):
        import torch

        import torch_peer

        torch.set_num_threads(threads)
        peer = torch_peer.Peer(batches.config, batches.vocabulary)
        peer.fill(weights)
        found[PADDED] = lambda: [peer.logits(batch, packed=False) for batch in batches.padded]
        found[PACKED] = lambda: [peer.logits(batch, packed=True) for batch in batches.padded]
    return found


def differences(found: dict[str, Work]) -> dict[str, float]:
    """The largest difference of each exact contender's logits from ours. Ends the benchmark when
    one is beyond `TOLERANCE`: it would time something else."""
    expected = np.concatenate(found[OURS]())
    largest = {}
    for name in found.keys() - {OURS, *NOT_EXACT}:
        largest[name] = float(np.abs(np.concatenate(found[name]()) - expected).max())
        if not largest[name] <= TOLERANCE:
            raise SystemExit(f"logits of {name} must be within {TOLERANCE}, off by {largest[name]}")
    return largest


def untimed(work: Work) -> Callable[[], None]:
    """`work` for `Contender`, without its logits."""

    def run() -> None:
        work()

    return run


def measure(asked: argparse.Namespace) -> Result:
    config = preset("lecture", batch_size=asked.batch_size)
    batches = prepare(read(asked), config, asked.batches)
    peak = peak_flops(asked.threads)
    found = works(batches, asked.threads)
    largest = differences(found)
    contenders = [Contender(name, untimed(work), batches.tokens) for name, work in found.items()]
    rates = common.interleave(contenders, asked.rounds)
    peak = max(peak, peak_flops(asked.threads))
    return {
        **batches.sizes,
        "peak_flops": peak,
        **common.compared(rates, forward_flop(config), peak),
        "largest_difference": largest,
        "left_out": common.missing("onnx", "onnxruntime", "torch"),
    }


def report(result: Result) -> str:
    padding = result["padded_tokens"] / result["tokens"]
    return (
        f"Predicting by the lecture preset: {result['threads']} threads, {result['batches']} "
        f"batches of similar length, {result['tokens']:,} tokens; medians of {result['rounds']}\n"
        f"Peak {result['peak_flops'] / 1e9:,.0f} GFLOP/s, {result['flop_a_token']:,} FLOP a "
        f"token; padded batches have {padding:.2f} tokens for a real one\n\n"
        f"{common.speeds(result, result['peak_flops'])}"
    )


def main(given: Sequence[str] | None = None) -> int:
    return common.run("inference", options(__doc__).parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
