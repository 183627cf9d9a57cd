"""How long does one text take: ours beside ONNX Runtime and torch, in microseconds?

    python benchmarks/latency.py --data imdb-train.parquet

One text after another, those whose length is nearest to the median (about 240 tokens in IMDB's
reviews), by the `lecture` preset with the same (untrained) weights and number of threads.

- The network alone, token ids in, logits out: `Network.logits` on a text, ONNX Runtime's LSTM,
  torch.nn.LSTM. One text needs no padding, so all of them are exact: their logits must agree
  within 1e-4 before anything is timed.
- From a string to a label: our classifier's `predict`, and Hugging Face's `tokenizers` with the
  same vocabulary and merges before ONNX Runtime. Their labels must be the same.

Contenders run in turn, each over all texts a round, after a rest in which threads of the one before
stop spinning, and a few untimed calls. Median, 90th and 99th percentile over all timed calls;
lowest and highest are medians of a round.

The ceiling: each step needs the one before, so a text takes at least as long as the steps of one
direction, each a walk over U (64 x 256 floats, 64 KB). That is more than most first-level caches
hold; a second one that gives 32 to 64 bytes a cycle needs 68 to 137 microseconds for 240 steps at
3.6 GHz.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

import carryline
import common
from batches import padded, read
from carryline.bench import Contender, made_weights, seconds
from carryline.model import storage
from carryline.model.config import Config, preset
from carryline.model.history import KEYS
from carryline.model.network import Network
from carryline.recurrence.ragged import Ragged
from carryline.text.tokens import Tokenizer
from common import Result

OURS, ONNX, TORCH = "carryline", "onnxruntime", "torch"
CLASSES: list[Any] = ["neg", "pos"]
TOLERANCE = 1e-4
UNTIMED = 5  # calls before each round
REST = 0.2  # seconds before these: OpenBLAS's threads spin for 0.1

Weights = dict[str, NDArray[np.float32]]
Work = Callable[[int], Any]  # what a contender does with a text, by its number


@dataclass(frozen=True)
class Texts:
    """The texts that are timed, as strings and as token ids."""

    strings: list[str]
    ids: list[Ragged]
    tokenizer: Tokenizer

    @property
    def tokens(self) -> int:
        return sum(len(ids.values) for ids in self.ids)


def choose(texts: Sequence[str], config: Config, count: int) -> Texts:
    """Those whose number of tokens is nearest to the median."""
    tokenizer = Tokenizer.train(texts, config.vocabulary)
    rows = tokenizer.encode_batch(texts)
    lengths = rows.lengths
    nearest = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")[:count]
    chosen = [rows.take(np.array([i])) for i in nearest]
    return Texts([texts[i] for i in nearest], chosen, tokenizer)


def network_alone(texts: Texts, config: Config, weights: Weights, threads: int) -> dict[str, Work]:
    """From token ids to a logit."""
    ours, batches = Network(config, weights), [padded(ids) for ids in texts.ids]
    works: dict[str, Work] = {OURS: lambda i: ours.logits(texts.ids[i], threads=threads)[0, 0]}
    if common.installed("onnx", "onnxruntime"):
        import onnx_peer

        runtime = onnx_peer.Peer(weights, threads)
        works[ONNX] = lambda i: runtime.logits(batches[i])[0]
    if common.installed("torch"):
        import torch

        import torch_peer

        torch.set_num_threads(threads)
        peer = torch_peer.Peer(config, texts.tokenizer.size)
        peer.fill(weights)
        works[TORCH] = lambda i: peer.logits(batches[i], packed=False)[0]
    return works


def end_to_end(texts: Texts, config: Config, weights: Weights, threads: int) -> dict[str, Work]:
    """From a string to a label."""
    ours = classifier(texts.tokenizer, config, weights)
    works: dict[str, Work] = {OURS: lambda i: ours.predict([texts.strings[i]], threads=threads)[0]}
    if common.installed("onnx", "onnxruntime"):
        import onnx_peer

        runtime = onnx_peer.Peer(weights, threads)
        pieces = tokenizers.Tokenizer.from_str(texts.tokenizer.to_json())

        def theirs(i: int) -> Any:
            ids = np.array(pieces.encode(texts.strings[i]).ids, np.int64)
            return CLASSES[int(runtime.logits((ids[:, None], np.array([len(ids)])))[0] > 0)]

        works[f"tokenizers, {ONNX}"] = theirs
    return works


def classifier(tokenizer: Tokenizer, config: Config, weights: Weights) -> carryline.TextClassifier:
    """One that was saved and loaded, as a user has it, with weights that nobody trained."""
    row = dict.fromkeys(sorted(KEYS), 1)
    stored = storage.Stored(config, CLASSES, tokenizer.to_json(), weights, [row], None)
    with tempfile.TemporaryDirectory() as folder:
        storage.save(Path(folder) / "model", stored)
        return carryline.load(Path(folder) / "model")


def check(works: dict[str, Work], count: int) -> None:
    """Ends the benchmark when the contenders' results differ: it would time something else."""
    for i in range(count):
        expected = works[OURS](i)
        for name, work in works.items():
            found = work(i)
            is_label = isinstance(found, str)
            if not (found == expected if is_label else abs(found - expected) <= TOLERANCE):
                raise SystemExit(f"text {i}: {name} gives {found}, {OURS} {expected}")


class OneByOne:
    """A contender on one text after another, after a rest and a few untimed calls."""

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.count = work, count
        self.rounds: list[list[float]] = []  # seconds of each text in each round

    def __call__(self) -> float:
        """Seconds of all texts."""
        time.sleep(REST)
        for i in range(min(UNTIMED, self.count)):
            self.work(i)
        self.rounds.append([seconds(self.once, i) for i in range(self.count)])
        return sum(self.rounds[-1])

    def once(self, i: int) -> None:
        self.work(i)


def in_turn(works: dict[str, Work], count: int, rounds: int) -> dict[str, NDArray[np.float64]]:
    """Microseconds [rounds, count] of each contender."""
    timed = {name: OneByOne(work, count) for name, work in works.items()}
    common.interleave([Contender(name, one, count, 0) for name, one in timed.items()], rounds)
    return {name: 1e6 * np.array(one.rounds) for name, one in timed.items()}


def figures(taken: dict[str, NDArray[np.float64]]) -> Result:
    """In microseconds: see the beginning. share: of another contender's median that ours takes."""
    ours = float(np.median(taken[OURS]))
    found = {}
    for name, values in taken.items():
        median, p90, p99 = np.percentile(values, [50, 90, 99]).tolist()
        rounds = common.spread(np.median(values, axis=1).tolist())
        found[name] = {**rounds, "median": median, "p90": p90, "p99": p99, "share": ours / median}
    return found


def measure(asked: argparse.Namespace) -> Result:
    config = preset("lecture")
    texts = choose(read(asked), config, asked.count)
    weights, count = made_weights(config, texts.tokenizer.size), len(texts.ids)
    result: Result = {"texts": count, "tokens_a_text": texts.tokens / count}
    for name, works_of in (("network", network_alone), ("end_to_end", end_to_end)):
        works = works_of(texts, config, weights, asked.threads)
        check(works, count)
        result[name] = figures(in_turn(works, count, asked.rounds))
    result["left_out"] = common.missing("onnx", "onnxruntime", "torch")
    return result


def report(result: Result) -> str:
    parts = [
        f"One text at a time by the lecture preset: {result['texts']} texts of "
        f"{result['tokens_a_text']:.0f} tokens in the mean, {result['threads']} threads, "
        f"{result['rounds']} rounds; microseconds"
    ]
    titles = {"network": "network alone", "end_to_end": "from a string to a label"}
    for part, title in titles.items():
        rows = [[title, "median", "lowest", "highest", "p90", "p99", "ours takes"]]
        for name, found in result[part].items():
            late = [f"{found[key]:,.0f}" for key in ("p90", "p99")]
            share = "" if name == OURS else f"{found['share']:.0%} of it"
            rows.append([name, *common.between(found, ",.0f"), *late, share])
        parts.append(common.table(rows))
    return "\n\n".join(parts)


def main(given: Sequence[str] | None = None) -> int:
    parser = common.options(__doc__)
    parser.add_argument("--count", type=common.positive, default=200, help="texts to time")
    return common.run("latency", parser.parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
