"""The command line: one file a command.

Results go to standard output, progress and messages to standard error. Exit status: 0 done, 2 bad
usage or bad input, 1 failure, 130 stopped from the keyboard.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

import click

from carryline.cli import (
    bench,
    evaluate,
    explain,
    inspect,
    plot,
    predict,
    report,
    serve,
    summary,
    tokenize,
    train,
    tune,
    vectors,
)
from carryline.errors import CarrylineError, InputError

DEBUG = "CARRYLINE_DEBUG"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Commands(click.Group):
    """The commands in the order of use; whatever goes wrong in one ends in a line and a status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _failures():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _failures():
            return super().invoke(ctx)


@contextmanager
def _failures() -> Iterator[None]:
    """Ends the process when something fails; what click raises it ends itself, bad usage with 2."""
    if isinstance(sys.stdout, TextIOWrapper):  # escapes for what its encoding does not have
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        click.echo("carryline: stopped", err=True)
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, BrokenPipeError):  # that reader has all it wanted
            click.echo(f"carryline: error: {_explain(error)}", err=True)
        _drop_output()
        sys.exit(2 if isinstance(error, InputError) else 1)


def _explain(error: Exception) -> str:
    """What went wrong, in one line; unexpected things are raised again for who debugs."""
    if isinstance(error, CarrylineError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename is not None else ""
        no_room = error.errno in _NO_ROOM
        return f"{'no room left on the disk' if no_room else error.strerror}{where}"
    if isinstance(error, MemoryError):
        return "out of memory; shorter texts or a smaller batch_size or model need less"
    if os.environ.get(DEBUG):
        raise error
    return f"unexpected {type(error).__name__}: {error} ({DEBUG}=1 shows where it happened)"


def _drop_output() -> None:
    """What standard output did not take is lost; the interpreter must not try again at its end."""
    try:
        click.echo(nl=False)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="carryline")
def main() -> None:
    """Train, evaluate and use recurrent text classifiers on a CPU.

    \b
      carryline train reviews.csv --out model
      carryline predict model "A film to remember."

    Data is a file (.csv, .tsv, .jsonl, .json, .parquet, .xlsx, .txt of fastText lines; text packed
    by .gz or .zst too), a folder with one folder of .txt files for each class, or - for standard
    input. .parquet and .zst need pip install 'carryline[parquet]', .xlsx 'carryline[excel]'. A
    MODEL is the folder that train writes.
    """


for module in (
    train, tune, evaluate, predict, explain, inspect, report, serve, tokenize, summary, plot,
    vectors, bench,
):  # fmt: skip
    main.add_command(module.command)
