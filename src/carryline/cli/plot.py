"""`carryline plot`."""

from __future__ import annotations

from pathlib import Path

import click

from carryline.cli import options


@click.command("plot", short_help="Draw a model's training curves and confusion matrix again.")
@options.model
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the pictures (default: plots in MODEL).",
)
def command(model: str, output: Path | None) -> None:
    """Draw the training curves and the confusion matrix of MODEL, and print the files' names.

    \b
      carryline plot model
      carryline plot model --output pictures
    """
    from carryline.evaluation import report
    from carryline.tasks.classifier import load

    classifier = load(model)
    folder = output or Path(model) / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    report.plot_history(classifier.history, folder / "history.png", classifier.config.keep)
    click.echo(folder / "history.png")
    if classifier.metrics is None:
        click.echo(f"{model} was trained without validation: no confusion matrix", err=True)
    else:
        report.plot_confusion(classifier.metrics, folder / "confusion.png")
        click.echo(folder / "confusion.png")
