"""`carryline report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carryline.cli import options
from carryline.cli.output import bar
from carryline.errors import DataError, OutputError

if TYPE_CHECKING:
    from carryline.text.data import Label


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
    help="What the model was trained on, to look for texts that are in both, and for labels that "
    "look wrong to linear parts fitted without them; may be given several times.",
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

    Without DATA it is what the training has measured. --training looks at the training data, too:
    each label is judged by a linear part that was fitted without it.

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
    seen, known = _learned(training, reading) if training else ([], None)
    with bar(len(texts or ()) + len(known or ()), "measuring") as advance:
        made = classifier.report(
            texts, labels, name=Path(model).resolve().name, source=source, training=seen,
            training_labels=known, threads=threads, advance=advance,
        )  # fmt: skip
    write_whole(out, made.encode(errors="backslashreplace"))
    click.echo(f"wrote {out}", err=True)


def _learned(
    sources: Sequence[str], reading: dict[str, Any]
) -> tuple[list[str], list[Label] | None]:
    """Texts and labels; texts alone, which is said, where there is something wrong with the labels:
    the texts are looked at in any case."""
    try:
        found = options.read(sources, **reading)
    except DataError as error:
        try:
            found = options.read(sources, **{**reading, "label": None}, labelled=False)
        except DataError:
            raise error from None
        click.echo(f"--training without labels: {error}", err=True)
    return found.texts, found.labels


def _named(source: str) -> str:
    return "standard input" if source == "-" else Path(source).name
