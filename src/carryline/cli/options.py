"""Arguments and options that several commands share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from carryline.model.config import PRESETS, Config

if TYPE_CHECKING:
    from carryline.text.data import Dataset

SHOWN = 5  # skipped rows that are named
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
    "--preset", type=click.Choice(list(PRESETS)), help="Settings to begin with (train: auto)."
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
data = click.argument("data", nargs=-1, required=True, metavar="DATA...")
text = click.option(
    "--text",
    multiple=True,
    metavar="COL",
    help="Column of the text (default: text, or of two columns the one that is recognised, which "
    "is said); given several times, they are joined by a space.",
)
label = click.option(
    "--label",
    metavar="COL",
    help="Column of the label (default: label, or of two columns the one that is recognised, which "
    "is said).",
)
encoding = click.option(
    "--encoding",
    default="utf-8",
    metavar="NAME",
    help="Encoding of text files, such as cp1252, latin-1 or utf-16 (default: utf-8).",
)
limit = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Read the first N rows alone."
)
skip_bad_rows = click.option(
    "--skip-bad-rows",
    is_flag=True,
    help="Leave out rows that cannot be used, and say which: a wrong number of fields, broken "
    "JSON, a text that is no string, a missing label.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads to compute with (default: all cores).",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, an object a line, for programs."
)


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of how labelled data is read; a command hands them to `read` as they are."""
    for option in (skip_bad_rows, limit, encoding, label, text):
        command = option(command)
    return command


def overrides(settings: Mapping[str, str], **shorthands: int | str | None) -> dict[str, Any]:
    """The settings of `--set` and those of the options that are short for one."""
    short = {key: value for key, value in shorthands.items() if value is not None}
    for key in short.keys() & settings.keys():
        raise click.UsageError(f"give either --{key} or --set {key}={settings[key]}, not both")
    return {**settings, **short}


def read(sources: Sequence[str], **reading: Any) -> Dataset:
    """`carryline.text.data.read`; what was guessed and skipped is said on standard error."""
    from carryline.text import data

    found = data.read(sources, **reading)
    for role, column in found.guessed.items():
        click.echo(f"the {role} is taken from column {column!r} (--{role} names another)", err=True)
    echo_skipped(found.skipped)
    return found


def echo_skipped(rows: Sequence[str]) -> None:
    """Say on standard error which rows were left out, if any were."""
    if rows:
        click.echo(f"rows skipped, as they cannot be used: {len(rows):,}", err=True)
        for row in rows[:SHOWN]:
            click.echo(f"  {row}", err=True)
        if len(rows) > SHOWN:
            click.echo(f"  and {len(rows) - SHOWN:,} more", err=True)
