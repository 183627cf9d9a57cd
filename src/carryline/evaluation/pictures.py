"""Pictures of a model: its training curves and its confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carryline.errors import InputError, OutputError, need
from carryline.evaluation.fonts import drawable
from carryline.evaluation.metrics import Pair, name, worst_pairs
from carryline.files import write_whole
from carryline.model.history import best_epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, INK, FAINT = "#9aa5b1", "#1f5fa8", "#333f4d", "#e3e7ec"
# With more classes than the first a cell has no share and the worst pairs are listed; with more
# than the second not every class is named.
_SHARED_CLASSES, _NAMED_CLASSES = 12, 150
_LONGEST_NAME = 48  # the longest of Banking77's
_LINE = 0.17  # inches of a listed pair
_MARGIN = 22  # pixels, 0.15 inches
_SMALLEST = 3.5  # points of a number that can still be read


def check_packages() -> None:
    """Raises `MissingExtraError` without matplotlib."""
    need("matplotlib", "plot", "drawing a picture")


def draw(
    folder: Path, history: Sequence[dict[str, Any]], metrics: dict[str, Any] | None, keep: str
) -> list[str]:
    """All pictures of a model; returns their names in `folder`. keep: see `plot_history`."""
    plot_history(history, folder / "history.png", keep)
    if metrics is None:
        return ["history.png"]
    plot_confusion(metrics, folder / "confusion.png")
    return ["history.png", "confusion.png"]


def plot_history(history: Sequence[dict[str, Any]], path: str | Path, keep: str = "loss") -> None:
    """Loss and accuracy over the epochs, training and validation, as a PNG.

    history: a row an epoch, as in history.jsonl; `valid_loss` and `valid_accuracy` may be None.
    The epoch whose weights are kept, the best by `keep`, is marked. Raises `InputError` without an
    epoch, `OutputError` when `path` cannot be written, `MissingExtraError` without
    matplotlib.
    """
    if not history:
        raise InputError("a history has one epoch or more to be drawn, it has none")
    figure = new_figure(9.0, 3.6)
    best = best_epoch(history, keep)
    loss, accuracy = figure.subplots(1, 2)
    for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
        axes.set_title(key.capitalize(), loc="left", fontsize=11, color=INK)
        _curve(axes, history, key, "training", GREY)
        _curve(axes, history, f"valid_{key}", "validation", BLUE)
        _epochs(axes, history)
        dots, label = (0, (2, 3)), f"kept: epoch {best}"
        axes.axvline(best, color=INK, linewidth=0.9, linestyle=dots, zorder=1, label=label)
    accuracy.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, labelcolor=INK
    )
    save_figure(figure, path)


def plot_confusion(metrics: dict[str, Any], path: str | Path) -> None:
    """The confusion matrix of `metrics.evaluate` as a PNG: true classes down, predicted across.

    A cell's colour is the share of the true class. Of few classes each cell has its texts and their
    share; of many it has its texts, and the pairs that were confused most are listed below. Raises
    `OutputError` when `path` cannot be written, `MissingExtraError` without matplotlib.
    """
    counts = np.asarray(metrics["confusion"], np.int64)
    classes = len(counts)
    names = [name(row["label"], _LONGEST_NAME) for row in metrics["per_class"]]
    pairs = worst_pairs(metrics) if classes > _SHARED_CLASSES else []
    cell = _cell(classes)
    side, margin, below = cell * classes, 1.0 + 0.08 * max(map(len, names)), _LINE * len(pairs)
    names, families = drawable(names, _LONGEST_NAME)
    figure = new_figure(side + margin, side + margin + below)
    axes, *under = figure.subplots(
        1 + bool(pairs), squeeze=False, height_ratios=[side + margin, below][: 1 + bool(pairs)]
    )[:, 0]
    _matrix(axes, counts, cell)
    _name_classes(axes, names, families, cell)
    title = f"{metrics['texts']:,} texts, {metrics['accuracy']:.1%} right"
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    for one in under:
        _list_pairs(one, pairs, names, families)
    save_figure(figure, path)


def _cell(classes: int) -> float:
    """Inches of a cell's side."""
    if classes > _NAMED_CLASSES:
        return 24 / classes
    sizes = {2: 1.25, 6: 0.8, 12: 0.56, 13: 0.4, 30: 0.3, 77: 0.2, _NAMED_CLASSES: 0.16}
    return float(np.interp(classes, list(sizes), list(sizes.values())))


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches; it saves itself by Agg and touches no pyplot state."""
    check_packages()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=144, layout="constrained", facecolor="white")


def save_figure(figure: Figure, path: str | Path) -> None:
    """As a PNG. Raises `OutputError` when `path` cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.image import imsave

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    picture = io.BytesIO()
    imsave(picture, _cropped(np.asarray(canvas.buffer_rgba())), format="png", dpi=figure.dpi)
    try:
        write_whole(Path(path), picture.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def _cropped(pixels: Any) -> Any:
    """Without the white around what is drawn, but for a margin. (`savefig` would draw twice for
    it: 3.3 instead of 2.6 s with 77 classes.)"""
    drawn = (pixels[:, :, :3] != 255).any(axis=2)
    rows, columns = (np.flatnonzero(drawn.any(axis=side)) for side in (1, 0))
    inner = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    around = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
    return np.pad(inner, around, constant_values=255)


def _curve(axes: Axes, history: Sequence[dict[str, Any]], key: str, label: str, color: str) -> None:
    points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
    if points:
        marker = "o" if len(history) <= 40 else ""
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, color=color, label=label, marker=marker, markersize=4)


def _epochs(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = history[0]["epoch"], history[-1]["epoch"]
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("epoch", color=INK)
    quiet(axes)


def quiet(axes: Axes) -> None:
    """Lines across alone, and an axis to the left and below."""
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, length=3, labelsize=9)


def _matrix(axes: Axes, counts: Any, cell: float) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    few = len(counts) <= _SHARED_CLASSES
    digits = len(f"{counts.max():,}")
    size = 10 if cell > 0.7 else 7 if few else min(7, 72 * cell / (0.65 * digits + 0.3))
    written = counts >= (0 if few else 1) if size >= _SMALLEST else np.zeros_like(counts)
    for i, j in np.argwhere(written):
        count, share = counts[i, j], shares[i, j]
        text = f"{count:,}\n{_percent(share)}" if few and count else f"{count:,}"
        color = "white" if share > 0.55 else INK if count else GREY
        cell_text = axes.text(j, i, text, ha="center", va="center", color=color, fontsize=size)
        cell_text.set_in_layout(False)  # thousands of them need not be measured
    if len(counts) <= _NAMED_CLASSES:
        axes.autoscale(False)
        inner, ends = np.arange(0.5, len(counts) - 1), (-0.5, len(counts) - 0.5)
        for lines in (axes.vlines, axes.hlines):  # a grid's would be ticks, each an object
            lines(inner, *ends, color="white" if few else FAINT, linewidth=1.5 if few else 0.5)
    if not few:
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.3, aspect=30, pad=0.01)
        bar.set_label("share of the true class", color=INK)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)


def _percent(share: float) -> str:
    """Rounded, but neither down to nothing nor up to everything."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _name_classes(axes: Axes, names: list[str], families: list[str], cell: float) -> None:
    step = -(-len(names) // _NAMED_CLASSES)
    ticks, names = range(0, len(names), step), names[::step]
    font: dict[str, Any] = {
        "fontfamily": families,
        "color": INK,
        "fontsize": 9 if cell > 0.5 else 8,
    }
    axes.set_yticks(ticks, names, **font)
    axes.set_xticks(ticks, names, **font)
    if max(map(len, names)) * 0.09 > cell:
        turn: dict[str, Any] = {"rotation": 45, "ha": "right"} if cell > 0.5 else {"rotation": 90}
        for label in axes.get_xticklabels():
            label.set(**turn, rotation_mode="anchor" if cell > 0.5 else "default")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _list_pairs(axes: Axes, pairs: list[Pair], names: list[str], families: list[str]) -> None:
    """A line a pair, below each other: texts, share of the true class, true → predicted."""
    axes.set_axis_off()
    rows = [("texts", "of the true class", "true → predicted, most frequent")]
    for pair in pairs:
        which = f"{names[pair.true]} → {names[pair.predicted]}"
        rows.append((f"{pair.texts:,}", f"{pair.share:.1%}", which))
    for line, row in enumerate(rows):
        for inches, text, side in zip(
            (0.5, 1.7, 1.9), row, ("right", "right", "left"), strict=True
        ):
            axes.annotate(
                text, (0, 1), xycoords="axes fraction", xytext=(72 * inches, -72 * _LINE * line),
                textcoords="offset points", ha=side, va="top", fontsize=8, fontfamily=families,
                color=INK if line else GREY,
            )  # fmt: skip
