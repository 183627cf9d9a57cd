"""`carryline train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carryline.cli import options
from carryline.cli.output import echo_json
from carryline.errors import ConfigError

if TYPE_CHECKING:
    from carryline.tasks.classifier import TextClassifier
    from carryline.tasks.parts import Validation
    from carryline.training.folder import Place

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
@click.option(
    "--vectors",
    metavar="VECTORS",
    help="Word vectors to begin with: a file of `carryline vectors`, or english; short for --set "
    "vectors=VECTORS.",
)
@click.option(
    "--unlabelled",
    multiple=True,
    metavar="TEXTS",
    help="Texts without labels, as for `carryline vectors`, from which word vectors are learned "
    "first, to DIR.vectors; then as --vectors DIR.vectors. May be given several times.",
)
@click.option("--epochs", type=int, metavar="N", help="Passes over DATA; short for --set epochs=N.")
@click.option("--seed", type=int, metavar="N", help="Same seed, same model; --set seed=N.")
@options.threads
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Go on from the weights and vocabulary of MODEL, and its settings where none are given; "
    "with a new head when the classes are others, and a linear part that is fitted anew.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run that was stopped or killed, or with more --epochs than a finished one "
    "had; begin when there is none.",
)
@click.option(
    "--baseline/--no-baseline",
    default=True,
    help="Whether to measure the most frequent class and a linear model (which needs scikit-learn) "
    "on the same texts, in some twenty seconds at most (default: yes).",
)
@options.as_json
def command(
    data: tuple[str, ...],
    valid: str | None,
    valid_fraction: float | None,
    out: Path,
    preset: str | None,
    settings: dict[str, str],
    vectors: str | None,
    unlabelled: tuple[str, ...],
    epochs: int | None,
    seed: int | None,
    threads: int | None,
    start: Path | None,
    resume: bool,
    baseline: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Train a model on the labelled texts in DATA and write it to the folder --out.

    Every epoch is kept in DIR.partial until the model is written, so a run that was stopped goes
    on with --resume and the same command. Ctrl-C ends the run and writes the best model so far;
    before the first epoch has ended there is none, and the status is 130.

    Settings that are not given follow from the data, which is said (--preset auto). Texts are held
    out, once or in turns, to measure the model by; then it is trained on all of them (--set folds=0
    leaves the second out; texts of --valid are never trained on).

    With --set folds=0, and with any preset but auto, the last epoch stays in the model, as
    DIR/checkpoint.safetensors, for a longer run: the same command with --resume and more --epochs.
    A constant rate goes on to the same weights as a run of so many from the start; a cosine falls
    anew, as the longer run's would from there. The file may be deleted; --from begins from the
    model's weights alone, with settings of training and data that may be others.

    The tokens of larger data are kept in ~/.cache/carryline for the next run; CARRYLINE_CACHE
    names another folder, or none when it is empty.

    \b
      carryline train reviews.csv --out model
      carryline train reviews.csv --text title --text review --label stars --out model
      carryline train train.parquet --valid valid.parquet --preset lecture --epochs 2 --out model
      carryline train reviews.csv --preset base --epochs 12 --out model --resume
      carryline train more.csv --from model --epochs 2 --out better
      carryline train tickets.csv --unlabelled all-tickets.jsonl --out model
    """
    if valid is not None and valid_fraction is not None:
        raise click.UsageError("give either --valid or --valid-fraction, not both")
    if unlabelled and (vectors or "vectors" in settings):
        raise click.UsageError("give either --unlabelled or vectors, not both")
    if unlabelled and start:
        raise click.UsageError("--from goes on with the model's own vectors: without --unlabelled")
    changes = options.overrides(settings, vectors=vectors, epochs=epochs, seed=seed)
    from carryline.text.readers import check_packages
    from carryline.training.folder import Place, beside

    if resume and (complete := _complete(out, beside(out), preset, changes)):
        click.echo(f"{out} is complete, there is nothing to go on with", err=True)
        return _show(complete, out, as_json)
    check_packages([*data, *unlabelled, *([] if valid is None else [valid])])
    place = Place.of(out, None, resume)
    place.check()
    classifier = _classifier(preset, changes, start)
    dataset = options.read(data, **reading)
    validation: Validation = FRACTION if valid_fraction is None else valid_fraction
    if valid is not None:
        held = options.read([valid], **reading)
        validation = held.texts, held.labels or []
    if unlabelled:
        classifier.set_params(vectors=_learned(classifier, unlabelled, out, threads, reading))
    with _saying_what_is_kept(place):
        classifier.fit(
            dataset.texts,
            dataset.labels or [],
            valid=validation,
            threads=threads,
            out=out,
            resume=resume,
            warm_start=start is not None,
            baseline=baseline,
            origin=dataset,
            verbose=True,
        )
    _show(classifier, out, as_json)
    if classifier.interrupted:
        click.echo("stopped early; the same command with --resume goes on", err=True)
    click.echo(f'model: {out}\nnext:  carryline predict {shlex.quote(str(out))} "..."', err=True)


def _learned(
    classifier: TextClassifier,
    texts: tuple[str, ...],
    out: Path,
    threads: int | None,
    reading: dict[str, Any],
) -> str:
    """The file of vectors of these texts, with a layer as the classifier's first one."""
    from carryline.cli.unlabelled import learned

    config = classifier.config
    hidden = config.hidden[0] if config.cell == "lstm" else 0
    return str(learned(texts, out, hidden=hidden, threads=threads, **reading))


def _classifier(preset: str | None, changes: dict[str, Any], start: Path | None) -> TextClassifier:
    """Not trained yet, or the one to go on from with other settings of training."""
    from carryline.tasks.classifier import TextClassifier, load
    from carryline.tasks.vocabulary import resolved

    if start is None:
        classifier = TextClassifier(preset or "auto", **changes)
        resolved(classifier.config, by_hand=classifier.width_given)  # refused before data is read
        return classifier
    from carryline.tasks.beforehand import check_network

    classifier = load(start)
    if preset:
        classifier.set_params(**{**dict.fromkeys(options.SETTINGS), "preset": preset})
    classifier.set_params(**changes)
    by_hand, known = classifier.width_given, classifier.trained
    check_network(known.config, resolved(classifier.config, by_hand=by_hand, known=known)[0])
    return classifier


def _complete(
    out: Path, partial: Path, preset: str | None, changes: dict[str, Any]
) -> TextClassifier | None:
    """The model in `out`, when no epoch of it is missing even with these changes.

    Raises `ConfigError` when it was made with other settings than those given.
    """
    from carryline.model import storage
    from carryline.model.config import PRESETS, differences
    from carryline.model.history import finished
    from carryline.tasks.classifier import load
    from carryline.tasks.recipe import AUTO
    from carryline.tasks.vocabulary import resolved
    from carryline.training.folder import FREE, begun

    if not storage.holds_model(out) or begun(partial):
        return None
    classifier = load(out)
    usual = classifier.config if preset in (None, AUTO) else PRESETS[preset]
    wanted = usual.replace(**changes)
    if (classifier.made or {}).get("turns"):  # as `folds.settled` has them
        wanted = wanted.replace(keep="last", patience=0)
    wanted, _ = resolved(wanted, by_hand="embedding" in changes, known=classifier.trained)
    fixed = {key: v for key, v in classifier.config.to_dict().items() if key not in FREE}
    if other := differences(fixed, wanted.to_dict()):
        raise ConfigError(f"cannot resume: {out} was made with other settings ({other})")
    # One of all texts has as many epochs as were best on those held out, not as many as allowed.
    asked = wanted.folds > 0 and wanted.epochs <= classifier.config.epochs
    complete = asked or finished(classifier.history, wanted)
    return classifier if complete else None


@contextmanager
def _saying_what_is_kept(place: Place) -> Iterator[None]:
    """When the run ends by Ctrl-C without a model."""
    from carryline.training.folder import holds_checkpoint

    try:
        yield
    except KeyboardInterrupt:
        kept = place.folder is not None and holds_checkpoint(place.folder)
        where = f"the epochs so far are in {place.folder}; the same command with --resume goes on"
        click.echo(where if kept else "no epoch had ended: nothing is kept", err=True)
        raise


def _show(classifier: TextClassifier, out: Path, as_json: bool) -> None:
    result = _result(classifier, out)
    if as_json:
        return echo_json(result)
    for line in _figures(classifier.metrics):
        click.echo(line)
    click.echo(
        "{parameters:,} parameters; best epoch {best_epoch} of {epochs}; {seconds:.1f} s, "
        "{tokens_per_second:,.0f} tokens/s".format(**result)
    )


def _figures(metrics: dict[str, Any] | None) -> Iterator[str]:
    """On the validation part, beside the baseline's."""
    from carryline.evaluation.metrics import comparison, unmeasured

    if metrics is None:
        return
    yield (
        "validation: accuracy {accuracy:.4f}, macro F1 {macro_f1:.4f}, loss {loss:.4f}, "
        "{texts:,} texts".format(**metrics)
    )
    yield from filter(None, [unmeasured(metrics), comparison(metrics)])


def _result(classifier: TextClassifier, out: Path) -> dict[str, Any]:
    """What programs want to know of a run; texts are those it trained on."""
    metrics, history = classifier.metrics or {}, classifier.history
    figures = ("accuracy", "loss", "macro_f1", "roc_auc", "unmeasured", "baseline")
    return {
        **{key: metrics.get(key) for key in figures},
        "account": classifier.account and classifier.account.to_dict(),
        "texts": classifier.texts or None,
        "seconds": classifier.seconds or sum(row["seconds"] for row in history),
        "tokens_per_second": classifier.tokens_per_second,
        "parameters": classifier.parameters,
        "epochs": len(history),
        "best_epoch": classifier.best_epoch,
        "interrupted": classifier.interrupted,
        "model": str(out),
    }
