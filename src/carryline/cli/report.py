"""`carryline report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carryline.cli import options
from carryline.cli.output import bar
from carryline.errors import OutputError


@click.command("report", short_help="Write a page that says how good a model is.")
@options.model
@click.argument("data", nargs=-1, metavar="[DATA]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The page, an HTML file; written whole or not at all.",
)
@click.option(
    "--training",
    multiple=True,
    metavar="DATA",
    help="What the model was trained on, to look for texts that are in both; may be given several "
    "times.",
)
@options.reading
@options.threads
def command(
    model: str,
    data: tuple[str, ...],
    out: Path,
    training: tuple[str, ...],
    threads: int | None,
    **reading: Any,
) -> None:
    """Write one page about MODEL that needs nothing else: how good it is on the labelled texts in
    DATA that it has not learned from, whether its probabilities can be believed, its worst mistakes
    with the words that led to them, labels that look wrong, near-duplicates, and how it was made.

    Without DATA it is what the training has measured.

    \b
      carryline report model test.csv --out report.html
      carryline report model test.csv --training train.csv --out report.html
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"--out must end in .html; {out} does not")
    if not out.parent.is_dir():
        raise OutputError(f"--out must be in a folder that exists; {out.parent} does not")
    from carryline.files import write_whole
    from carryline.tasks.classifier import load

    classifier = load(model)
    texts, labels, source = None, None, ""
    if data:
        dataset = options.read(data, **reading)
        texts, labels, source = dataset.texts, dataset.labels or [], ", ".join(map(_named, data))
    seen = options.read(training, **reading).texts if training else []
    with bar(len(texts or ()), "measuring") as advance:
        made = classifier.report(
            texts, labels, name=Path(model).resolve().name, source=source, training=seen,
            threads=threads, advance=advance,
        )  # fmt: skip
    write_whole(out, made.encode(errors="backslashreplace"))
    click.echo(f"wrote {out}", err=True)


def _named(source: str) -> str:
    return "standard input" if source == "-" else Path(source).name
