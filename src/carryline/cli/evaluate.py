"""`carryline evaluate`."""

from __future__ import annotations

import click

from carryline.cli import options
from carryline.cli.output import echo_json


@click.command("evaluate", short_help="Measure a model on labelled texts.")
@options.model
@click.argument("data")
@options.text
@options.label
@options.threads
@options.as_json
def command(
    model: str,
    data: str,
    text: tuple[str, ...],
    label: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure MODEL on the labelled texts in DATA.

    Shows loss, accuracy, precision, recall and F1 of each class, their mean (macro F1), ROC-AUC,
    the confusion matrix and the speed.

    \b
      carryline evaluate model test.csv
      carryline evaluate model test.parquet --text review --label stars --json
    """
    from carryline.evaluation.metrics import table
    from carryline.tasks.classifier import load

    classifier = load(model)
    metrics = classifier.evaluate(*options.labelled(data, text, label), threads=threads)
    if as_json:
        echo_json({**metrics, "parameters": classifier.parameters})
    else:
        click.echo(table(metrics))
        texts, tokens = metrics["texts"] / metrics["seconds"], metrics["tokens_per_second"]
        click.echo(f"\n{texts:,.0f} texts/s, {tokens:,.0f} tokens/s")
