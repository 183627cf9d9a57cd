"""`carryline summary`."""

from __future__ import annotations

import click

from carryline.cli import options
from carryline.cli.output import echo_json


@click.command("summary", short_help="Show a model's layers, shapes and parameters.")
@click.argument("model", required=False, type=click.Path())
@options.preset
@options.settings
@options.as_json
def command(
    model: str | None, preset: str | None, settings: tuple[tuple[str, str], ...], as_json: bool
) -> None:
    """Show the layers, shapes and parameters of MODEL, or of a preset for two classes.

    \b
    carryline summary model
    carryline summary --preset base --set hidden=[64,32]
    """
    from carryline import classifier

    if (model is None) == (preset is None):
        raise click.UsageError("give either a MODEL or --preset")
    if model is not None and settings:
        raise click.UsageError("--set goes with --preset; the settings of a MODEL are fixed")
    ...
