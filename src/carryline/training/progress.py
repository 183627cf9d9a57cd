"""Who watches a training run: callbacks of the user's own, a bar on a terminal, plain lines."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from carryline.errors import ConfigError

if TYPE_CHECKING:
    import rich.progress

REDRAW = 0.25  # seconds; to draw takes 3 ms, a tenth of a short step


class Callback:
    """Somebody who watches a training run; a subclass has those of the methods that it needs.

        class Target(carryline.Callback):
            def epoch(self, row):
                return row["valid_accuracy"] > 0.9

        TextClassifier("base").fit(texts, labels, callbacks=[Target()])

    All are called in the thread that trains, which waits for them. An exception ends the run. With
    the setting `folds` there are several trainings, one after the other, and all are told: those
    of the turns, then the one on all texts, without validation.
    """

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        """`done` of the `total` tokens of epoch `epoch` (from 1) of `epochs` are trained on.

        loss: the mean over the texts of this epoch so far.
        """

    def epoch(self, row: Mapping[str, Any]) -> bool | None:
        """An epoch has ended, and its weights are safe; True ends this training here.

        row: its row of the history: epoch (from 1), loss, accuracy (of the training texts, as they
        were trained on), valid_loss, valid_accuracy, valid_macro_f1 (None without validation),
        learning_rate (of its last step), tokens_per_second, seconds.
        """

    def message(self, text: str) -> None:
        """Something a person should know, in one line."""


class Together(Callback):
    """Several, told in turn."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        for callback in self.callbacks:
            callback.step(epoch, epochs, done, total, loss)

    def epoch(self, row: Mapping[str, Any]) -> bool:
        wishes = [callback.epoch(row) for callback in self.callbacks]  # all are told
        return any(wishes)

    def message(self, text: str) -> None:
        for callback in self.callbacks:
            callback.message(text)


class Lines(Callback):
    """A line an epoch, on standard error."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.message(line(row))

    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bar(Callback):
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


@contextmanager
def watching(verbose: bool | None, callbacks: Sequence[Callback]) -> Iterator[Callback]:
    """The callbacks, and whoever shows the run: a bar on a terminal or in a notebook, else lines.

    verbose: None shows where somebody looks, True always, False never. The bar is gone at the end.
    Raises `ConfigError` for what is no `Callback`.
    """
    given = list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
    for callback in given:
        if not isinstance(callback, Callback):
            raise ConfigError(
                f"callbacks must be a list of carryline.Callback, there is {callback!r}"
            )
    notebook = _in_notebook()
    seen = notebook or (sys.stderr is not None and sys.stderr.isatty())
    if verbose is False or not (seen or verbose):
        yield Together(given)
    elif seen and not (notebook and importlib.util.find_spec("ipywidgets") is None):
        with _bar() as bar:
            yield Together([Bar(bar), *given])
    else:  # without ipywidgets rich would warn, and draw a bar below the other at every step
        yield Together([Lines(), *given])


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")  # Jupyter's and Colab's have one, IPython's on a terminal not


def _bar() -> rich.progress.Progress:
    """An empty bar."""
    from rich import progress
    from rich.console import Console

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


def line(row: Mapping[str, Any]) -> str:
    """A row of the history for people."""
    parts = [f"epoch {row['epoch']}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}"]
    if row["valid_loss"] is not None:
        parts.append(
            "validation loss {valid_loss:.4f}, accuracy {valid_accuracy:.4f}, "
            "macro F1 {valid_macro_f1:.4f}".format(**row)
        )
    parts.append(f"{row['seconds']:.1f} s, {row['tokens_per_second']:,.0f} tokens/s")
    return "; ".join(parts)
