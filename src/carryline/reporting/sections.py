"""The parts of a report that are figures: each gives a section's HTML, empty where there is nothing
to show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from carryline.evaluation import calibration, curves, metrics
from carryline.evaluation.curves import Curve
from carryline.reporting import charts
from carryline.reporting.charts import Axis, Line, percent, plain, round_up, share
from carryline.reporting.measured import Measured

POINTS = 80  # of a curve that is drawn
MATRIX = 12  # classes
LENGTHS = 6  # groups of texts by their length


def training(history: Sequence[dict[str, Any]]) -> str:
    """Loss and accuracy by epoch."""
    rows = [row for row in history if "loss" in row]
    if not rows:
        return ""
    epochs = [float(row["epoch"]) for row in rows]
    head = ["epoch", "loss", "accuracy", "validation loss", "validation accuracy"]
    cells = [
        [f"{row['epoch']}", *(_cell(row.get(key)) for key in
         ("loss", "accuracy", "valid_loss", "valid_accuracy"))] for row in rows
    ]  # fmt: skip
    table = charts.table(head, cells)
    x = Axis("epoch", epochs[0], max(epochs[-1], epochs[0] + 1), plain)
    drawn = []
    for key, title in (("loss", "Loss"), ("accuracy", "Accuracy")):
        every = []
        for kind, of, called in (("faint", key, "training"), ("one", f"valid_{key}", "validation")):
            known = {e: float(row[of]) for e, row in zip(epochs, rows, strict=True)
                     if row.get(of) is not None}  # fmt: skip
            if known:
                every.append(Line(called, [*known], [*known.values()], kind, dots=True))
        low = min(min(line.y) for line in every)
        high = max(max(line.y) for line in every)
        room = 0.05 * (high - low) or 0.1
        y = Axis(key, low - room, high + room, percent if key == "accuracy" else plain)
        last = every[-1]
        said = f"{title} of {last.name}: {y.shown(last.y[0])} after the first epoch, "
        said += f"{y.shown(last.y[-1])} after the last."
        drawn.append(charts.lines(title, said, x, y, every, table))
    return section("Training", "".join(drawn))


def confusion(of: Measured) -> str:
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
    return section("Classes", f"{shown}<figure>\n<h3>Each class</h3>\n{each}</figure>")


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


def discrimination(of: Measured) -> str:
    """ROC and precision against recall, of class 1 of two, or of the largest classes each against
    the rest."""
    counts = np.bincount(of.targets, minlength=len(of.classes))
    fit = [k for k in range(len(of.classes)) if 0 < counts[k] < len(of.texts)]
    chosen = [1] if len(of.classes) == 2 and 1 in fit else sorted(fit, key=lambda k: -counts[k])[:2]
    if not chosen:
        return ""
    drawn = []
    for title, x, y, made in (
        ("ROC", "other texts taken for the class", "its own texts found", curves.roc),
        ("Precision and recall", "recall", "precision", curves.precision_recall),
    ):
        every, rows, areas = [], [], []
        for number, k in enumerate(chosen):
            curve = made(of.probabilities[:, k], of.targets == k)
            areas.append(curves.area(curve) if title == "ROC" else curves.average_precision(curve))
            every.append(_line(curve, of.names[k], ("one", "two")[number]))
            rows += [[of.names[k], _at(a), percent(b), percent(c)]
                     for b, c, a in zip(*curves.thinned(curve, 11), strict=True)]  # fmt: skip
        what = "area" if title == "ROC" else "average precision"
        said = "; ".join(
            f"{line.name}: {what} {a:.4f}" for line, a in zip(every, areas, strict=True)
        )
        if title == "ROC":
            every.append(Line("by chance", [0, 1], [0, 1], "faint"))
        table = charts.table(["class", "from a chance of", x, y], rows)
        drawn.append(charts.lines(title, f"{said}.", share(x), share(y), every, table))
    return section("How well classes are told apart", "".join(drawn))


def reliability(of: Measured) -> str:
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
    return section("Can its probabilities be believed?", drawn + _covered(of))


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


def thresholds(of: Measured) -> str:
    """Precision, recall and F1 of class 1 of two by the probability from which it is answered."""
    true = of.targets == 1
    if len(of.classes) != 2 or not true.any() or true.all():
        return ""
    chances, steps = of.probabilities[:, 1], np.linspace(0.02, 0.98, 49).tolist()
    rows, found = [], []
    for at in steps:
        taken = chances >= at
        right = int((taken & true).sum())
        precision = right / int(taken.sum()) if taken.any() else None
        recall = right / int(true.sum())
        f1 = 2 * right / int(taken.sum() + true.sum())
        found.append((precision, recall, f1))
        rows.append([f"{at:.2f}", _share(precision), percent(recall), _cell(f1)])
    best = max(range(len(steps)), key=lambda i: found[i][2])
    name = of.names[1]
    said = f"F1 of {name} is highest, {found[best][2]:.4f}, "
    said += f"from a probability of {steps[best]:.2f} on."
    known = {at: p for at, (p, _, _) in zip(steps, found, strict=True) if p is not None}
    every = [Line("precision", [*known], [*known.values()], "one"),
             Line("recall", steps, [r for _, r, _ in found], "two"),
             Line("F1", steps, [f for _, _, f in found], "faint")]  # fmt: skip
    table = charts.table(["from", "precision", "recall", "F1"], rows[::4])
    drawn = charts.lines(
        "Threshold", said, share(f"{name} from a probability of"), share(""), every, table
    )
    return section(f"When to answer {name}", drawn)


def by_length(of: Measured) -> str:
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
    return section("Short and long texts", charts.bars(
        "Accuracy by length", said, x, share("right"), heights, [], table))  # fmt: skip


def section(title: str, inner: str) -> str:
    """With the title as its anchor."""
    head = f'<section id="{anchor(title)}">\n<h2>{escape(title)}</h2>\n'
    return f'{head}<div class="charts">{inner}</div>\n</section>'


def anchor(title: str) -> str:
    """A section's name in links."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower()).strip("-")


def _line(curve: Curve, name: str, kind: str) -> Line:
    thin = curves.thinned(curve, POINTS)
    return Line(name, thin.x.tolist(), thin.y.tolist(), kind)


def _at(chance: float) -> str:
    return "none" if np.isinf(chance) else f"{chance:.3f}"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(float(value))
