"""Two pictures of what accuracy.py found, in the look of Carryline's others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from accuracy_report import means, sets_of, shown, unique
from carryline.evaluation.pictures import INK, check_packages, new_figure, quiet, save_figure
from common import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_packages", "draw"]

TIME, LABELS = "accuracy_time.png", "accuracy_labels.png"
COLORS = {
    "carryline": "#1f5fa8", "lecture": "#7fa6d6", "tfidf": "#c2410c", "nbsvm": "#b8860b",
    "fasttext": "#9aa5b1", "fasttext-tuned": "#0f8a6d",
}  # fmt: skip
POINTS = 230  # about, of an axis's height
APART = 13 / POINTS  # a line of a name, as a share of the height
BESIDE = 0.3  # a name's length, as a share of the width

Points = dict[str, tuple[float, float]]  # by peer


def draw(result: Result, folder: Path) -> None:
    """Both, into a folder. Raises `OutputError` when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    by_time(result, folder / TIME)
    by_labels(result, folder / LABELS)


def by_time(result: Result, path: Path) -> None:
    """Mean accuracy over the sets against the seconds of training, with the most labels."""
    from matplotlib.ticker import LogLocator, NullLocator

    labels = unique(result["cells"], "labels")[-1]
    sets = sets_of(result, labels)
    found = means(result, labels, sets)
    points = {peer: (mean["train_seconds"], mean["accuracy"]) for peer, mean in found.items()}
    figure = new_figure(6.6, 4.2)
    axes = figure.subplots()
    axes.set_xscale("log")
    for peer, point in points.items():
        axes.plot(*point, "o", color=COLORS[peer], markersize=8)
    frame(axes, f"Accuracy with {shown(labels)} labels", sets)
    axes.set_xlabel("seconds of training, geometric mean", color=INK)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    name(axes, result, points)
    save_figure(figure, path)


def by_labels(result: Result, path: Path) -> None:
    """Mean accuracy over the sets against the number of labels, a line a peer."""
    every = unique(result["cells"], "labels")
    sets = sets_of(result, *every)
    found = [means(result, labels, sets) for labels in every]
    figure = new_figure(6.6, 4.2)
    axes = figure.subplots()
    ends: Points = {}
    for peer in result["titles"]:
        points = [(x, mean[peer]["accuracy"]) for x, mean in enumerate(found) if peer in mean]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=COLORS[peer], markersize=5)
            ends[peer] = points[-1]
    axes.set_xlim(-0.15, len(every) - 1 + 0.15)
    axes.set_xticks(range(len(every)), [shown(labels) for labels in every])
    frame(axes, "Accuracy by the number of labels", sets)
    axes.set_xlabel("labelled texts to learn from", color=INK)
    name(axes, result, ends)
    save_figure(figure, path)


def frame(axes: Axes, title: str, sets: Sequence[str]) -> None:
    below = f"mean of {', '.join(sets)}" if len(sets) > 1 else "".join(sets)
    axes.set_title(f"{title}\n{below}", loc="left", fontsize=10, color=INK)
    axes.margins(y=0.1)
    quiet(axes)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")


def name(axes: Axes, result: Result, points: Points) -> None:
    """Each peer's name to the right of its point, none over another."""
    axes.autoscale_view()
    to_shares = axes.transData + axes.transAxes.inverted()
    peers = sorted(points, key=lambda peer: points[peer][1])
    shares = [tuple(to_shares.transform(points[peer])) for peer in peers]
    for peer, (_, y), line in zip(peers, shares, apart(shares), strict=True):
        axes.annotate(
            result["titles"][peer], points[peer], (9, (line - y) * POINTS),
            textcoords="offset points", va="center", fontsize=9, color=COLORS[peer],
            annotation_clip=False,
        )  # fmt: skip


def apart(points: Sequence[tuple[float, ...]]) -> list[float]:
    """The heights of points in order of their height, moved so far that no two names beside them
    lie over each other."""
    found = [y for _, y in points]
    for _ in range(500):
        for low, high in combinations(range(len(found)), 2):
            short = APART - (found[high] - found[low])
            if short > 0 and abs(points[high][0] - points[low][0]) < BESIDE:
                found[low] -= short / 2
                found[high] += short / 2
    return found
