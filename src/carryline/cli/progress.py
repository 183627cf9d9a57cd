"""Training seen from a terminal: a bar with the time left, or a plain line an epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from carryline.training.progress import Progress

if TYPE_CHECKING:
    import rich.progress

REDRAW = 0.25  # seconds; to draw takes 3 ms, a tenth of a short step


@contextmanager
def shown() -> Iterator[Progress]:
    """A watcher of a training run that writes to standard error, its bar gone at the end."""
    bar = _bar() if sys.stderr.isatty() else None
    if bar is None:
        yield Lines()
    else:
        with bar:
            yield Bar(bar)


def _bar() -> rich.progress.Progress | None:
    """An empty bar; None without the package that draws it."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.TaskProgressColumn(),
        progress.TextColumn("loss {task.fields[loss]:.4f}"),
        progress.TextColumn("{task.fields[speed]}"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
        auto_refresh=False,  # by a thread that would take the time of a step
    )


class Lines:
    """A line an epoch."""

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        pass

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.message(line(row))

    def message(self, text: str) -> None:
        click.echo(text, err=True)


class Bar:
    """A bar over the whole run, and above it a line an epoch."""

    def __init__(self, bar: rich.progress.Progress) -> None:
        self._bar = bar
        self._task: rich.progress.TaskID | None = None
        self._next = 0.0  # when to draw again

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + REDRAW
        so_far = (epoch - 1) * total + done
        if self._task is None:  # a resumed run begins in the middle
            self._task = self._bar.add_task(
                "", total=epochs * total, completed=so_far, loss=loss, speed=""
            )
        speed = self._bar.tasks[self._task].speed
        self._bar.update(
            self._task,
            description=f"epoch {epoch}/{epochs}",
            total=epochs * total,
            completed=so_far,
            loss=loss,
            speed="" if speed is None else f"{speed:,.0f} tokens/s",
            refresh=True,
        )

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.message(line(row))

    def message(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)


def line(row: Mapping[str, Any]) -> str:
    """A row of the history for people."""
    parts = [f"epoch {row['epoch']}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}"]
    if row["valid_loss"] is not None:
        parts.append(
            f"validation loss {row['valid_loss']:.4f}, accuracy {row['valid_accuracy']:.4f}"
        )
    parts.append(f"{row['seconds']:.1f} s, {row['tokens_per_second']:,.0f} tokens/s")
    return "; ".join(parts)
