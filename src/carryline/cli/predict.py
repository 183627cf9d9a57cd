"""`carryline predict`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from carryline.cli import options
from carryline.cli.output import echo_json, name
from carryline.errors import OutputError

START = 60  # characters of a text that a person sees
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl")


@click.command("predict", short_help="Classify texts.")
@options.model
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--input", "source", metavar="FILE", help="Read the texts from here; - is standard input.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the answers here (.csv, .tsv or .jsonl), whole or not at all.",
)
@options.text
@click.option(
    "--pad-to",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Fill shorter texts up to N tokens with <pad>; only a model with mask=false minds.",
)
@options.threads
@options.as_json
def command(
    model: str,
    texts: tuple[str, ...],
    source: str | None,
    output: Path | None,
    text: tuple[str, ...],
    pad_to: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Classify each TEXT, or the texts in --input, with MODEL.

    Shows the label, its probability and that of every class. A .txt input holds one text a line.
    Without TEXT and --input, texts are read from a pipe.

    \b
    carryline predict model "The film was a delight." "Two hours I will not get back."
    carryline predict model --input reviews.csv --text review --output answers.csv
    cat lines.txt | carryline predict model --json
    """
    if output is not None:
        _check_output(output)
    chosen = _texts(texts, source, text)
    from carryline.classifier import load

    classifier = load(model)
    if not texts:
        chosen = _read(source or "-", text)
    ...
