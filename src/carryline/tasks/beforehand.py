"""What is said and checked before anything is trained."""

from __future__ import annotations

from importlib.util import find_spec

from carryline.errors import ConfigError
from carryline.model.config import NETWORK, Config, differences
from carryline.tasks.fitted import Fitted
from carryline.tasks.folds import ends_with_all
from carryline.tasks.parts import Parts
from carryline.text.account import Account, account
from carryline.text.data import Dataset, Label
from carryline.training.progress import Callback


def told(
    texts: list[str],
    labels: list[Label],
    parts: Parts,
    origin: Dataset | None,
    watcher: Callback,
    folds: int = 0,
) -> Account:
    """The account of the data, which whoever watches is told line by line; without the two parts
    where there are several turns."""
    read = origin or Dataset([], None)
    found = account(texts, labels, skipped=len(read.skipped), guessed=read.guessed)
    if folds < 2 or not ends_with_all(parts, folds):
        train, valid = (None if p is None else parts.labels(p) for p in (parts.train, parts.valid))
        found = found.split(train or [], valid)
    for line in found.lines():
        watcher.message(line)
    return found


def tell_missing(baseline: bool, pictures: bool, watcher: Callback) -> None:
    """Says what of these there will not be, and which extra brings it."""
    if baseline and find_spec("sklearn") is None:
        watcher.message(
            "scikit-learn is not installed: no linear model will stand beside this one, only the "
            "most frequent class; pip install 'carryline[sklearn]'"
        )
    if pictures and find_spec("matplotlib") is None:
        watcher.message(
            "matplotlib is not installed: the model is saved without pictures; "
            "pip install 'carryline[plot]'"
        )


def tell_seen(known: Fitted, parts: Parts, watcher: Callback) -> None:
    """Says that a model to go on from may know the texts that are held out of the new ones."""
    if (known.made or {}).get("turns") and parts.valid is not None and not parts.given:
        watcher.message(
            "the model was trained on all of its texts: where these are among them, figures on "
            "texts held out are too good"
        )


def check_patience(config: Config, validated: bool, asked: bool, watcher: Callback) -> None:
    """Says that a patience has nothing to wait for.

    asked: whether it does not just come with the preset; then it raises `ConfigError`.
    """
    if validated or not config.patience:
        return
    if asked:
        raise ConfigError(
            f"patience={config.patience} waits for a better {config.keep} of validation texts, and "
            "there are none; give some (valid), or patience=0"
        )
    watcher.message(f"no validation texts: {config.epochs} epochs, of which the last one is kept")


def check_network(trained: Config, wanted: Config) -> None:
    """Raises `ConfigError` when a trained network could not be trained further as it is wanted."""
    theirs = {key: value for key, value in trained.to_dict().items() if key in NETWORK}
    changed = differences(theirs, wanted.to_dict())
    if changed:
        raise ConfigError(
            f"a trained network goes on with its own settings ({changed}); only those of training "
            "may be others"
        )
