"""`carryline summary`."""

from __future__ import annotations

from typing import Any

import click

from carryline.cli import options
from carryline.cli.output import echo_json


@click.command("summary", short_help="Show a model's layers, shapes and parameters.")
@click.argument("model", required=False, type=click.Path())
@options.preset
@options.settings
@options.as_json
def command(model: str | None, preset: str | None, settings: dict[str, str], as_json: bool) -> None:
    """Show the layers, shapes and parameters of MODEL, or of a preset for two classes.

    \b
      carryline summary model
      carryline summary --preset lecture --set hidden=[64,32]
    """
    if (model is None) == (preset is None):
        raise click.UsageError("give either MODEL or --preset")
    if model is not None and settings:
        raise click.UsageError("--set goes with --preset; the settings of MODEL are fixed")
    table, facts = _model(model) if model is not None else _preset(str(preset), settings)
    if as_json:
        echo_json(facts)
    else:
        click.echo(table)


def _model(path: str) -> tuple[str, dict[str, Any]]:
    """The layer table of a saved model, and its facts for programs."""
    from carryline.tasks.classifier import load

    classifier = load(path)
    facts = {"parameters": classifier.parameters, "classes": classifier.classes}
    return classifier.summary(), {**facts, "config": classifier.config.to_dict()}


def _preset(name: str, changes: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The same of a model that could be trained, with a full vocabulary and two classes."""
    from carryline.model import config, network
    from carryline.tasks.vocabulary import resolved

    asked = config.preset(name, **changes)
    chosen, lexicon = resolved(asked, by_hand="embedding" in changes)
    outputs, rows = network.outputs(classes=2), chosen.vocabulary
    rows += len(lexicon.words) if lexicon else 0
    shapes = network.parameter_shapes(chosen, rows, outputs)
    facts = {"parameters": network.count_parameters(shapes), "config": chosen.to_dict()}
    table = network.summary(chosen, outputs, rows)
    if chosen.linear:
        table += (
            f"\nand a linear part, not counted here: at most {chosen.linear:,} words and pairs of "
            "words of the texts, and as many strings of characters"
        )
    return table, facts
