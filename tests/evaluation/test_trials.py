"""What is told of a search, and its picture."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from carryline.evaluation.trials import (
    Check,
    Outcome,
    Trial,
    as_csv,
    best,
    importance,
    section,
    table,
)
from carryline.evaluation.tuning_picture import plot_tuning
from commands import PNG

DEFAULTS = {"learning_rate": 0.002, "hidden": [64], "cell": "lstm"}
GOOD = {"texts": 300, "accuracy": 0.9, "macro_f1": 0.8, "loss": 0.3}
LESS = {"texts": 300, "accuracy": 0.8, "macro_f1": 0.7, "loss": 0.4}


def trial(number: int, figure: float | None, state: str = "complete", **other: object) -> Trial:
    figures = [] if figure is None else [figure]
    return Trial(number, state, {**DEFAULTS, **other}, figures, 1.5, 2.0 * number + 2)


def many(count: int) -> list[Trial]:
    """The figure follows from the learning rate alone, with its best in the middle."""
    draw = np.random.default_rng(0)
    rates = np.geomspace(3e-4, 1e-2, count)[draw.permutation(count)]
    return [
        trial(
            number, 0.8 - abs(math.log(rate / 2e-3)) / 10, ("complete", "pruned")[number % 3 == 2],
            learning_rate=float(rate), hidden=[[32], [64, 64]][number // 2 % 2],
            cell=("gru", "lstm")[number % 2],
        )
        for number, rate in enumerate(rates)
    ]  # fmt: skip


def outcome(trials: list[Trial], check: Check | None = None, keep: str = "macro_f1") -> Outcome:
    return Outcome(trials, keep, 500, DEFAULTS, check, retrained=check is not None)


def test_only_complete_trials_win_and_of_equals_the_first() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9, "pruned"), trial(2, 0.7), trial(3, 0.7), trial(4, 0.6)]
    assert [t.number for t in best(trials, "accuracy")] == [2, 3, 4, 0]
    assert [t.number for t in best(trials, "loss")] == [0, 4, 2, 3]
    assert best([trial(0, 0.5, "stopped")], "loss")[0].number == 0  # there is no other


def test_importance_is_what_matters_and_not_more_than_luck_where_nothing_does() -> None:
    shares = importance(many(40))
    assert next(iter(shares)) == "learning_rate"
    assert shares["learning_rate"][0] > 0.5 > shares["learning_rate"][1]
    assert shares["cell"][0] < shares["cell"][1]
    assert importance(many(9)) == {}


def test_importance_where_all_are_alike() -> None:
    shares = importance([trial(number, 0.5) for number in range(12)])
    assert all(share == luck == 0 for share, luck in shares.values())


def test_the_table_says_what_the_figures_are_worth() -> None:
    trials = [trial(0, 0.5), trial(1, 0.75, cell="gru", hidden=[64, 64]), trial(2, None, "failed")]
    lines = list(table(outcome(trials)))
    assert lines[0] == "the best of 3 trials (1 failed), by macro F1 of 500 texts"
    assert lines[2] == "    1    0.7500      1.5       1  hidden [64, 64], cell gru"
    assert lines[3].endswith("1  the defaults")
    assert "is so partly by luck" in lines[4]
    assert "none were left aside" in lines[5]
    said = " ".join(table(outcome(trials, Check(GOOD, LESS))))
    assert "On 300 texts that nothing was chosen by: accuracy 0.9000, macro F1 0.8000; " in said
    assert "gained nothing" not in said
    assert "gained nothing in macro F1" in " ".join(table(outcome(trials, Check(LESS, GOOD))))
    assert "trained without them" in " ".join(
        table(dataclasses.replace(outcome(trials, Check(GOOD, LESS)), retrained=False))
    )
    assert "lowest of many" in " ".join(table(outcome(trials, keep="loss")))


def test_the_section_of_the_card() -> None:
    text = section(outcome([trial(0, 0.5), trial(1, 0.75, hidden=[64, 64])]), drawn=False)
    assert "trial 1 had a macro F1 of 0.7500, the defaults 0.5000." in text
    assert "| `hidden` | `[64, 64]` | `[64]` |" in text
    assert "plots/" not in text


def test_the_file_of_trials() -> None:
    lines = as_csv(outcome([trial(0, 0.5), trial(1, None, "failed", hidden=[64, 64])])).splitlines()
    assert lines[0] == "number,state,macro_f1,seconds,epochs_done,ended,learning_rate,hidden,cell"
    assert lines[1] == "0,complete,0.5,1.5,1,2.0,0.002,[64],lstm"
    assert lines[2] == '1,failed,,1.5,0,4.0,0.002,"[64, 64]",lstm'


@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_picture(count: int, tmp_path: Path) -> None:
    plot_tuning(outcome(many(count)), tmp_path / "tuning.png")
    assert (tmp_path / "tuning.png").read_bytes().startswith(PNG)


def test_the_picture_of_a_trial_that_failed(tmp_path: Path) -> None:
    plot_tuning(outcome([trial(0, 0.5), trial(1, None, "failed")]), tmp_path / "tuning.png")
