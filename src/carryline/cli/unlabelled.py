"""Word vectors of one's own texts, learned before a model is trained: `train --unlabelled`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from carryline.cli import options
from carryline.cli.vectors import saying_what_is_kept
from carryline.errors import ConfigError


def learned(
    sources: Sequence[str],
    out: Path,
    *,
    hidden: int,
    threads: int | None,
    text: tuple[str, ...],
    encoding: str,
    skip_bad_rows: bool,
    **_: Any,
) -> Path:
    """The file of vectors beside the model's folder `out`: learned now, or what an earlier command
    with the same texts left of it.

    hidden: state size of the layer that comes with them. Raises `ConfigError` when the file is of
    other texts or other settings.
    """
    from carryline.text.table import Bad, Reading
    from carryline.training import vectors as learning
    from carryline.training.progress import watching
    from carryline.training.skipgram import Settings

    file = out.with_name(f"{out.name}.vectors")
    how = Reading(labelled=False, text=text, encoding=encoding, bad=Bad(skip_bad_rows))
    task = learning.Task(sources, how, Settings(hidden=hidden), file, resume=True)
    if complete := task.complete():
        theirs = [(source["name"], source["sha256"]) for source in complete.about["sources"]]
        if theirs != [(Path(source or "").name, sha256) for source, sha256 in task.digests()]:
            raise ConfigError(
                f"{file} has word vectors of other texts; delete it, or begin with it by --vectors "
                f"{file} and without --unlabelled"
            )
        click.echo(f"word vectors: {file}, as they were learned before", err=True)
        return file
    with watching(True, []) as watcher, saying_what_is_kept(task):
        learning.deliver(task, learning.learn(task, watcher, threads), bits=4)
    options.echo_skipped(how.bad.rows)
    click.echo(f"word vectors: {file}, for other models too (--vectors)", err=True)
    return file
