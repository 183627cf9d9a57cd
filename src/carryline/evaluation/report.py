"""What is written for people beside a model: its pictures and its card."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carryline.errors import InputError, MissingExtraError, OutputError
from carryline.evaluation.fonts import drawable
from carryline.evaluation.metrics import name
from carryline.files import write_whole
from carryline.model.config import Config
from carryline.model.history import best_epoch
from carryline.text.data import Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAINING, _VALIDATION, _INK, _FAINT = "#9aa5b1", "#1f5fa8", "#333f4d", "#e3e7ec"
# With more classes than this no cell is written out, and the cells shrink.
_WRITTEN_CLASSES = 60


def plot_history(history: Sequence[dict[str, Any]], path: str | Path, keep: str = "loss") -> None:
    """Loss and accuracy over the epochs, training and validation, as a PNG.

    history: a row an epoch, as in history.jsonl; `valid_loss` and `valid_accuracy` may be None.
    The epoch whose weights are kept, the best by `keep`, is marked. Raises `InputError`
    without an epoch, `OutputError` when `path` cannot be written, `MissingExtraError` without
    matplotlib.
    """
    if not history:
        raise InputError("a history has one epoch or more to be drawn, it has none")
    figure = _figure(9.0, 3.6)
    best = best_epoch(history, keep)
    loss, accuracy = figure.subplots(1, 2)
    for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
        axes.set_title(key.capitalize(), loc="left", fontsize=11, color=_INK)
        _curve(axes, history, key, "training", _TRAINING)
        _curve(axes, history, f"valid_{key}", "validation", _VALIDATION)
        _epochs(axes, history)
        dots, label = (0, (2, 3)), f"kept: epoch {best}"
        axes.axvline(best, color=_INK, linewidth=0.9, linestyle=dots, zorder=1, label=label)
    accuracy.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, labelcolor=_INK
    )
    _save(figure, path)


def plot_confusion(metrics: dict[str, Any], path: str | Path) -> None:
    """The confusion matrix of `metrics.evaluate` as a PNG: true classes down, predicted across.

    Each cell has its texts and their share of the true class, which is also its colour. Raises
    `OutputError` when `path` cannot be written, `MissingExtraError` without matplotlib.
    """
    counts = np.asarray(metrics["confusion"], np.int64)
    classes = len(counts)
    names = [name(row["label"]) for row in metrics["per_class"]]
    cell = float(np.interp(classes, [2, 6, 12, 60, 61], [1.25, 0.8, 0.56, 0.5, 14 / classes]))
    side, margin = cell * classes, 1.0 + 0.09 * max(map(len, names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(side + margin, side + margin)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _WRITTEN_CLASSES:
        _write_cells(axes, counts, shares, 10 if cell > 0.7 else 7)
    else:
        figure.colorbar(image, label="share of the true class", shrink=0.4, aspect=30)
    _name_classes(axes, names, cell)
    axes.set_xlabel("predicted", color=_INK)
    axes.set_ylabel("true", color=_INK)
    title = f"{metrics['texts']:,} texts, {metrics['accuracy']:.1%} right"
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    _save(figure, path)


def model_card(
    config: Config,
    classes: Sequence[Label],
    parameters: int,
    history: Sequence[dict[str, Any]],
    metrics: dict[str, Any] | None,
    evaluated_on: str,
) -> str:
    """The README.md of a model directory, in Markdown.

    metrics: of `metrics.evaluate` on the texts that `evaluated_on` names, None without any.
    """
    names = ", ".join(_markdown(label) for label in classes[:20])
    names += f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    layers = f"{len(config.hidden)} layer{'s' if len(config.hidden) > 1 else ''}"
    direction = "both directions" if config.bidirectional else "one direction"
    values = {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.to_dict().items()}
    settings = [[f"`{key}`", _markdown(value)] for key, value in values.items()]
    parts = [
        "# A text classifier made with Carryline",
        f"It reads a text and gives the probability of each of {len(classes)} classes: {names}.",
        f"Inside is a recurrent network: {layers} of {_markdown(config.cell)} cells read the "
        f"subwords of a text in {direction}. It has {parameters:,} parameters.",
        "## How good it is",
        *_figures(metrics, evaluated_on),
        "## How to use it",
        _USE,
        "## How it was made",
        _rows(["setting", "value"], settings),
        *_training(history, config.keep),
        "## Limits",
        "\n".join(f"- {limit}" for limit in [*_LIMITS, *([] if config.mask else [_READS_PADS])]),
    ]
    return "\n\n".join(parts) + "\n"


_USE = """MODEL stands for the folder of this file.

```python
import carryline

classifier = carryline.load("MODEL")
classifier.predict(["a text of yours"])
```

```sh
carryline predict MODEL "a text of yours"
carryline evaluate MODEL labelled.csv
```"""

_LIMITS = [
    "It knows texts like those it was trained on. On another language, subject or style it will "
    "be worse than the figures here, and will not say so.",
    "It always answers with one of its classes, also for a text that belongs to none of them and "
    "for an empty one.",
    "A probability is the network's own opinion, often too sure: nine in ten of the answers given "
    "with 0.9 need not be right.",
    "It learned the mistakes and the slants of the people and rules that labelled its texts.",
    "The epoch that is kept is the one with the lowest validation loss, so figures on the "
    "validation texts are a little kinder than those on texts never seen.",
]
_READS_PADS = (
    "It was trained with mask = false: it reads padding as if it were words, so a text's answer "
    "depends on the texts it is batched with. This shows a flaw; do not rely on its answers."
)


def _figures(metrics: dict[str, Any] | None, evaluated_on: str) -> list[str]:
    if metrics is None:
        return ["It was not tried on texts held back from training, so nobody knows."]
    each = metrics["per_class"]
    common = max(each, key=lambda row: row["support"])
    auc = "–" if metrics["roc_auc"] is None else f"{metrics['roc_auc']:.4f}"
    return [
        f"Measured on {_markdown(evaluated_on)}, {metrics['texts']:,} texts. Always answering "
        f"{_markdown(common['label'])}, the most frequent class there, would be right for "
        f"{common['support'] / metrics['texts']:.2%}.",
        _rows(
            ["accuracy", "loss", "macro F1", "ROC-AUC"],
            [
                [
                    f"{metrics['accuracy']:.2%}",
                    *(f"{metrics[k]:.4f}" for k in ("loss", "macro_f1")),
                    auc,
                ]
            ],
        ),
        _rows(
            ["class", "precision", "recall", "F1", "texts"],
            [
                [
                    _markdown(row["label"]),
                    *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                    f"{row['support']:,}",
                ]
                for row in each
            ],
        ),
        "![Confusion matrix](plots/confusion.png)",
    ]


def _training(history: Sequence[dict[str, Any]], keep: str) -> list[str]:
    if not history:
        return []
    best = best_epoch(history, keep)
    head = ["epoch", "loss", "accuracy", "validation loss", "validation accuracy"]
    head += ["learning rate", "tokens a second", "seconds"]
    keys = {"loss": ".4f", "accuracy": ".2%", "valid_loss": ".4f", "valid_accuracy": ".2%"}
    keys |= {"learning_rate": ".2g", "tokens_per_second": ",.0f", "seconds": ",.1f"}
    rows = [
        [f"{row['epoch']}{' (kept)' if row['epoch'] == best else ''}"]
        + ["–" if row.get(key) is None else format(row[key], form) for key, form in keys.items()]
        for row in history
    ]
    return ["![Loss and accuracy by epoch](plots/history.png)", _rows(head, rows)]


def _rows(head: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown: the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown(label: Label) -> str:
    """A name that means nothing to Markdown (nor to HTML, formulas, mentions, addresses)."""
    return re.sub(r"([\\`*_{}\[\]<>|~$&@:#!^])", r"\\\1", name(label, 80))


def _figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches; it saves itself by Agg and touches no pyplot state."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "train", "drawing a picture") from None
    return Figure(figsize=(width, height), dpi=144, layout="constrained", facecolor="white")


def _save(figure: Figure, path: str | Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.15)
    try:
        write_whole(Path(path), picture.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


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
    axes.set_xlabel("epoch", color=_INK)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_TRAINING)
    axes.tick_params(colors=_INK, length=3, labelsize=9)


def _write_cells(axes: Axes, counts: Any, shares: Any, size: float) -> None:
    for (i, j), count in np.ndenumerate(counts):
        text = f"{count:,}\n{_percent(shares[i, j])}" if count else "0"
        color = "white" if shares[i, j] > 0.55 else _INK if count else _TRAINING
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize=size)
    inner = np.arange(0.5, len(counts) - 1)
    axes.set_xticks(inner, minor=True)
    axes.set_yticks(inner, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)


def _percent(share: float) -> str:
    """Rounded, but neither down to nothing nor up to everything."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _name_classes(axes: Axes, names: list[str], cell: float) -> None:
    names, family = drawable(names)
    step = -(-len(names) // _WRITTEN_CLASSES)
    ticks, names = range(0, len(names), step), names[::step]
    turned = max(map(len, names)) * 0.09 > cell
    size = 9 if cell > 0.52 else 8
    axes.set_yticks(ticks, names, fontfamily=family, fontsize=size, color=_INK)
    axes.set_xticks(ticks, names, fontfamily=family, fontsize=size, color=_INK)
    if turned:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
