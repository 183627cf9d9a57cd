"""The sections of a report that are figures: None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from carryline.evaluation import calibration, curves, metrics
from carryline.evaluation.curves import Curve
from carryline.reporting import charts
from carryline.reporting.charts import Axis, Line, percent, plain, round_up, share
from carryline.reporting.measured import Array, Measured
from carryline.reporting.section import Section, grid

POINTS = 80  # of a curve that is drawn
MATRIX = 12  # classes
LENGTHS = 6  # groups of texts by their length


def training(history: Sequence[dict[str, Any]]) -> Section | None:
    """Loss and accuracy by epoch."""
    rows = [row for row in history if "loss" in row]
    if not rows:
        return None
    head = ["epoch", "loss", "accuracy", "validation loss", "validation accuracy"]
    keys = ("loss", "accuracy", "valid_loss", "valid_accuracy")
    cells = [[f"{row['epoch']}", *(_cell(row.get(key)) for key in keys)] for row in rows]
    table = charts.table(head, cells)
    drawn = [_by_epoch(rows, key, table) for key in ("loss", "accuracy")]
    return Section("Training", grid("".join(drawn)))


def _by_epoch(rows: Sequence[dict[str, Any]], key: str, table: str) -> str:
    """A figure of the texts trained on, and of those held out as far as there are some."""
    every = []
    for kind, of, called in (("faint", key, "training"), ("one", f"valid_{key}", "validation")):
        known = {float(row["epoch"]): float(row[of]) for row in rows if row.get(of) is not None}
        if known:
            every.append(Line(called, [*known], [*known.values()], kind, dots=True))
    low = min(min(line.y) for line in every)
    high = max(max(line.y) for line in every)
    room = 0.05 * (high - low) or 0.1
    first, end = float(rows[0]["epoch"]), float(rows[-1]["epoch"])
    x = Axis("epoch", first, max(end, first + 1), plain)
    y = Axis(key, low - room, high + room, percent if key == "accuracy" else plain)
    title, last = key.capitalize(), every[-1]
    said = f"{title} of {last.name}: {y.shown(last.y[0])} after the first epoch, "
    said += f"{y.shown(last.y[-1])} after the last."
    return charts.lines(title, said, x, y, every, table)


def confusion(of: Measured) -> Section:
    """The matrix of few classes; the worst pairs of many; precision and recall of each."""
    figures, names = of.figures, of.names
    rows = [[name, *metrics.shares(row), f"{row['support']:,}"]
            for name, row in zip(names, figures["per_class"], strict=True)]  # fmt: skip
    each = charts.table(["class", "precision", "recall", "F1", "texts"], rows)
    shown = _matrix(figures["confusion"], names) if len(names) <= MATRIX else ""
    pairs = [
        [f"{names[pair.true]} → {names[pair.predicted]}", f"{pair.texts:,}", percent(pair.share)]
        for pair in metrics.worst_pairs(figures)
    ]
    if pairs and len(names) > 2:
        shown += "<figure>\n<h3>Taken for another, most often</h3>\n"
        shown += charts.table(["true → predicted", "texts", "of the true class"], pairs)
        shown += "</figure>"
    return Section("Classes", grid(f"{shown}<figure>\n<h3>Each class</h3>\n{each}</figure>"))


def _matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            f'<td{" class=right" if i == j else ""} style="background: rgba(var(--heat), '
            f'{0.55 * n / total:.3f})">{n:,}</td>' for j, n in enumerate(row)
        )  # fmt: skip
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    body = "\n".join(rows)
    return (
        "<figure>\n<h3>True classes down, answers across</h3>\n"
        "<p>The deeper a cell, the larger its "
        f'share of the true class.</p>\n<div class="scroll"><table><thead><tr><th></th>{head}</tr>'
        f"</thead>\n<tbody>\n{body}\n</tbody></table></div></figure>"
    )


class _Kind(NamedTuple):
    """A curve of a class against the rest: its title and axes, how it is made, the figure that sums
    it up and how that is called, and lines to compare it with."""

    title: str
    x: str
    y: str
    made: Callable[[Array, Array], Curve]
    called: str
    figure: Callable[[Curve], float]
    beside: tuple[Line, ...] = ()


_KINDS = (
    _Kind(
        "ROC", "other texts taken for the class", "its own texts found", curves.roc,
        "area", curves.area, (Line("by chance", [0, 1], [0, 1], "faint"),),
    ),
    _Kind(
        "Precision and recall", "recall", "precision", curves.precision_recall,
        "average precision", curves.average_precision,
    ),
)  # fmt: skip


def discrimination(of: Measured) -> Section | None:
    """ROC and precision against recall, of class 1 of two, or of the largest classes each against
    the rest."""
    counts = np.bincount(of.targets, minlength=len(of.classes))
    fit = [k for k in range(len(of.classes)) if 0 < counts[k] < len(of.texts)]
    chosen = [1] if len(of.classes) == 2 and 1 in fit else sorted(fit, key=lambda k: -counts[k])[:2]
    if not chosen:
        return None
    drawn = [_against_the_rest(of, chosen, kind) for kind in _KINDS]
    return Section("How well classes are told apart", grid("".join(drawn)))


def _against_the_rest(of: Measured, chosen: Sequence[int], kind: _Kind) -> str:
    """A curve of each chosen class, two at most."""
    every: list[Line] = []
    rows, said = [], []
    for k, color in zip(chosen, ("one", "two"), strict=False):
        name, curve = of.names[k], kind.made(of.probabilities[:, k], of.targets == k)
        every.append(_line(curve, name, color))
        said.append(f"{name}: {kind.called} {kind.figure(curve):.4f}")
        rows += [[name, _at(a), percent(x), percent(y)]
                 for x, y, a in zip(*curves.thinned(curve, 11), strict=True)]  # fmt: skip
    table = charts.table(["class", "from a chance of", kind.x, kind.y], rows)
    return charts.lines(
        kind.title, f"{'; '.join(said)}.", share(kind.x), share(kind.y), [*every, *kind.beside],
        table,
    )  # fmt: skip


def reliability(of: Measured) -> Section:
    """Whether the probabilities mean what they say."""
    bins = calibration.reliability(of.probabilities, of.targets)
    error = calibration.expected_error(bins)
    score = calibration.brier(of.probabilities, of.targets)
    known = [one for one in bins if one.confidence is not None and one.accuracy is not None]
    over = sum(one.texts * ((one.confidence or 0) - (one.accuracy or 0)) for one in known)
    lean = "surer than right" if over > 0 else "less sure than right"
    said = (
        f"Answers are {percent(error)} off in the mean (expected calibration error), on the whole "
    )
    said += f"{lean}; Brier score {score:.4f}."
    rows = [
        [f"{percent(one.low)} to {percent(one.high)}", f"{one.texts:,}", _share(one.confidence),
         _share(one.accuracy)] for one in bins
    ]  # fmt: skip
    table = charts.table(["sure", "texts", "in the mean", "right"], rows)
    every = [Line("as it should be", [0, 1], [0, 1], "faint"),
             Line("answers", [one.confidence or 0 for one in known],
                  [one.accuracy or 0 for one in known], "one")]  # fmt: skip
    drawn = charts.bars(
        "Reliability", said, share("how sure the answer is"), share("right"),
        [one.accuracy for one in bins], every, table,
    )  # fmt: skip
    return Section("Can its probabilities be believed?", grid(drawn + _covered(of)))


def _covered(of: Measured) -> str:
    """Risk against coverage, and what a threshold of the answer's probability buys."""
    curve = curves.coverage(of.probabilities, of.targets)
    most = float(curve.y.max())
    rows = []
    for least in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99):
        answered = of.sure >= least
        right = of.right[answered].mean() if answered.any() else None
        rows.append([percent(least), percent(float(answered.mean())), _share(right)])
    sure = [row for row in rows if row[2] != "–"]
    said = "What is wrong when only the surest answers are given"
    if sure:
        from_on, covered, mostly = sure[-1]
        said += f": of the {covered} of the texts that are {from_on} sure {mostly} are right"
    table = charts.table(["answered from", "of the texts", "right"], rows)
    line = _line(curve, "mistakes", "one")
    return charts.lines(
        "Risk and coverage", f"{said}.", share("share of the texts answered"),
        Axis("share of wrong answers", 0.0, round_up(max(most, 0.01)), percent), [line], table,
    )  # fmt: skip


def thresholds(of: Measured) -> Section | None:
    """Precision, recall and F1 of class 1 of two by the probability from which it is answered."""
    true = of.targets == 1
    if len(of.classes) != 2 or not true.any() or true.all():
        return None
    steps = np.linspace(0.02, 0.98, 49).tolist()
    found = [_answered_from(at, of.probabilities[:, 1], true) for at in steps]
    best = max(range(len(steps)), key=lambda i: found[i].f1)
    name = of.names[1]
    said = f"F1 of {name} is highest, {found[best].f1:.4f}, "
    said += f"from a probability of {steps[best]:.2f} on."
    known = {at: p for at, (p, _, _) in zip(steps, found, strict=True) if p is not None}
    every = [Line("precision", [*known], [*known.values()], "one"),
             Line("recall", steps, [one.recall for one in found], "two"),
             Line("F1", steps, [one.f1 for one in found], "faint")]  # fmt: skip
    rows = [[f"{at:.2f}", _share(one.precision), percent(one.recall), _cell(one.f1)]
            for at, one in zip(steps, found, strict=True)]  # fmt: skip
    table = charts.table(["from", "precision", "recall", "F1"], rows[::4])
    return Section(f"When to answer {name}", grid(charts.lines(
        "Threshold", said, share(f"{name} from a probability of"), share(""), every, table
    )))  # fmt: skip


class _Answers(NamedTuple):
    """precision: None where no text is answered."""

    precision: float | None
    recall: float
    f1: float


def _answered_from(at: float, chances: Array, true: Array) -> _Answers:
    """Of a class whose texts are `true`, some of them."""
    taken = chances >= at
    right, answers, own = int((taken & true).sum()), int(taken.sum()), int(true.sum())
    precision = right / answers if answers else None
    return _Answers(precision, right / own, 2 * right / (answers + own))


def by_length(of: Measured) -> Section:
    """Accuracy of short and long texts, in groups of about as many."""
    words = np.array([len(text.split()) for text in of.texts])
    edges = np.unique(np.quantile(words, np.linspace(0, 1, LENGTHS + 1)[1:], method="inverted_cdf"))
    group = np.searchsorted(edges, words)
    rows, heights, low = [], [], int(words.min())
    for number, edge in enumerate(edges.tolist()):
        own = group == number
        accuracy = float(of.right[own].mean())
        heights.append(accuracy)
        rows.append([f"{low:,} to {edge:,}" if low < edge else f"{edge:,}", f"{own.sum():,}",
                     percent(accuracy)])  # fmt: skip
        low = edge + 1
    worst = min(range(len(rows)), key=heights.__getitem__)
    said = f"Texts of {rows[worst][0]} words are right least often, {rows[worst][2]}."
    table = charts.table(["words", "texts", "right"], rows)
    x = Axis("from the shortest to the longest texts", 0.0, float(len(rows)), lambda _: "")
    return Section("Short and long texts", grid(charts.bars(
        "Accuracy by length", said, x, share("right"), heights, [], table)))  # fmt: skip


def _line(curve: Curve, name: str, kind: str) -> Line:
    thin = curves.thinned(curve, POINTS)
    return Line(name, thin.x.tolist(), thin.y.tolist(), kind)


def _at(chance: float) -> str:
    return "none" if np.isinf(chance) else f"{chance:.3f}"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(float(value))
