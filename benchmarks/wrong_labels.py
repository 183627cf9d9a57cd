"""How many labels that were made wrong are among those that a report calls suspect?

    python benchmarks/wrong_labels.py --sets mr,trec,banking77,bbc,imdb

Of texts drawn from a set's training part, the label of a twentieth is exchanged for another one.
Then all are judged as by `carryline report MODEL --training DATA`: by linear parts, each fitted
without the texts that it judges, and with the wrong labels of the others. As many suspects as
labels were made wrong, the widest margin first, are looked at: the share of these that was made
wrong is the figure; at random it would be the twentieth. Labels that were wrong from the beginning
count against it. Linear parts are of n-grams, and of these and the vectors of English.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import common
import text_sets
from carryline import Config, bench
from carryline.errors import CarrylineError
from carryline.evaluation.suspects import suspects
from carryline.reporting.judged import judged
from carryline.reporting.measured import Measured
from carryline.text.bags import Bags
from carryline.text.examples import classes_of, targets_of
from carryline.text.vectors import Vectors
from common import Result

Targets = NDArray[np.int64]


def made_wrong(targets: Targets, share: float, rng: np.random.Generator) -> tuple[Targets, Targets]:
    """The targets with a share of them exchanged for another one, and the texts of these."""
    classes = int(targets.max()) + 1
    wrong = rng.permutation(len(targets))[: max(1, round(share * len(targets)))]
    changed = targets.copy()
    changed[wrong] = (targets[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return changed, wrong


def measured(part: text_sets.Part, bags: Bags | None, asked: argparse.Namespace) -> Result:
    """One set judged by linear parts of one kind."""
    classes = classes_of(part.labels)
    targets, wrong = made_wrong(
        targets_of(part.labels, classes), asked.share, np.random.default_rng(asked.seed)
    )
    found: list[Measured | None] = []
    taken = bench.seconds(
        lambda: found.append(judged(part.texts, targets, classes, Config(), bags, asked.threads))
    )
    of = found[-1]
    assert of is not None
    numbers = {text: number for number, text in enumerate(part.texts)}
    every = [numbers[of.texts[one.text]] for one in suspects(of.probabilities, of.targets)]
    first = every[: len(wrong)]
    return {
        "texts": len(part), "wrong": len(wrong), "suspects": len(every),
        "precision": float(np.isin(wrong, first).mean()),  # of as many suspects as wrong ones
        "found": float(np.isin(wrong, every).mean()), "seconds": taken,
    }  # fmt: skip


def report(sets: dict[str, dict[str, Result]]) -> str:
    rows = [["set", "texts", "made wrong", "by", "suspects", "of the first", "of all", "seconds"]]
    for name, ways in sets.items():
        for way, one in ways.items():
            rows.append([
                name, f"{one['texts']:,}", f"{one['wrong']}", way, f"{one['suspects']}",
                f"{one['precision']:.1%}", f"{one['found']:.1%}", f"{one['seconds']:.1f}",
            ])  # fmt: skip
    return common.table(rows)


def distinct(part: text_sets.Part, count: int, seed: int) -> text_sets.Part:
    """Texts drawn from a part, none twice."""
    first = {text: row for row, text in reversed([*enumerate(part.texts)])}
    own = part.take(sorted(first.values()))
    return own.take(text_sets.draw(own.labels, count, seed))


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=text_sets.folder(), help="$CARRYLINE_DATA or ../shared/data")
    add("--sets", default="mr,trec", help=f"some of {', '.join(text_sets.SETS)}")
    add("--texts", type=common.positive, default=2000, help="of each set")
    add("--share", type=float, default=0.05, help="of the labels that is made wrong")
    add("--threads", type=common.positive, default=2)
    add("--seed", type=int, default=0)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    sets: dict[str, Any] = {}
    result: Result = {"benchmark": "wrong_labels", "machine": common.machine(), "sets": sets}
    ways = {"n-grams": None, "n-grams and vectors": Bags(Vectors.english())}
    try:
        for name in asked.sets.split(","):
            found = text_sets.read(name, asked.data, validate=True)
            part = distinct(found.train, asked.texts, asked.seed)
            sets[name] = {way: measured(part, bags, asked) for way, bags in ways.items()}
    except CarrylineError as error:
        print(error, file=sys.stderr)
        return 2
    print(common.describe(result["machine"]), report(sets), sep="\n\n", end="\n\n")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
