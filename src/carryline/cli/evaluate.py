"""`carryline evaluate`."""

from __future__ import annotations

import time
from typing import Any

import click

from carryline.cli import options
from carryline.cli.chunks import probabilities
from carryline.cli.output import echo_json


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
    from carryline.text.examples import targets_of

    classifier = load(model)
    dataset = options.read(data, **reading)
    targets = targets_of(dataset.labels or [], classifier.classes)
    began = time.perf_counter()
    chances, tokens = probabilities(classifier, dataset.texts, "evaluating", threads=threads)
    seconds = time.perf_counter() - began
    speed = {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}
    found = {**metrics.evaluate(chances, targets, classifier.classes), **speed}
    if as_json:
        echo_json({**found, "parameters": classifier.parameters})
    else:
        click.echo(metrics.table(found))
        texts = len(targets) / seconds
        click.echo(f"\n{texts:,.0f} texts/s, {found['tokens_per_second']:,.0f} tokens/s")
