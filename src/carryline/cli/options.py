"""Arguments and options that several commands share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from carryline.config import PRESETS, Config

if TYPE_CHECKING:
    from carryline.data import Label

SETTINGS = [field.name for field in dataclasses.fields(Config) if field.name != "preset"]


class Setting(click.ParamType):
    """`key=value`, as a pair."""

    name = "setting"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        key = key.strip()
        if not equals:
            self.fail(f"it must be key=value, it is {value!r}", param, ctx)
        if key == "preset":
            self.fail("--preset chooses the preset", param, ctx)
        if key not in SETTINGS:
            self.fail(f"unknown setting {key!r}; the settings are {', '.join(SETTINGS)}", param, ctx)
        return key, text.strip()


model = click.argument("model", type=click.Path())
preset = click.option("--preset", type=click.Choice(list(PRESETS)), help="Settings to begin with.")
settings = click.option(
    "--set",
    "settings",
    type=Setting(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, such as cell=gru or hidden=[64,32]; may be given several times.",
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
    help="Threads to compute with (default: all cores). Answers do not depend on it.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, an object a line, for programs."
)


def overrides(settings: Sequence[tuple[str, str]], **shorthands: int | None) -> dict[str, Any]:
    """The settings of `--set` and of the options that are short for one, none of them twice."""
    given = [*settings, *((key, value) for key, value in shorthands.items() if value is not None)]
    chosen: dict[str, Any] = {}
    for key, value in given:
        if key in chosen:
            raise click.UsageError(f"the setting {key} is given twice: {chosen[key]} and {value}")
        chosen[key] = value
    return chosen


def labelled(
    source: str, text: Sequence[str], label: str | None
) -> tuple[list[str], list[Label]]:
    """The texts and labels in `source`."""
    from carryline.data import read

    dataset = read(source, text=text, label=label)
    return dataset.texts, dataset.labels or []
