"""`carryline inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from carryline.cli import options
from carryline.cli.output import echo_json
from carryline.errors import OutputError


@click.command("inspect", short_help="Draw gates, carry and states over a text.")
@options.model
@click.argument("text")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("inside.png"),
    show_default=True,
    metavar="FILE",
    help="The picture, a PNG.",
)
@click.option(
    "--layer", type=click.IntRange(min=1), default=1, show_default=True, help="1 is the first."
)
@click.option(
    "--direction",
    type=click.Choice(["forward", "backward"]),
    default="forward",
    show_default=True,
    help="Which way the layer reads.",
)
@click.option(
    "--units",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="How many units are drawn, those that vary most over the text.",
)
@options.as_json
def command(
    model: str, text: str, out: Path, layer: int, direction: str, units: int, as_json: bool
) -> None:
    """Draw what a recurrent layer of MODEL keeps while it reads TEXT: its gates, carry and states,
    a column for each token, with the textbook's equations (needs the extra plot).

    With --json the values are printed, and nothing is drawn.

    \b
      carryline inspect model "The film was a delight." --out inside.png
      carryline inspect model "The film was a delight." --direction backward --json
    """
    if not as_json and not out.parent.is_dir():
        raise OutputError(f"--out must be in a folder that exists; {out.parent} does not")
    if not as_json:
        from carryline.evaluation.pictures import check_packages

        check_packages()
    from carryline.explaining.trace import traced
    from carryline.tasks.classifier import load

    classifier = load(model)
    found = traced(classifier.network, classifier.tokenizer, text, layer, direction)
    if as_json:
        echo_json(found.to_dict(units))
        return
    from carryline.explaining.trace_picture import plot_trace

    plot_trace(found, out, units)
    click.echo(f"wrote {out}", err=True)
