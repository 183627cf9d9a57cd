"""Arguments and options that several commands share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from carryline.model.config import PRESETS, Config

if TYPE_CHECKING:
    from carryline.text.data import Label

SETTINGS = [field.name for field in dataclasses.fields(Config) if field.name != "preset"]


def _parsed(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """`key=value`, given several times, as a dictionary; no key may be there twice."""
    chosen: dict[str, str] = {}
    for one in given:
        key, equals, value = (part.strip() for part in one.partition("="))
        if not equals:
            problem = f"it must be KEY=VALUE, it is {one!r}"
        elif key == "preset":
            problem = "the preset is chosen by --preset"
        elif key not in SETTINGS:
            problem = f"unknown setting {key!r}; the settings are {', '.join(SETTINGS)}"
        elif key in chosen:
            problem = f"{key} is given twice, as {chosen[key]} and {value}"
        else:
            chosen[key] = value
            continue
        raise click.BadParameter(problem, context, option)
    return chosen


model = click.argument("model", type=click.Path())
preset = click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="Settings to begin with (train: base)."
)
settings = click.option(
    "--set",
    "settings",
    callback=_parsed,
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, such as cell=gru or hidden=[64,32]; may be given several times. They "
    f"are {', '.join(SETTINGS)}: see docs/settings.md, or help(carryline.Config) in Python.",
)
text = click.option(
    "--text",
    multiple=True,
    metavar="COL",
    help="Column of the text (default: text); given several times, they are joined by a space.",
)
label = click.option("--label", metavar="COL", help="Column of the label (default: label).")
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads to compute with (default: all cores).",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, an object a line, for programs."
)


def overrides(settings: Mapping[str, str], **shorthands: int | None) -> dict[str, Any]:
    """The settings of `--set` and those of the options that are short for one."""
    short = {key: value for key, value in shorthands.items() if value is not None}
    for key in short.keys() & settings.keys():
        raise click.UsageError(f"give either --{key} or --set {key}={settings[key]}, not both")
    return {**settings, **short}


def labelled(source: str, text: Sequence[str], label: str | None) -> tuple[list[str], list[Label]]:
    """The texts and labels in `source`."""
    from carryline.text.data import read

    dataset = read(source, text=text, label=label)
    return dataset.texts, dataset.labels or []
