"""Charts as SVG within a page: its colours are the page's, so that they are read in the dark, too.

Each is a figure with a sentence that says what it shows, and a table of the same numbers to unfold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 12, 40  # room around the axes
Format = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """A line of a chart. kind: the class of its colour, `one`, `two` or `faint`; dots: whether each
    point has a mark."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "one"
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """From the lowest value to the highest, and how values are written."""

    name: str
    low: float
    high: float
    shown: Format

    def ticks(self) -> list[float]:
        """Five values that are written beside it."""
        return [self.low + i * (self.high - self.low) / 4 for i in range(5)]


def percent(value: float) -> str:
    """In three digits: `91.8%`."""
    return f"{100 * value:.3g}%"


def plain(value: float) -> str:
    """In three digits: `0.203`."""
    return f"{value:.3g}"


def round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 and 10 times a power of ten, whose quarters are short."""
    size = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(size * n for n in (1, 2, 4, 6, 8, 10) if size * n >= value * (1 - 1e-9))


def share(name: str) -> Axis:
    """From nothing to all."""
    return Axis(name, 0.0, 1.0, percent)


def lines(title: str, said: str, x: Axis, y: Axis, every: Sequence[Line], table: str) -> str:
    """A chart of lines."""
    drawn = [_frame(x, y)]
    for line in every:
        points = [(_across(x, a), _down(y, b)) for a, b in zip(line.x, line.y, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        drawn.append(f'<polyline class="line {line.kind}" points="{path}"/>')
        if line.dots:
            drawn += [f'<circle class="dot {line.kind}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>'
                      for a, b in points]  # fmt: skip
    return figure(title, said, _svg(drawn, said), legend(every), table)


def bars(
    title: str, said: str, x: Axis, y: Axis, heights: Sequence[float | None],
    every: Sequence[Line], table: str,
) -> str:  # fmt: skip
    """A chart of columns side by side from x's low to its high, and lines over them."""
    drawn, step = [_frame(x, y)], (x.high - x.low) / max(1, len(heights))
    for i, height in enumerate(heights):
        if height is not None:
            left, right = _across(x, x.low + i * step) + 1, _across(x, x.low + (i + 1) * step) - 1
            top = _down(y, height)
            drawn.append(
                f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                f'height="{HEIGHT - BOTTOM - top:.1f}"/>'
            )
    for line in every:
        points = [
            f"{_across(x, a):.1f},{_down(y, b):.1f}" for a, b in zip(line.x, line.y, strict=True)
        ]
        drawn.append(f'<polyline class="line {line.kind}" points="{" ".join(points)}"/>')
    return figure(title, said, _svg(drawn, said), legend(every), table)


def figure(title: str, said: str, drawn: str, below: str, table: str) -> str:
    """A chart with its title, what it says, and its numbers."""
    return (
        f"<figure>\n<h3>{escape(title)}</h3>\n<p>{escape(said)}</p>\n{drawn}\n{below}"
        f"<details><summary>As a table</summary>\n{table}\n</details>\n</figure>"
    )


def legend(every: Sequence[Line]) -> str:
    """What the colours stand for, where there are several."""
    if len(every) < 2:
        return ""
    keys = "".join(f'<li class="{line.kind}">{escape(line.name)}</li>' for line in every)
    return f'<ul class="legend">{keys}</ul>\n'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others, which are numbers, to the right."""
    cells = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "\n".join(
        "<tr>" + f'<th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(one)}</td>" for one in row[1:]) + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody>'
        "</table></div>"
    )


def _svg(drawn: Sequence[str], said: str) -> str:
    inner = "\n".join(drawn)
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}"'
    return f"<svg {box}>\n{inner}\n</svg>"


def _frame(x: Axis, y: Axis) -> str:
    """Grid, numbers and names of both axes."""
    drawn = []
    for value in x.ticks():
        at = _across(x, value)
        label = f'<text class="x" x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}">'
        drawn.append(f"{label}{x.shown(value)}</text>")
    for value in y.ticks():
        at = _down(y, value)
        drawn.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        drawn.append(f'<text class="y" x="{LEFT - 6}" y="{at + 4:.1f}">{y.shown(value)}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    drawn.append(f'<text class="x name" x="{middle}" y="{HEIGHT - 6}">{escape(x.name)}</text>')
    high = TOP + (HEIGHT - TOP - BOTTOM) / 2
    drawn.append(
        f'<text class="x name" transform="translate(12 {high}) rotate(-90)">{escape(y.name)}</text>'
    )
    return "\n".join(drawn)


def _across(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * _part(axis, value)


def _down(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _part(axis, value)


def _part(axis: Axis, value: float) -> float:
    """Between 0 and 1: what is outside the axis lies on its edge."""
    part = (value - axis.low) / (axis.high - axis.low) if axis.high > axis.low else 0.0
    return min(1.0, max(0.0, part))
