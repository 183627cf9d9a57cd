"""How long does `carryline train` (preset `base`) take to begin: from its start to its first step?

    python benchmarks/start.py --data mr.csv

Trains on --texts labelled texts drawn from the data (made-up ones without), a process each time,
which ends as its first step begins. Once untimed, so that tokens are kept (text/cache.py) and files
are in memory, as from the second run of a day on. In the seconds are Python's own start, which is
timed beside, reading, the account of the data, and the batches of the first epoch.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import common
from batches import SHORT, synthetic
from carryline.bench import Contender
from carryline.text import data
from common import Result

TRAIN = """
import os, sys, time
from carryline.cli import main
from carryline.training import loop

def first_step(*given):
    print(time.time(), flush=True)
    os._exit(0)

loop.Trainer.step = first_step
sys.argv[1:] = ["train", sys.argv[1], "--preset", "base", "--out", sys.argv[2], "--no-baseline"]
main()
"""


def examples(asked: argparse.Namespace) -> list[tuple[str, str]]:
    """Texts and labels."""
    if not asked.data:
        texts = synthetic(asked.texts, words_a_text=SHORT)
        drawn = np.random.default_rng(0).integers(0, 2, len(texts))
        return [(text, "ab"[label]) for text, label in zip(texts, drawn, strict=True)]
    read = data.read(asked.data, text=asked.text)
    rows = list(zip(read.texts, map(str, read.labels or []), strict=True))
    chosen = np.random.default_rng(0).permutation(len(rows))[: asked.texts]
    return [rows[i] for i in chosen]


def process(*arguments: str) -> Callable[[], float]:
    """Work that runs Python so and gives the seconds until it prints the time."""

    def run() -> float:
        began = time.time()
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False
        )
        if not done.stdout.strip():
            raise SystemExit(done.stderr)
        return float(done.stdout.split()[-1]) - began

    return run


def measure(asked: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "texts.csv", Path(folder) / "model"
        rows = examples(asked)
        with file.open("w", encoding="utf-8", newline="") as to:
            csv.writer(to).writerows([("text", "label"), *rows])
        rates = common.interleave(
            [
                Contender("carryline train", process("-c", TRAIN, str(file), str(out)), 1, 1),
                Contender("Python alone", process("-c", "import time; print(time.time())"), 1, 1),
            ],
            asked.rounds,
        )
    seconds = {name: common.spread([1 / rate for rate in found]) for name, found in rates.items()}
    return {"texts": len(rows), "characters": sum(len(t) for t, _ in rows), "seconds": seconds}


def report(result: Result) -> str:
    rows = [["seconds until", "median", "lowest", "highest"]]
    names = {"carryline train": "the first step", "Python alone": "Python's first line"}
    for name, found in result["seconds"].items():
        rows.append([names[name], *common.between(found, ".3f")])
    return (
        f"carryline train on {result['texts']:,} kept texts, {result['characters']:,} characters; "
        f"medians of {result['rounds']} processes\n\n{common.table(rows)}"
    )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = common.options(__doc__)
    parser.set_defaults(texts=5000, rounds=9)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    return common.run("start", arguments(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
