"""How good are Carryline's classifiers beside others, at what cost, with how many labels?

    python benchmarks/accuracy.py --validate --sets mr,trec --labels 250   # while developing
    python benchmarks/accuracy.py --imdb aclImdb --draws 5 --pictures docs  # the last figures

The peers, all on the same texts: Carryline as `carryline train` makes it when nothing is set, and
its preset `lecture`; TF-IDF of words and word pairs before logistic regression, and NB-SVM, C by
cross-validation; fastText with word pairs, as it comes and with epochs and rate chosen. What a peer
chooses it chooses by the texts that it may learn from, within the seconds that its training takes.
One that is not installed is left out, which is said.

The sets are files in the folder --data: mr (its last 1,066 rows are the test part), trec,
banking77, bbc, tweet-irony, and imdb: 20,000 and 5,000 of imdb-train.parquet, or with --imdb
FOLDER the official train and test. --validate looks at no test part: it splits a fifth off the
training part, and is what choices are made by. Of the training part each peer gets all, or as many
texts as --labels says: --draws of them, at random, with a text of each class where there is room.
--seeds: so many models on each draw, of those peers whose model depends on a seed.

One process, one model after another, the peers of a draw in turn. Training is from raw texts to a
model in memory, with nothing kept of earlier runs; predicting is the median of three passes over
the test part; the size is that of the files that a model is saved to, or of its pickle. Carryline
and fastText run on --threads, scikit-learn's solvers on one.

Every figure goes to the end of the file --out at once, so that the same command goes on where it
was stopped. A row is used again where texts, settings, seed, threads and the peer's code (its
version, for Carryline its files) are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import accuracy_pictures
import accuracy_report
import common
import text_peers
import text_sets
from carryline import bench
from carryline.cli.options import SETTINGS
from carryline.errors import CarrylineError, DataError
from carryline.evaluation.metrics import evaluate
from carryline.text.data import Label
from carryline.text.examples import targets_of
from common import Result
from text_peers import PEERS, Carryline, Peer
from text_sets import SETS, Part, TextSet

ALL = "all"
PASSES = 3  # over the test part
# What tells a row from all others.
KEY = (
    "set", "labels", "draw", "seed", "peer", "settings", "code", "data", "validate", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One model: what it is trained on, and by whom."""

    key: dict[str, Any]  # see KEY
    peer: Peer
    train: Part
    test: Part
    classes: list[Any]

    @property
    def name(self) -> str:
        return name_of(self.key)


def name_of(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def cells(asked: argparse.Namespace, peers: dict[str, Peer]) -> Iterator[Cell]:
    """All that are asked for, in their order. Raises `DataError` for a set that is not there."""
    about = {
        name: {"settings": digest(peer.make(1, 0).settings), "code": text_peers.code(name)}
        for name, peer in peers.items()
    }
    how = {"validate": asked.validate, "threads": asked.threads}
    for name in asked.sets:
        found = text_sets.read(name, asked.data, asked.imdb, asked.validate)
        for count, draw, part in draws(found, asked):
            for seed in range(asked.seeds):
                for peer in [p for p in peers if seed == 0 or peers[p].seeded]:
                    key = {"set": name, "labels": count, "draw": draw, "seed": seed, "peer": peer}
                    key |= {"data": found.digest, **about[peer], **how}
                    yield Cell(key, peers[peer], part, found.test, found.classes)


def draws(found: TextSet, asked: argparse.Namespace) -> Iterator[tuple[str, int, Part]]:
    """How many labels, the number of the draw, and its texts. All of them are one draw, and what
    is asked for beyond is none."""
    size = len(found.train)
    for count in asked.labels:
        every = count == ALL
        if not every and int(count) >= size:
            continue
        for draw in range(1 if every else asked.draws):
            rows = text_sets.draw(found.train.labels, size if every else int(count), draw)
            yield count, draw, found.train.take(rows)


def digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def measured(cell: Cell) -> Result:
    """Train, predict, measure."""
    model = cell.peer.make(cell.key["threads"], cell.key["seed"])
    told: list[list[Label]] = []

    def predict() -> None:
        told.append(model.predict(cell.test.texts))

    seconds = bench.seconds(model.fit, cell.train.texts, cell.train.labels)
    passes = [bench.seconds(predict) for _ in range(PASSES)]
    answers, targets = (targets_of(labels, cell.classes) for labels in (told[-1], cell.test.labels))
    figures = evaluate(np.eye(len(cell.classes))[answers], targets, cell.classes)
    return {
        **cell.key,
        "accuracy": figures["accuracy"],
        "macro_f1": figures["macro_f1"],
        "train_seconds": seconds,
        "bytes": model.size(),
        "texts_per_second": len(cell.test) / median(passes),
        "train_texts": len(cell.train),
        "test_texts": len(cell.test),
        "chosen": model.chosen,
        "load": common.load(),
    }


def kept(file: Path) -> dict[str, Result]:
    """The rows of earlier runs by their cells' names; a line that was cut short is none."""
    found: dict[str, Result] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with suppress(ValueError, KeyError):
            row = json.loads(line)
            found[name_of({part: row[part] for part in KEY})] = row
    return found


def append(file: Path, row: Result) -> None:
    """To the file's end, on a line of its own even when the last one was cut short."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as to:
        if to.tell():
            to.seek(-1, os.SEEK_END)
            whole = to.read() == b"\n"
            to.write(b"" if whole else b"\n")
        to.write(json.dumps(row).encode() + b"\n")


def rows(asked: argparse.Namespace, peers: dict[str, Peer]) -> list[Result]:
    """The figures of all cells, those that an earlier run has kept taken from there."""
    wanted, done = list(cells(asked, peers)), kept(asked.out)
    missing = [cell for cell in wanted if cell.name not in done]
    tell(f"{len(wanted)} models, {len(wanted) - len(missing)} of them in {asked.out.name} already")
    for peer in {cell.peer.package.module: cell.peer for cell in missing}.values():
        warm(peer, asked.threads)
    for number, cell in enumerate(missing, 1):
        row = measured(cell)
        append(asked.out, row)
        done[cell.name] = row
        tell(
            f"{number} of {len(missing)}: {row['set']}, {row['labels']} labels, draw "
            f"{row['draw']}, seed {row['seed']}, {row['peer']}: accuracy {row['accuracy']:.4f}, "
            f"{row['train_seconds']:.1f} s"
        )
    return [done[cell.name] for cell in wanted]


def warm(peer: Peer, threads: int) -> None:
    """Load what the first training would load."""
    peer.make(threads, 0).fit(["a fine film", "a dull one"] * 10, ["pos", "neg"] * 10)


def tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def measure(asked: argparse.Namespace) -> Result:
    """All models, their figures by set, number of labels and peer, and who was left out."""
    os.environ["CARRYLINE_CACHE"] = ""  # nothing of an earlier training makes a later one faster
    left_out = {name: text_peers.missing(name) for name in asked.peers}
    peers = {name: PEERS[name] for name in asked.peers if not left_out[name]}
    absent = [name for name in asked.sets if not text_sets.there(name, asked.data, asked.imdb)]
    if len(absent) == len(asked.sets) or not peers:
        raise DataError(f"there is nothing to compare: no set in {asked.data}, or no peer")
    asked.sets = [name for name in asked.sets if name not in absent]
    if asked.set and "carryline" in peers:
        peers["carryline"] = changed(asked.set)
    found = accuracy_report.summary(rows(asked, peers))
    return {
        "validate": asked.validate,
        "titles": {name: peer.title for name, peer in peers.items()},
        "cells": found,
        "left_out": [
            *(why for why in left_out.values() if why),
            *(f"{name} is left out, it is not in the data folder" for name in absent),
        ],
    }


def changed(settings: Sequence[tuple[str, str]]) -> Peer:
    """The peer carryline with other settings."""
    title = ", ".join(["Carryline", *(f"{key} {value}" for key, value in settings)])
    given: dict[str, Any] = dict(settings)
    return PEERS["carryline"]._replace(title=title, make=partial(Carryline, **given))


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=text_sets.folder(), help="$CARRYLINE_DATA or ../shared/data")
    add("--imdb", type=Path, metavar="FOLDER", help="the official aclImdb")
    add("--validate", action="store_true", help="look at no test part")
    add("--sets", type=some_of(SETS), default=list(SETS), help=", ".join(SETS))
    add("--peers", type=some_of(tuple(PEERS)), default=list(PEERS), help=", ".join(PEERS))
    add("--labels", type=counts, default=["250", "1000", ALL], help="numbers, or all")
    add("--draws", type=common.positive, default=3, help="of each number of labels")
    add("--seeds", type=common.positive, default=1, help="models on each draw")
    add("--set", type=setting, action="append", default=[], metavar="KEY=VALUE",
        help="a setting of the peer carryline; may be given several times")  # fmt: skip
    add("--threads", type=common.positive, default=2)
    add("--out", type=Path, default=Path("runs/accuracy.jsonl"), help="rows, a model each")
    add("--pictures", type=Path, metavar="FOLDER", help="draw them there (matplotlib)")
    return parser.parse_args(given)


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Names with commas between, for argparse."""

    def parse(text: str) -> list[str]:
        found = list(dict.fromkeys(text.split(",")))
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"it must be some of {', '.join(known)}, with commas between, one is {name!r}"
                )
        return found

    return parse


def counts(text: str) -> list[str]:
    """How many labels, for argparse."""
    return [one if one == ALL else str(common.positive(one)) for one in text.split(",")]


def setting(text: str) -> tuple[str, str]:
    """A setting of Carryline, for argparse."""
    key, _, value = text.partition("=")
    if key not in SETTINGS or not value:
        raise argparse.ArgumentTypeError(f"it must be KEY=VALUE of a setting, it is {text!r}")
    return key, value


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    result: Result = {"benchmark": "accuracy", "machine": common.machine()}
    result |= {"threads": asked.threads}
    try:
        if asked.pictures:
            accuracy_pictures.check_packages()
        result |= measure(asked)
        if asked.pictures:
            accuracy_pictures.draw(result, asked.pictures)
    except CarrylineError as error:
        print(error, file=sys.stderr)
        return 2
    parts = [common.describe(result["machine"]), accuracy_report.report(result)]
    left_out = "\n".join(result["left_out"])
    print(*filter(None, [*parts, left_out]), sep="\n\n", end="\n\n")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
