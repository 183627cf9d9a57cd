"""`carryline tune`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carryline.cli import options
from carryline.cli.output import echo_json
from carryline.cli.train import FRACTION

if TYPE_CHECKING:
    from carryline.tasks.parts import Validation
    from carryline.tasks.tuning import Tuned

MINUTES = 10.0  # when no budget is given


@click.command("tune", short_help="Search for better settings, and train with them.")
@options.data
@click.option("--valid", metavar="DATA", help="Labelled texts to compare settings by.")
@click.option(
    "--valid-fraction",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    metavar="F",
    help=f"Share of DATA to hold out for that (default: {FRACTION}).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the model; it must not exist.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help=f"Time to search (default: {MINUTES:g}, or as long as --trials take); the last training "
    "comes after it.",
)
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Settings to try at most.")
@options.preset
@options.settings
@options.reading
@click.option("--seed", type=int, metavar="N", help="Same seed, same trials; --set seed=N.")
@options.threads
@click.option("--resume", is_flag=True, help="Go on with a search that was stopped or killed.")
@click.option(
    "--baseline/--no-baseline",
    default=True,
    help="Whether to measure the baselines on the same texts at the end (default: yes).",
)
@options.as_json
def command(
    data: tuple[str, ...],
    valid: str | None,
    valid_fraction: float | None,
    out: Path,
    minutes: float | None,
    trials: int | None,
    preset: str | None,
    settings: dict[str, str],
    seed: int | None,
    threads: int | None,
    resume: bool,
    baseline: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Search settings for the best model on validation texts, and write it to the folder --out.

    The first trial is the defaults; then settings are proposed by what came of those before (by
    Optuna: pip install 'carryline[tune]'), and trials that fall behind are ended. A setting that is
    given by --set is fixed. Of 2,000 texts and more some are left aside, by which nothing is chosen
    and the winner is measured at the end, before it is trained once more with them. DIR is then a
    model as of train, with trials.csv, plots/tuning.png and a section in its card.

    Each trial is kept in DIR.partial, so a search that was stopped or killed goes on with --resume
    and the same command, or with a larger budget. Ctrl-C ends it and writes the best model so far.
    The same seed gives the same trials in the same order; how many fit into --minutes, the machine
    decides.

    \b
      carryline tune reviews.csv --minutes 10 --out model
      carryline tune reviews.csv --trials 30 --preset small --set cell=gru --out model
      carryline tune reviews.csv --minutes 60 --out model --resume
    """
    if valid is not None and valid_fraction is not None:
        raise click.UsageError("give either --valid or --valid-fraction, not both")
    changes = options.overrides(settings, seed=seed)
    from carryline.tasks import tuning
    from carryline.text.readers import check_packages
    from carryline.training.progress import Lines

    tuning.check(out, resume)
    check_packages([*data, *([] if valid is None else [valid])])
    dataset = options.read(data, **reading)
    validation: Validation = FRACTION if valid_fraction is None else valid_fraction
    if valid is not None:
        held = options.read([valid], **reading)
        validation = held.texts, held.labels or []
    with _saying_what_is_kept(out):
        found = tuning.tune(
            dataset.texts,
            dataset.labels or [],
            out,
            preset=preset or "base",
            settings=changes,
            valid=validation,
            minutes=MINUTES if minutes is None and trials is None else minutes,
            trials=trials,
            threads=threads,
            resume=resume,
            baseline=baseline,
            origin=dataset,
            watcher=Lines(),
        )
    where = _where(data, valid, valid_fraction, reading)
    _show(found, _again(found, where), as_json)


@contextmanager
def _saying_what_is_kept(out: Path) -> Iterator[None]:
    """When the search ends by Ctrl-C without a model."""
    from carryline.tasks.trying import begun
    from carryline.training.folder import beside

    try:
        yield
    except KeyboardInterrupt:
        where = f"the trials so far are in {beside(out)}; the same command with --resume goes on"
        click.echo(where if begun(beside(out)) else "no epoch had ended: nothing is kept", err=True)
        raise


def _where(
    data: tuple[str, ...], valid: str | None, fraction: float | None, reading: dict[str, Any]
) -> list[str]:
    """The arguments that read the same texts in the same parts."""
    words = list(data)
    words += [] if valid is None else ["--valid", valid]
    words += [] if fraction is None else ["--valid-fraction", str(fraction)]
    for key, value in reading.items():
        option = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [word for one in value for word in (option, one)]
        elif value not in (None, False) and (key, value) != ("encoding", "utf-8"):
            words += [option, str(value)]
    return words


def _again(found: Tuned, where: list[str]) -> str:
    """The command that trains with the winner's settings."""
    from carryline.evaluation.card import options as chosen
    from carryline.text.tokens import visible

    words = ["carryline", "train", *where, *chosen(found.config), "--out", "MODEL"]
    return " ".join(shlex.quote(visible(word)) for word in words)


def _show(found: Tuned, again: str, as_json: bool) -> None:
    from carryline.evaluation.trials import table

    if as_json:
        echo_json(_result(found, again))
    else:
        for line in table(found.outcome):
            click.echo(line)
        click.echo(f"\n{_says(found)}:\n{again}")
    if found.interrupted:
        click.echo("stopped early; the same command with --resume goes on", err=True)
    name = shlex.quote(str(found.path))
    click.echo(f'model: {found.path}\nnext:  carryline predict {name} "..."', err=True)


def _says(found: Tuned) -> str:
    """What the command does."""
    if found.exact:
        return "This makes the same model, to the bit"
    return "This trains with the same settings on all texts to train on, and to the end"


def _result(found: Tuned, again: str) -> dict[str, Any]:
    """What programs want to know of a search; by validation, but for `check`."""
    from carryline.evaluation.trials import importance

    outcome, winner = found.outcome, found.outcome.winner
    check = outcome.check
    figures = ("texts", "accuracy", "loss", "macro_f1")
    return {
        "keep": outcome.keep,
        "best": winner.figure,
        "defaults": outcome.trials[0].figure,
        "check": check and {key: check.winner[key] for key in figures},
        "settings": found.config.to_dict(),
        "trials": [dataclasses.asdict(trial) for trial in outcome.trials],
        "importance": {name: share for name, (share, _) in importance(outcome.trials).items()},
        "interrupted": found.interrupted,
        "exact": found.exact,
        "command": again,
        "model": str(found.path),
    }
