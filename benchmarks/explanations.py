"""Do the words that an explanation marks decide, and more than others? Which way marks best?

    python benchmarks/explanations.py --sets mr,trec --out docs/explanations.png
    python benchmarks/explanations.py --model imdb=MODEL --sets imdb --texts 200

Of texts that a model has not learned from, the words with the largest parts for its label are taken
away, a tenth after the other (deletion: the label's probability should fall at once), or are all
that is left (insertion: it should be there at once). The ways: `gradients` and `occlusion` as
`carryline explain` has them, the linear part's own words alone, and words at random. A curve's
figure is its mean over the first half of the words; lower is better of deletion, higher of
insertion (Petsiuk, Das & Saenko 2018).

Models are those of `--model SET=FOLDER`, or `carryline train`'s defaults, trained here on four
fifths of the training part; no test part is looked at. Seconds are of one explanation, median.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import common
import text_sets
from carryline import TextClassifier, bench, load
from carryline.errors import CarrylineError, ConfigError
from carryline.evaluation import pictures
from carryline.explaining.explanation import Explanation, Span
from common import Result

TENTHS = 10
HALF = slice(1, 6)  # the shares from a tenth to a half
COLORS = {
    "gradients": "#1f5fa8", "occlusion": "#0f8a6d", "linear part": "#c2410c", "random": "#9aa5b1",
}  # fmt: skip
Order = Callable[[Span], float]


def ordered(explanation: Explanation, part: Order) -> list[int]:
    """The numbers of the words, white space left out, the largest part first."""
    words = [i for i, s in enumerate(explanation.spans) if not explanation.of(s).isspace()]
    return sorted(words, key=lambda i: -part(explanation.spans[i]))


def curves(classifier: TextClassifier, explanation: Explanation, order: Sequence[int]) -> Any:
    """[2, shares]: the label's probability without the first words, and with nothing else."""
    spans = explanation.spans
    counts = [round(share * len(order) / TENTHS) for share in range(TENTHS + 1)]
    texts = []
    for left in (False, True):
        for count in counts:
            first = set(order[:count])
            chosen = [s for i, s in enumerate(spans) if (i in first) == left]
            texts.append("".join(map(explanation.of, chosen)))
    number = explanation.classes.index(explanation.label)
    return classifier.predict_proba(texts)[:, number].reshape(2, -1)


def explained(
    classifier: TextClassifier, text: str, rng: np.random.Generator
) -> Iterator[tuple[str, float | None, Explanation, list[int]]]:
    """Each way's seconds, explanation and order of the words."""
    found: dict[str, Explanation] = {}
    for way in ("gradients", "occlusion"):
        taken = bench.seconds(
            lambda way=way: found.update({way: classifier.explain(text, way=way)})
        )
        yield way, taken, found[way], ordered(found[way], lambda span: span.part)
    one = found["gradients"]
    yield "linear part", None, one, ordered(one, lambda span: span.linear)
    yield "random", None, one, rng.permutation(ordered(one, lambda span: 0.0)).tolist()


def chosen(of: text_sets.Part, asked: argparse.Namespace) -> list[str]:
    """Raises `ConfigError` when no text has so many words."""
    near = list(range(len(of.texts)))
    if asked.words:
        lengths = [len(text.split()) for text in of.texts]
        near = [i for i in near if abs(lengths[i] - asked.words) <= asked.words / 10]
    if not near:
        raise ConfigError(f"--words must be those of some text, none has {asked.words}")
    rows = text_sets.draw([of.labels[i] for i in near], asked.texts, asked.seed)
    return [of.texts[near[row]] for row in rows]


def measured(classifier: TextClassifier, texts: Sequence[str], seed: int) -> Result:
    """Of each way the mean curves, their figures, and the seconds."""
    rng = np.random.default_rng(seed)
    each: dict[str, list[Any]] = {way: [] for way in COLORS}
    seconds: dict[str, list[float]] = {way: [] for way in COLORS}
    for text in texts:
        for way, taken, explanation, order in explained(classifier, text, rng):
            each[way].append(curves(classifier, explanation, order))
            seconds[way] += [] if taken is None else [taken]
    result = {}
    for way, found in each.items():
        mean = np.mean(found, axis=0)
        half = np.array(found)[:, :, HALF].mean(axis=2)  # [texts, 2]
        error = half.std(axis=0) / len(found) ** 0.5
        result[way] = {
            "deletion": float(half[:, 0].mean()), "deletion_error": float(error[0]),
            "insertion": float(half[:, 1].mean()), "insertion_error": float(error[1]),
            "curves": mean.tolist(),
            "ms": 1000 * median(seconds[way]) if seconds[way] else None,
        }  # fmt: skip
    return result


def report(sets: dict[str, Result]) -> str:
    rows = [["set", "way", "deletion", "±", "insertion", "±", "ms"]]
    for name, found in sets.items():
        for way, one in found["ways"].items():
            figures = ("deletion", "deletion_error", "insertion", "insertion_error")
            ms = "" if one["ms"] is None else f"{one['ms']:.1f}"
            rows.append([name, way, *(f"{one[f]:.3f}" for f in figures), ms])
    return common.table(rows)


def draw(sets: dict[str, Result], path: Path) -> None:
    """A row a set: deletion and insertion, a line a way."""
    figure = pictures.new_figure(7.2, 2.7 * len(sets))
    axes = figure.subplots(len(sets), 2, squeeze=False, sharey="row")
    shares = [share / TENTHS for share in range(TENTHS + 1)]
    for row, (name, found) in zip(axes, sets.items(), strict=True):
        for one, (number, title) in zip(
            row, enumerate(("without", "with nothing but")), strict=True
        ):
            for way, of_way in found["ways"].items():
                one.plot(shares, of_way["curves"][number], color=COLORS[way], label=way)
            one.set_title(f"{name}: {title} the marked words", loc="left", fontsize=9,
                          color=pictures.INK)  # fmt: skip
            pictures.quiet(one)
            one.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}%")
        row[0].set_ylabel("probability of the label", color=pictures.INK, fontsize=8)
    axes[0][0].legend(frameon=False, fontsize=8)
    for one in axes[-1]:
        one.set_xlabel("share of the words", color=pictures.INK, fontsize=8)
    pictures.save_figure(figure, path)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=text_sets.folder(), help="$CARRYLINE_DATA or ../shared/data")
    add("--sets", default="mr,trec", help=f"some of {', '.join(text_sets.SETS)}")
    add("--model", action="append", default=[], metavar="SET=FOLDER",
        help="a model that was trained without the texts of --validate")  # fmt: skip
    add("--texts", type=common.positive, default=300, help="of each set")
    add(
        "--words",
        type=common.positive,
        default=0,
        help="only texts of so many, a tenth more or less",
    )
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help="draw the curves there (matplotlib)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    models = dict(one.split("=", 1) for one in asked.model)
    result: Result = {"benchmark": "explanations", "machine": common.machine(), "sets": {}}
    try:
        if asked.out:
            pictures.check_packages()
        for name in asked.sets.split(","):
            found = text_sets.read(name, asked.data, validate=True)
            if name in models:
                classifier = load(models[name])
            else:
                classifier = TextClassifier(seed=asked.seed)
                classifier.fit(found.train.texts, found.train.labels, baseline=False)
            texts = chosen(found.test, asked)
            ways = measured(classifier, texts, asked.seed)
            result["sets"][name] = {"texts": len(texts), "ways": ways}
        if asked.out:
            draw(result["sets"], asked.out)
    except CarrylineError as error:
        print(error, file=sys.stderr)
        return 2
    print(common.describe(result["machine"]), report(result["sets"]), sep="\n\n", end="\n\n")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
