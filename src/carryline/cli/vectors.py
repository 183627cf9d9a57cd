"""`carryline vectors`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carryline.cli import options
from carryline.cli.output import echo_json

if TYPE_CHECKING:
    from carryline.text.vectors import Vectors
    from carryline.training.vectors import Task

_NUMBERS = (  # options by setting, their defaults and helps
    ("words", 60_000, "Words to learn at most, the most frequent ones."),
    ("least", 5, "How often a word must be there to be learned."),
    ("width", 200, "Values of a vector."),
    ("window", 6, "Words on each side that a word is to tell, at most."),
    ("negatives", 8, "Words drawn against each word."),
    ("sample", 1e-4, "Frequency beyond which words are left out by chance; 0: none."),
    ("epochs", 0, "Passes over the texts; 0: 4, and up to 20 of less than ten million words."),
    ("rate", 0.025, "Learning rate of the first step; it falls evenly to almost 0."),
    ("hidden", 0, "Units of a recurrent layer that learns to read the vectors; 0: none."),
    ("passes", 0, "Of that layer over the texts; 0: half as many as epochs by 0."),
    ("seed", 0, "Same seed, same vectors."),
)


def _numbers(command: Any) -> Any:
    for name, default, text in reversed(_NUMBERS):
        kind = type(default)
        command = click.option(
            f"--{name}", type=kind, default=default, show_default=True, metavar="N", help=text
        )(command)
    return command


@click.command("vectors", short_help="Learn word vectors from texts without labels.")
@click.argument("texts", nargs=-1, required=True, metavar="TEXTS...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="VECTORS",
    help="File for the vectors; it must not exist.",
)
@options.text
@options.encoding
@options.skip_bad_rows
@_numbers
@click.option(
    "--bits",
    type=click.Choice(["4", "8", "16", "32"]),
    default="16",
    show_default=True,
    help="Bits of a value in VECTORS; with 4 it is a quarter as large.",
)
@options.threads
@click.option(
    "--resume", is_flag=True, help="Go on with a run that was stopped or killed; or begin."
)
@options.as_json
def command(
    texts: tuple[str, ...],
    out: Path,
    text: tuple[str, ...],
    encoding: str,
    skip_bad_rows: bool,
    bits: str,
    threads: int | None,
    resume: bool,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Learn the words in TEXTS and a vector for each, and write them to the file --out.

    TEXTS are files as for the other commands, without need of labels, and folders, in which every
    .txt file is a text. They are read once, some rows at a time, so they may be larger than memory
    (but not one .json or .xlsx file). Words that stand near the same others get vectors that
    point the same way: skip-gram with negative sampling.

    The run is kept in VECTORS.partial until it ends: after Ctrl-C or a crash the same command with
    --resume goes on, to the same vectors.

    \b
      carryline vectors reviews.csv --out words.vectors
      carryline vectors wiki.txt books/ news.parquet --out words.vectors --bits 4
      carryline vectors posts.jsonl --text body --width 100 --epochs 8 --out words.vectors
    """
    from carryline.text.table import Bad, Reading
    from carryline.training import vectors as learning
    from carryline.training.progress import watching
    from carryline.training.skipgram import Settings

    how = Reading(labelled=False, text=text, encoding=encoding, bad=Bad(skip_bad_rows))
    task = learning.Task(texts, how, Settings(**numbers), out, resume)
    if complete := task.complete():
        click.echo(f"{out} is complete, there is nothing to go on with", err=True)
        return _show(complete, out, as_json)
    with watching(True, []) as watcher, saying_what_is_kept(task):
        vectors = learning.learn(task, watcher, threads)
        learning.deliver(task, vectors, int(bits))
    options.echo_skipped(how.bad.rows)
    _show(vectors, out, as_json)


@contextmanager
def saying_what_is_kept(task: Task) -> Iterator[None]:
    """When the run ends by Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{task.kept}; the same command with --resume goes on"
        click.echo(kept if task.kept else "not all was read yet: nothing is kept", err=True)
        raise


def _show(vectors: Vectors, out: Path, as_json: bool) -> None:
    about = vectors.about
    words, width = vectors.matrix.shape
    result = {
        "words": words,
        "width": width,
        "texts": about["texts"],
        "words_read": about["words"],
        "loss": about["loss"][-1],
        "bytes": out.stat().st_size,
        "vectors": str(out),
    }
    if as_json:
        return echo_json(result)
    click.echo("{words:,} words, {width} values each; {bytes:,} bytes".format(**result))
    click.echo(f"vectors: {shlex.quote(str(out))}", err=True)
