"""`carryline evaluate`."""

from __future__ import annotations

from typing import Any

import click

from carryline.cli import options
from carryline.cli.output import bar, echo_json


@click.command("evaluate", short_help="Measure a model on labelled texts.")
@options.model
@options.data
@options.reading
@options.threads
@options.as_json
def command(
    model: str, data: tuple[str, ...], threads: int | None, as_json: bool, **reading: Any
) -> None:
    """Measure MODEL on the labelled texts in DATA, one source or several.

    Shows loss, accuracy, precision, recall and F1 of each class, their mean (macro F1), ROC-AUC,
    the confusion matrix and the speed.

    \b
      carryline evaluate model test.csv
      carryline evaluate model test.parquet --text review --label stars --json
    """
    from carryline.evaluation import metrics
    from carryline.tasks.classifier import load

    classifier = load(model)
    dataset = options.read(data, **reading)
    with bar(len(dataset.texts), "evaluating") as advance:
        found = classifier.evaluate(
            dataset.texts, dataset.labels or [], threads=threads, advance=advance
        )
    if as_json:
        echo_json({**found, "parameters": classifier.parameters})
    else:
        click.echo(metrics.table(found))
        texts, tokens = found["texts"] / found["seconds"], found["tokens_per_second"]
        click.echo(f"\n{texts:,.0f} texts/s, {tokens:,.0f} tokens/s")
