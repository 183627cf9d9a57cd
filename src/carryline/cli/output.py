"""How results are written for programs, and how far a command is for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import rich.progress


FEW = 2048  # that are done before a bar could be read


def echo_json(value: Any) -> None:
    """One JSON object on one line, in ASCII, so that every string survives every terminal."""
    click.echo(json.dumps(value))


@contextmanager
def bar(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block lasts; it gives what moves the bar on by a count.

    Nothing is drawn for few things, and elsewhere than on a terminal.
    """
    if total <= FEW or not sys.stderr.isatty():
        yield lambda count: None
        return
    with _bar() as drawn:
        task = drawn.add_task(what, total=total)
        drawn.refresh()
        yield lambda count: drawn.update(task, advance=count, refresh=True)


def _bar() -> rich.progress.Progress:
    """An empty bar."""
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
        auto_refresh=False,  # by a thread that would take the time of a kernel
    )
