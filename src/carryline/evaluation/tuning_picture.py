"""The picture of a search over settings: what mattered, how it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carryline.evaluation.pictures import BLUE, FAINT, GREY, INK, new_figure, save_figure
from carryline.evaluation.trials import (
    COMPLETE,
    GROUPS,
    NAMES,
    Outcome,
    Trial,
    importance,
    sign,
    word,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORANGE = "#d9822b"
SHOWN = 3  # settings, the figure over each


def plot_tuning(outcome: Outcome, path: str | Path) -> None:
    """What a search found, as a PNG: how much each setting mattered, the best figure over time, and
    the figures over the settings that mattered most (the first ones where nobody knows).

    Raises `OutputError` when `path` cannot be written, `MissingExtraError` without matplotlib.
    """
    shares = importance(outcome.trials)
    names = list(shares or outcome.defaults)[:SHOWN]
    figure = new_figure(11.0, 7.2)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.0, 0.9], hspace=0.03)
    upper, lower = parts
    if shares:
        mattered, course = upper.subplots(1, 2, width_ratios=[1.0, 1.15])
        _importance(mattered, shares)
    else:
        course = upper.subplots()
    _course(course, outcome)
    below = lower.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(below, names, strict=True):
        _over(axes, outcome, name)
    below[0].set_ylabel(_named(outcome), color=INK)
    handles, labels = below[0].get_legend_handles_labels()
    lower.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, labelcolor=INK
    )
    save_figure(figure, path)


def _named(outcome: Outcome) -> str:
    return f"validation {NAMES[outcome.keep]}"


def _plain(axes: Axes, title: str, grid: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, length=3, labelsize=9)


def _importance(axes: Axes, shares: Mapping[str, tuple[float, float]]) -> None:
    """A bar a setting, and up to where a bar may be luck."""
    _plain(axes, "What mattered", "x")
    for at, (share, luck) in enumerate(shares.values()):
        axes.barh(at, share, height=0.62, color=BLUE if share > luck else GREY)
        label = "luck alone stays below, 95 times of 100" if at == 0 else None
        axes.plot([luck, luck], [at - 0.38, at + 0.38], color=INK, linewidth=1.4, label=label)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.set_xlim(0, min(1.0, 1.2 * max(max(pair) for pair in shares.values())) or 1.0)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}%")
    axes.set_xlabel("of the differences between trials (variance of ranks)", color=INK)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, frameon=False,
        fontsize=9, labelcolor=INK,
    )  # fmt: skip


def _course(axes: Axes, outcome: Outcome) -> None:
    """The figure of each trial when it ended, and the best until then."""
    _plain(axes, f"{outcome.counts()}", "y")
    minutes = max(t.ended for t in outcome.trials) > 180
    unit = 60.0 if minutes else 1.0
    _points(axes, outcome, [trial.ended / unit for trial in outcome.trials])
    best: list[tuple[float, float]] = []
    for trial in outcome.trials:
        if trial.figure is None or trial.state != COMPLETE:
            continue
        better = not best or sign(outcome.keep) * (trial.figure - best[-1][1]) > 0
        best.append((trial.ended / unit, trial.figure if better else best[-1][1]))
    if best:
        best.append((outcome.trials[-1].ended / unit, best[-1][1]))
        axes.step(*zip(*best, strict=True), where="post", color=BLUE, linewidth=1.4, zorder=1)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{'minutes' if minutes else 'seconds'} of search", color=INK)
    axes.set_ylabel(_named(outcome), color=INK)


def _over(axes: Axes, outcome: Outcome, name: str) -> None:
    """Figures over a setting: a number on its axis, words and lists side by side."""
    values = [trial.settings[name] for trial in outcome.trials]
    number = all(type(value) is float for value in values) and len(set(values)) > GROUPS
    _plain(axes, name, "y")
    if number:
        _points(axes, outcome, values)
        if min(values) > 0 and max(values) / min(values) > 5:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: "")
        return
    shown = sorted({word(value): value for value in values}.items(), key=lambda pair: pair[1])
    places = {text: at for at, (text, _) in enumerate(shown)}
    spread = [0.09 * (t.number % 5 - 2) for t in outcome.trials]  # equal values beside each other
    _points(axes, outcome, [places[word(v)] + s for v, s in zip(values, spread, strict=True)])
    axes.set_xticks(range(len(places)), list(places))
    axes.set_xlim(-0.6, len(places) - 0.4)


def _points(axes: Axes, outcome: Outcome, places: Sequence[float]) -> None:
    """A point a trial: complete, or ended early; the defaults and the winner marked."""
    winner = outcome.winner.number
    complete: dict[str, Any] = {"color": BLUE, "s": 26, "zorder": 3}
    ended: dict[str, Any] = {"color": GREY, "s": 22, "marker": "x", "linewidths": 1.2, "zorder": 2}
    kinds: list[tuple[str, dict[str, Any], Callable[[Trial], bool]]] = [
        ("complete", complete, lambda t: t.state == COMPLETE),
        ("ended early", ended, lambda t: t.state != COMPLETE),
        ("the defaults", _ring(INK, 90), lambda t: t.number == 0),
        ("the winner", _ring(ORANGE, 150), lambda t: t.number == winner),
    ]
    for label, style, chosen in kinds:
        found = [
            (place, t.figure)
            for place, t in zip(places, outcome.trials, strict=True)
            if t.figure is not None and chosen(t)
        ]
        if found:
            axes.scatter(*zip(*found, strict=True), label=label, **style)


def _ring(color: str, size: float) -> dict[str, Any]:
    return {"s": size, "facecolors": "none", "edgecolors": color, "linewidths": 1.5, "zorder": 4}
