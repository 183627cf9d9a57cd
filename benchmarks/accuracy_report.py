"""The rows of accuracy.py as figures by set, number of labels and peer, and as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean, stdev
from typing import Any

from common import Result

SHARES = ("accuracy", "macro_f1")
FIGURES = (*SHARES, "train_seconds", "bytes", "texts_per_second")


def summary(rows: Sequence[Result]) -> list[Result]:
    """A result for each set, number of labels and peer: of each figure the mean and the standard
    deviation over draws and seeds, which is None where there is one model."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["labels"], row["peer"]), []).append(row)
    return [
        {
            "set": name,
            "labels": labels,
            "peer": peer,
            "models": len(group),
            "train_texts": group[0]["train_texts"],
            "test_texts": group[0]["test_texts"],
            **{figure: spread([row[figure] for row in group]) for figure in FIGURES},
        }
        for (name, labels, peer), group in groups.items()
    ]


def spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}


def unique(cells: Sequence[Result], key: str) -> list[Any]:
    """The values there are, in their order."""
    return list(dict.fromkeys(cell[key] for cell in cells))


def sets_of(result: Result, *labels: str) -> list[str]:
    """The sets that have so many labels, each of these numbers."""
    cells = {(cell["set"], cell["labels"]) for cell in result["cells"]}
    every = unique(result["cells"], "set")
    return [name for name in every if all((name, count) in cells for count in labels)]


def means(result: Result, labels: str, sets: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of each peer the mean accuracy and F1 over these sets, and the geometric mean of its other
    figures, so that the largest set is not all there is. A peer without a figure for one of the
    sets is left out."""
    cells = [c for c in result["cells"] if c["labels"] == labels and c["set"] in sets]
    found = {}
    for peer in unique(cells, "peer"):
        own = [cell for cell in cells if cell["peer"] == peer]
        if len(own) == len(sets):
            values = {figure: [cell[figure]["mean"] for cell in own] for figure in FIGURES}
            found[peer] = {
                figure: (fmean if figure in SHARES else geometric_mean)(values[figure])
                for figure in FIGURES
            }
    return found


def report(result: Result) -> str:
    """For each number of labels the accuracy by peer and set; then every figure."""
    part = "a fifth split off the training part" if result["validate"] else "the test part"
    parts = [f"Figures on {part}, mean ± standard deviation over draws and seeds"]
    for labels in unique(result["cells"], "labels"):
        parts += [f"Accuracy in %, {shown(labels)} labels", short(result, labels)]
    return "\n\n".join([*parts, "All figures", full(result)])


def shown(labels: str) -> str:
    return f"{int(labels):,}" if labels.isdecimal() else labels


def short(result: Result, labels: str) -> str:
    """A row a peer, a column a set, then what it costs."""
    cells = {(c["peer"], c["set"]): c for c in result["cells"] if c["labels"] == labels}
    sets = sets_of(result, labels)
    rows = [["", *sets, "mean", "training, s", "MB", "texts/s"]]
    overall = means(result, labels, sets)
    for peer in dict.fromkeys(peer for peer, _ in cells):
        row = [result["titles"][peer]]
        for name in sets:
            cell = cells.get((peer, name))
            row.append(figure(cell["accuracy"], percent) if cell else "")
        mean = overall.get(peer)
        rows.append([*row, *(costs(mean) if mean else [""] * 4)])
    return markdown(rows)


def costs(mean: dict[str, float]) -> list[str]:
    return [
        percent(mean["accuracy"]),
        seconds(mean["train_seconds"]),
        megabytes(mean["bytes"]),
        whole(mean["texts_per_second"]),
    ]


def full(result: Result) -> str:
    """A row a set, number of labels and peer."""
    rows = [[
        "set", "labels", "peer", "models", "accuracy, %", "macro F1, %", "training, s", "MB",
        "texts/s",
    ]]  # fmt: skip
    styles = (percent, percent, seconds, megabytes, whole)
    for cell in result["cells"]:
        labels = f"{cell['train_texts']:,}"
        named = [cell["set"], labels, result["titles"][cell["peer"]], str(cell["models"])]
        figures = [figure(cell[f], style) for f, style in zip(FIGURES, styles, strict=True)]
        rows.append([*named, *figures])
    return markdown(rows)


def figure(found: dict[str, Any], style: Callable[[float], str]) -> str:
    """Mean ± standard deviation."""
    deviation = "" if found["sd"] is None else f" ± {style(found['sd'])}"
    return style(found["mean"]) + deviation


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.2f}" if value < 1e7 else f"{value / 1e6:,.0f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, the first row its head; columns are filled up so that it reads as text, too. Those
    without a figure stand to the left."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [any(cell[:1].isdecimal() for cell in column[1:]) for column in columns]
    line = ["-" * (width - one) + ":" * one for width, one in zip(widths, right, strict=True)]
    lines = []
    for row in (rows[0], line, *rows[1:]):
        cells = zip(row, widths, right, strict=True)
        filled = (cell.rjust(width) if one else cell.ljust(width) for cell, width, one in cells)
        lines.append(f"| {' | '.join(filled)} |")
    return "\n".join(lines)
