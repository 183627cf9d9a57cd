"""`carryline predict`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carryline.cli import options
from carryline.cli.output import bar, echo_json
from carryline.errors import OutputError

if TYPE_CHECKING:
    from carryline.tasks.classifier import TextClassifier
    from carryline.text.data import Label

START = 60  # characters of a text that a person sees
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl")


@click.command("predict", short_help="Classify texts.")
@options.model
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--input",
    "sources",
    multiple=True,
    metavar="FILE",
    help="Take the texts from a data file or folder; - is standard input. May be given several "
    "times.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the answers to a .csv, .tsv or .jsonl file, whole or not at all.",
)
@options.text
@options.encoding
@options.limit
@options.skip_bad_rows
@click.option(
    "--pad-to",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Fill shorter texts up to N tokens with <pad>; it changes nothing unless the model was "
    "trained with mask=false.",
)
@options.threads
@options.as_json
def command(
    model: str,
    texts: tuple[str, ...],
    sources: tuple[str, ...],
    output: Path | None,
    pad_to: int,
    threads: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Classify each TEXT, or the texts in --input, with MODEL.

    Shows the label, its probability and the probability of every class. Without TEXT and --input
    the texts come from standard input: one a line, unless --text names a column or the first line
    is a header (it names a column text, review, label or the like): then it is CSV, as it is with
    --input -. JSON is recognised too.

    \b
      carryline predict model "The film was a delight." "Two hours wasted."
      carryline predict model --input reviews.csv --text review --output answers.csv
      cat lines.txt | carryline predict model --json
      cat reviews.csv | carryline predict model --text review
    """
    _check_usage(texts, sources, reading)
    if output is not None:
        _check_output(output)
    from carryline.tasks.classifier import load

    classifier = load(model)
    chosen = list(texts) or _read(sources, reading)
    answers = _answers(classifier, chosen, pad_to, threads)
    if output is not None:
        _write(output, answers)
        click.echo(f"wrote {len(answers):,} answers to {output}", err=True)
    for answer in answers if as_json else ():
        echo_json(_record(answer))
    if output is None and not as_json:
        _show(answers)


def _read(sources: Sequence[str], reading: Mapping[str, Any]) -> list[str]:
    """The texts in the sources, or in a pipe."""
    return options.read(sources or ["-"], labelled=False, piped=not sources, **reading).texts


def _check_usage(texts: Sequence[str], sources: Sequence[str], reading: Mapping[str, Any]) -> None:
    if texts and sources:
        raise click.UsageError("give either TEXT or --input, not both")
    if texts and reading["text"]:
        raise click.UsageError("--text names columns of --input, not of TEXT")
    if texts and (reading["limit"] or reading["skip_bad_rows"]):
        raise click.UsageError("--limit and --skip-bad-rows are for --input, not for TEXT")
    if not texts and not sources and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("nothing to classify: give TEXT, --input or a pipe")


def _check_output(path: Path) -> None:
    """Raises `OutputError` for what would fail only after all the work."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"--output must end in .csv, .tsv or .jsonl; {path} does not")
    if path.is_dir():
        raise OutputError(f"--output must be a file; {path} is a folder")
    if not path.parent.is_dir():
        raise OutputError(f"--output must be in a folder that exists; {path.parent} does not")


class Answer:
    """A text, its most probable label and the probability of every class."""

    def __init__(self, text: str, classes: Sequence[Label], probabilities: Sequence[float]) -> None:
        best = max(range(len(classes)), key=probabilities.__getitem__)  # the first of equals
        self.text, self.label, self.probability = text, classes[best], probabilities[best]
        self.probabilities = list(zip(classes, probabilities, strict=True))


def _answers(
    classifier: TextClassifier, texts: Sequence[str], pad_to: int, threads: int | None
) -> list[Answer]:
    with bar(len(texts), "classifying") as advance:
        chances = classifier.predict_proba(texts, pad_to=pad_to, threads=threads, advance=advance)
    return [
        Answer(text, classifier.classes, row)
        for text, row in zip(texts, chances.tolist(), strict=True)
    ]


def _record(answer: Answer) -> dict[str, Any]:
    from carryline.text.data import key

    probabilities = {key(label): p for label, p in answer.probabilities}
    return {"text": answer.text, "label": answer.label, "probabilities": probabilities}


def _show(answers: Sequence[Answer]) -> None:
    """A line a text: label, its probability, all probabilities, start of the text."""
    from carryline.evaluation.metrics import name
    from carryline.text.tokens import visible

    width = max(len(name(label)) for label, _ in answers[0].probabilities)
    for answer in answers:
        each = "  ".join(f"{name(label)} {p:.4f}" for label, p in answer.probabilities)
        start = visible(answer.text[: START + 1])
        start = start if len(start) <= START else start[: START - 3] + "..."
        label = name(answer.label)
        click.echo(f"{label:<{width}}  {answer.probability:.4f}  ({each})  {start}")


def _write(path: Path, answers: Sequence[Answer]) -> None:
    from carryline.files import write_whole

    delimiter = DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        content = "".join(json.dumps(_record(answer)) + "\n" for answer in answers)
    else:
        content = _delimited(answers, delimiter)
    write_whole(path, content.encode(errors="backslashreplace"))  # lone surrogates


def _delimited(answers: Sequence[Answer], delimiter: str) -> str:
    """CSV that `carryline.text.data.read` reads again, whatever stands in the texts."""
    from carryline.text.data import key

    buffer = io.StringIO(newline="")
    # Quoting every string: a lone carriage return is not quoted otherwise.
    writer = csv.writer(
        buffer, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )
    classes = [key(label) for label, _ in answers[0].probabilities]
    writer.writerow(["text", "label", *(f"probability_{name}" for name in classes)])
    for answer in answers:
        row = [answer.text, str(answer.label), *(p for _, p in answer.probabilities)]
        writer.writerow(row)  # str: as a model finds a label of another type again
    return buffer.getvalue()
