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

    Drawn in MODEL, they are linked from its card if it lacks them. Drawing needs matplotlib: pip
    install 'carryline[plot]'.

    \b
      carryline plot model
      carryline plot model --output pictures
    """
    from carryline.evaluation import card, pictures
    from carryline.tasks.classifier import load

    pictures.check_packages()
    classifier = load(model)
    folder = output or Path(model) / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    keep = classifier.trained.config.keep
    drawn = pictures.draw(folder, classifier.history, classifier.metrics, keep)
    if output is None:
        card.illustrate(Path(model), drawn)
    for name in drawn:
        click.echo(folder / name)
    if classifier.metrics is None:
        click.echo(f"{model} was trained without validation: no confusion matrix", err=True)
