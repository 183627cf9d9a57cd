"""Which texts are held out, in what turns (setting `folds`), and the model of each turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from carryline.model.config import Config
from carryline.tasks.parts import Part, Parts
from carryline.training.draws import turn_of_each


def turns(parts: Parts, folds: int, seed: int) -> tuple[list[Parts], Parts | None]:
    """The turns, each with other texts held out, and all texts for the model in the end; None for
    the end when it is the one turn's.

    Of texts that were given for validation none is ever trained on.
    """
    if parts.valid is None or not ends_with_all(parts, folds):
        return [parts], None
    whole = replace(parts, train=_joined(parts.train, parts.valid), valid=None)
    if folds == 1:
        return [parts], whole
    targets = whole.train.targets
    number = turn_of_each(targets, folds, seed)
    return [
        replace(
            parts,
            train=whole.train.rows(np.flatnonzero(number != turn)),
            valid=whole.train.rows(np.flatnonzero(number == turn)).counting_alike(),
        )
        for turn in range(folds)
    ], whole


def ends_with_all(parts: Parts, folds: int) -> bool:
    """Whether the texts held out are trained on as well in the end."""
    return folds > 0 and parts.valid is not None and not parts.given


def settled(config: Config, parts: Parts, told: list[str]) -> Config:
    """The settings of a run that ends with all texts: both parts together choose the epoch, so the
    recurrent one alone has none to keep and nothing to wait for. Adds to what is told."""
    waits = config.keep != "last" or config.patience
    if not (waits and ends_with_all(parts, config.folds)):
        return config
    told.append("the epochs on all texts are those that were best on texts held out: keep last, "
                "patience 0")  # fmt: skip
    return config.replace(keep="last", patience=0)


def _joined(one: Part, other: Part) -> Part:
    weights = None
    if one.weights is not None:
        weights = np.concatenate([one.weights, np.ones(len(other.texts), np.float32)])
    return Part(one.texts + other.texts, np.concatenate([one.targets, other.targets]), weights)


def mean_figures(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means of the numbers by their names; of all else, and of counts, the first."""
    first = figures[0]
    return {key: _mean([each[key] for each in figures]) for key in first}


def _mean(values: Sequence[Any]) -> Any:
    if all(isinstance(value, dict) for value in values):
        return mean_figures(values)
    if all(isinstance(value, float) for value in values):
        return float(np.mean(values))
    return values[0]


def validated(
    history: Sequence[dict[str, Any]], others: Sequence[Sequence[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The epochs of a run on all texts, with the figures that the turns had in the same ones."""
    return [dict(_with_valid(row, list(_same(row, others)))) for row in history]


def _same(
    row: dict[str, Any], others: Sequence[Sequence[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    for history in others:
        yield from (other for other in history if other["epoch"] == row["epoch"])


def _with_valid(row: dict[str, Any], others: Sequence[dict[str, Any]]) -> dict[str, Any]:
    keys = [key for key in row if key.startswith("valid_")]
    return row | {key: _mean([other[key] for other in others]) for key in keys if others}
