"""`carryline train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carryline.cli import options, progress
from carryline.cli.output import echo_json
from carryline.errors import OutputError

if TYPE_CHECKING:
    from carryline.tasks.classifier import TextClassifier
    from carryline.text.examples import Examples

FRACTION = 0.1  # of the texts, held out for validation when nothing else is said


@click.command("train", short_help="Train a model on labelled texts.")
@options.data
@click.option("--valid", metavar="DATA", help="Labelled texts to validate on.")
@click.option(
    "--valid-fraction",
    type=click.FloatRange(min=0, max=1, max_open=True),
    metavar="F",
    help=f"Share of DATA to hold out for validation (default: {FRACTION}); 0: none.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the model; it must not exist.",
)
@options.preset
@options.settings
@options.reading
@click.option("--epochs", type=int, metavar="N", help="Passes over DATA; short for --set epochs=N.")
@click.option("--seed", type=int, metavar="N", help="Same seed, same model; --set seed=N.")
@options.threads
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped or killed.")
@options.as_json
def command(
    data: tuple[str, ...],
    valid: str | None,
    valid_fraction: float | None,
    out: Path,
    preset: str | None,
    settings: dict[str, str],
    epochs: int | None,
    seed: int | None,
    threads: int | None,
    resume: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Train a model on the labelled texts in DATA and write it to the folder --out.

    Every epoch is kept in DIR.partial until the model is written, so a run that was stopped goes
    on with --resume. Ctrl-C ends the run and writes the best model so far. The tokens of larger
    data are kept in ~/.cache/carryline for the next run; CARRYLINE_CACHE names another folder, or
    none when it is empty.

    \b
      carryline train reviews.csv --out model
      carryline train reviews.csv --text title --text review --label stars --out model
      carryline train train.parquet --valid valid.parquet --preset lecture --epochs 2 --out model
    """
    if valid is not None and valid_fraction is not None:
        raise click.UsageError("give either --valid or --valid-fraction, not both")
    changes = options.overrides(settings, epochs=epochs, seed=seed)
    from carryline.model import storage
    from carryline.tasks.classifier import TextClassifier, load

    partial = _partial(out)
    if resume and storage.holds_model(out) and not partial.exists():
        click.echo(f"{out} is complete, there is nothing to go on with", err=True)
        return _show(load(out), out, as_json)
    _check(out, partial, resume)
    classifier = TextClassifier(preset or "base", **changes)
    dataset = options.read(data, **reading)
    examples = dataset.texts, dataset.labels or []
    held_out = FRACTION if valid_fraction is None else valid_fraction
    validation: Examples | float = held_out
    if valid is not None:
        held = options.read([valid], **reading)
        validation = held.texts, held.labels or []
    _fit(classifier, examples, validation, partial, resume=resume, threads=threads)
    classifier.save(out, replace=resume)
    if classifier.interrupted:
        click.echo("stopped early; the same command with --resume goes on", err=True)
    else:
        storage.discard(partial)
    _show(classifier, out, as_json)
    click.echo(f'model: {out}\nnext:  carryline predict {shlex.quote(str(out))} "..."', err=True)


def _partial(out: Path) -> Path:
    """Where the epochs of a run that is to end in `out` are kept."""
    if out.name in ("", ".."):
        raise click.BadParameter(
            f"it must end in the name of a folder, it is {out}", param_hint="--out"
        )
    return out.with_name(f"{out.name}.partial")


def _holds_work(partial: Path) -> bool:
    """Whether there is more than the vocabulary, which is quickly learned again."""
    if not partial.is_dir():
        return partial.exists()
    return any("tokenizer.json" not in file.name for file in partial.iterdir())


def _check(out: Path, partial: Path, resume: bool) -> None:
    """Raises `OutputError` when the model could not be written, or would be written over work."""
    from carryline.model import storage

    storage.check_output(out, replace=resume)
    if _holds_work(partial) and not resume:
        raise OutputError(
            f"{partial} holds a run that was not finished; --resume goes on with it, "
            "or delete it to start afresh"
        )


def _fit(
    classifier: TextClassifier,
    examples: Examples,
    validation: Examples | float,
    partial: Path,
    *,
    resume: bool,
    threads: int | None,
) -> None:
    """Train with a bar; a run that fails before its first epoch leaves nothing behind."""
    from carryline.model import storage

    try:
        with progress.shown() as watcher:
            classifier.fit(
                *examples,
                valid=validation,
                threads=threads,
                checkpoint=partial,
                resume=resume,
                progress=watcher,
            )
    except BaseException:
        if not _holds_work(partial):
            storage.discard(partial)
        raise


def _show(classifier: TextClassifier, out: Path, as_json: bool) -> None:
    result = _result(classifier, out)
    if as_json:
        return echo_json(result)
    if classifier.metrics is not None:
        click.echo(
            "validation: accuracy {accuracy:.4f}, macro F1 {macro_f1:.4f}, loss {loss:.4f}, "
            "{texts:,} texts".format(**classifier.metrics)
        )
    click.echo(
        "{parameters:,} parameters; best epoch {best_epoch} of {epochs}; {seconds:.1f} s, "
        "{tokens_per_second:,.0f} tokens/s".format(**result)
    )


def _result(classifier: TextClassifier, out: Path) -> dict[str, Any]:
    """What programs want to know of a run; texts are those it trained on."""
    metrics, history = classifier.metrics or {}, classifier.history
    return {
        **{key: metrics.get(key) for key in ("accuracy", "loss", "macro_f1", "roc_auc")},
        "texts": classifier.texts or None,
        "seconds": classifier.seconds or sum(row["seconds"] for row in history),
        "tokens_per_second": classifier.tokens_per_second,
        "parameters": classifier.parameters,
        "epochs": len(history),
        "best_epoch": classifier.best_epoch,
        "interrupted": classifier.interrupted,
        "model": str(out),
    }
