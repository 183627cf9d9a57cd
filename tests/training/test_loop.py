"""Training: what a step reads, how a run ends, and that it ends alike however often it is stopped.

The golden trace is of other hands: torch's autograd and its AdamW made it, of the same first
weights, batches and order, before training was free of torch. So `PYTHONPATH=tests python
tests/training/test_loop.py`, which writes what this code makes, is for a change that is meant to
change it. Its tolerance: instruction sets round differently (unit 6e-8), and so does torch, which
moves a gradient by some 1e-6 of its size. Adam divides that size out; where a gradient is rounding
alone, the weight moves at random by at most the learning rate, and the loss by that times a
gradient of 1e-7. Over 6 steps both stay below 1e-5 (6e-8 was measured), while a wrong token, mask,
order or constant moves the losses by more than 1e-3.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.errors import ConfigError, TrainingError
from carryline.evaluation import metrics
from carryline.model import network
from carryline.model.config import CELLS, KEEPS, POOLINGS, Config
from carryline.model.history import best_epoch, finished
from carryline.training.batches import epoch_batches
from carryline.training.loop import Labelled
from carryline.training.progress import Callback
from carryline.training.rate import learning_rate
from runs import TOKENS, config_of, problem, same, trained

GOLDEN = Path(__file__).parents[1] / "golden" / "training.json"


def test_learning_rate() -> None:
    config = config_of(learning_rate=0.5, epochs=2)  # of 10 steps each

    def rates(**settings: Any) -> list[float]:
        return [learning_rate(config.replace(**settings), step, 10) for step in range(21)]

    rising = [0.1, 0.2, 0.3, 0.4]
    falling = 0.25 * (1 + np.cos(np.pi * np.arange(21) / 20))
    assert rates() == [0.5] * 21
    np.testing.assert_allclose(rates(warmup=0.2), rising + [0.5] * 17)
    np.testing.assert_allclose(rates(schedule="cosine"), falling, atol=1e-12)
    both = rates(schedule="cosine", warmup=0.2)
    np.testing.assert_allclose(both[:4] + both[4::8], [*rising, 0.5, 0.25, 0], atol=1e-12)


# --- what is learned, and what is kept


@pytest.mark.parametrize("classes", [2, 3])
def test_class_weights_make_every_class_count_the_same(classes: int) -> None:
    data = problem(24, classes)
    data.targets[:18] = 0
    config = config_of(class_weights="balanced", epochs=1, learning_rate=1e-300, seed=1)
    run = trained(config, data, classes=classes)
    chances = network.probabilities(network.Network(config, run.best).logits(data.ragged))
    each = -np.log(chances[np.arange(24), data.targets])
    weights = (24 / classes / np.bincount(data.targets))[data.targets]
    chosen = epoch_batches(config, data.ragged.lengths, 1)
    means = [np.average(each[batch], weights=weights[batch]) for batch in chosen]
    np.testing.assert_allclose(run.history[0]["loss"], np.mean(means), rtol=1e-5)
    assert abs(run.history[0]["loss"] - each.mean()) > 1e-4  # what it would be without


def test_the_best_epoch_is_kept_and_patience_ends_a_run() -> None:
    """Validation texts whose labels are the wrong way round get worse as training goes on."""
    config, valid = config_of(epochs=8), problem(shift=1)
    run = trained(config.replace(patience=2), valid=valid)
    losses = [row["valid_loss"] for row in run.history]
    assert losses[0] == min(losses)
    assert len(losses) == 3
    assert same(run.best, trained(config.replace(epochs=1)).best)
    assert len(trained(config, valid=valid).history) == 8
    assert len(trained(config.replace(patience=2)).history) == 8  # nothing to wait for
    still = trained(config.replace(patience=3, learning_rate=1e-300), valid=valid)
    assert len(still.history) == 4  # as good as before is not better


def test_history_rows() -> None:
    valid = problem(12)
    run = trained(config_of(epochs=2, schedule="cosine"), valid=valid)
    for epoch, row in enumerate(run.history, 1):
        assert row["epoch"] == epoch
        assert row["tokens_per_second"] * row["seconds"] == pytest.approx(TOKENS)
    assert run.history[1]["learning_rate"] == learning_rate(run.config, 5, 3)
    last = trained(run.config)
    assert last.history[0]["valid_loss"] is last.history[0]["valid_accuracy"] is None
    net = network.Network(run.config, last.best)
    chances = network.probabilities(net.logits(valid.ragged)).astype(np.float64)
    loss = -np.log(chances[np.arange(12), valid.targets]).mean()
    np.testing.assert_allclose(run.history[1]["valid_loss"], loss, rtol=1e-5)


@dataclass
class Watcher(Callback):
    """Notes the steps; presses Ctrl-C when the step or epoch `at` is reached."""

    at: tuple[str, int] = ("", 0)
    steps: list[tuple[int, int]] = field(default_factory=list)  # epoch, tokens done

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        self.steps.append((epoch, done))
        if self.at == ("step", len(self.steps)):
            raise KeyboardInterrupt

    def epoch(self, row: Mapping[str, Any]) -> None:
        if self.at == ("epoch", row["epoch"]):
            raise KeyboardInterrupt


def test_a_loss_that_is_not_finite_names_epoch_and_step() -> None:
    """Weight decay beyond one turns every weight round and makes it hundreds of times larger."""
    watcher, exploding = Watcher(), {"learning_rate": 999.0, "weight_decay": 0.9, "epochs": 99}
    with pytest.raises(TrainingError, match="the loss must be a finite number, it is") as caught:
        trained(config_of(batch_size=1, **exploding), progress=watcher)
    epoch = watcher.steps[-1][0]
    step = 1 + sum(e == epoch for e, _ in watcher.steps)
    assert f"in epoch {epoch}, step {step}; try a lower learning_rate (now 999" in str(caught.value)
    with pytest.raises(TrainingError, match=r"all weights must be finite .* after epoch \d+"):
        trained(config_of(batch_size=99, **exploding), valid=problem(8))


@pytest.mark.parametrize("at", [("step", 4), ("step", 8), ("epoch", 1), ("epoch", 2)], ids=str)
def test_ctrl_c_keeps_the_best_and_resuming_makes_up_for_it(at: Any, tmp_path: Path) -> None:
    config, valid = config_of(), problem(shift=1)
    with pytest.raises(KeyboardInterrupt):  # nothing to keep yet
        trained(config, folder=tmp_path, progress=Watcher(("step", 3)))
    run = trained(config, valid=valid, folder=tmp_path, progress=Watcher(at))
    assert run.interrupted
    assert len(run.history) == {"step": (at[1] - 1) // 3, "epoch": at[1]}[at[0]]
    assert same(run.best, trained(config.replace(epochs=best_epoch(run.history))).best)
    again = trained(config, valid=valid, folder=tmp_path, resume=True)
    assert not again.interrupted
    for one, other in zip(again.history, trained(config, valid=valid).history, strict=True):
        assert (one["loss"], one["valid_loss"]) == (other["loss"], other["valid_loss"])


@pytest.mark.parametrize("at", [1, 2])
def test_ctrl_c_while_an_epoch_is_evaluated_ends_the_run_there(at: int) -> None:
    class Press(Callback):
        def epoch(self, row: Mapping[str, Any]) -> None:
            if row["epoch"] == at:
                signal.raise_signal(signal.SIGINT)

    run = trained(config_of(epochs=2), progress=Press())
    assert (len(run.history), run.interrupted) == (at, True)


def test_what_is_kept_follows_the_setting() -> None:
    """Figures that disagree: each of the rules keeps another epoch, and patience waits for it."""
    figures = {"loss": [0.6, 0.4, 0.5, 0.7], "accuracy": [0.7, 0.8, 0.9, 0.9],
               "macro_f1": [0.5, 0.3, 0.3, 0.8]}  # fmt: skip
    rows = [
        {"epoch": i + 1, **{f"valid_{key}": values[i] for key, values in figures.items()}}
        for i in range(4)
    ]
    assert [best_epoch(rows, keep) for keep in KEEPS] == [2, 3, 4, 4]
    assert [best_epoch([{**row, f"valid_{keep}": None} for row in rows], keep)
            for keep in KEEPS] == [4, 4, 4, 4]  # fmt: skip
    rows[2]["valid_accuracy"] = rows[3]["valid_accuracy"] = 0.8  # equals: the lowest loss
    assert best_epoch(rows, "accuracy") == 2
    rows[2]["valid_accuracy"] = rows[3]["valid_accuracy"] = 0.9
    older = [{key: row[key] for key in ("epoch", "valid_loss")} for row in rows]
    assert best_epoch(older) == 2
    ended = [finished(rows, config_of(epochs=9, patience=2, keep=keep)) for keep in KEEPS]
    assert ended == [True, False, False, False]


@pytest.mark.parametrize("keep", KEEPS)
def test_the_epoch_that_is_best_by_what_to_keep(keep: str) -> None:
    """Few texts, and a rate that makes figures jump."""
    config, valid = config_of(epochs=6, keep=keep, learning_rate=0.1), problem(9, 3)
    run = trained(config, problem(24, 3), valid, classes=3)
    sign = 1 if keep == "loss" else -1  # of equals that with the lowest loss
    best = len(run.history)
    if keep != "last":
        figures = [(sign * row[f"valid_{keep}"], row["valid_loss"]) for row in run.history]
        best = figures.index(min(figures)) + 1
    again = trained(config.replace(epochs=best), problem(24, 3), classes=3)
    assert same(run.best, again.best)
    logits = network.Network(config, run.best).logits(valid.ragged)
    chances = network.probabilities(logits)
    found = metrics.evaluate(chances, valid.targets, [0, 1, 2])
    row = run.history[best - 1]
    for key in set(KEEPS) - {"last"}:
        np.testing.assert_allclose(row[f"valid_{key}"], found[key], rtol=1e-6)


def test_a_callback_may_end_a_run() -> None:
    class Enough(Callback):
        def epoch(self, row: Mapping[str, Any]) -> bool:
            return bool(row["epoch"] == 2)

    run = trained(config_of(epochs=9), progress=Enough())
    assert (len(run.history), run.interrupted) == (2, False)
    assert same(run.best, trained(config_of(epochs=2)).best)


def test_sample_weights_count_in_the_loss() -> None:
    data = problem(24)
    weights = np.linspace(0.5, 2, 24).astype(np.float32)
    config = config_of(epochs=1, learning_rate=1e-300, class_weights="balanced")
    run = trained(config, Labelled(data.ragged, data.targets, weights))
    chances = network.probabilities(network.Network(config, run.best).logits(data.ragged))
    each = -np.log(chances[np.arange(24), data.targets])
    counts = weights * (12 / np.bincount(data.targets))[data.targets]
    batches = epoch_batches(config, data.ragged.lengths, 1)
    means = [np.average(each[batch], weights=counts[batch]) for batch in batches]
    np.testing.assert_allclose(run.history[0]["loss"], np.mean(means), rtol=1e-5)
    one, other = (Labelled(data.ragged, data.targets, scale * weights) for scale in (1, 4))
    assert same(trained(config_of(), one).best, trained(config_of(), other).best)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_layer_of_one_unit(pooling: str, bidirectional: bool) -> None:
    """Its last states [directions, texts, 1] turned are a view without a gap."""
    config = config_of(pooling=pooling, bidirectional=bidirectional, hidden=[4, 1], dropout=0.5)
    run = trained(config.replace(epochs=1), valid=problem(8))
    logits = network.Network(config, run.best).logits(problem(8).ragged)
    assert np.isfinite(logits).all()


# --- the same bits


@pytest.mark.parametrize("valid", [None, problem(8, shift=1)], ids=["no validation", "validation"])
def test_a_finished_run_is_lengthened_to_the_same_bits(valid: Any, tmp_path: Path) -> None:
    config = config_of(dropout=0.3, patience=9)
    trained(config.replace(epochs=2), valid=valid, folder=tmp_path)
    longer = trained(
        config.replace(epochs=5, patience=0), valid=valid, folder=tmp_path, resume=True
    )
    whole = trained(config.replace(epochs=5), valid=valid)
    assert (longer.resumed, len(longer.history)) == (2, 5)
    assert same(longer.best, whole.best)
    with pytest.raises(ConfigError, match="has done 5 epochs, so epochs >= 5, it is 4"):
        trained(config.replace(epochs=4), valid=valid, folder=tmp_path, resume=True)


def test_a_lengthened_cosine_is_from_there_on_that_of_the_longer_run(tmp_path: Path) -> None:
    config = config_of(schedule="cosine", warmup=0.2)
    trained(config.replace(epochs=2), folder=tmp_path)
    longer = trained(config.replace(epochs=5), folder=tmp_path, resume=True)
    rates = [row["learning_rate"] for row in longer.history]
    whole = [row["learning_rate"] for row in trained(config.replace(epochs=5)).history]
    assert rates[2:] == whole[2:]
    assert rates[:2] != whole[:2]


def test_a_run_depends_on_its_seed_alone() -> None:
    config = config_of(dropout=0.3, hidden=[8, 6], pooling="concat")
    whole = trained(config).best
    assert all(same(whole, trained(config, threads=threads).best) for threads in (1, 2, 3))
    other = trained(config.replace(seed=1)).best
    assert not any((whole[name] == other[name]).all() for name in whole if "weight" in name)


def test_a_resumed_run_must_be_the_same_one(tmp_path: Path) -> None:
    config, data, valid = config_of(), problem(), problem(8)
    trained(config, data, valid, folder=tmp_path)
    assert trained(config, data, valid, folder=tmp_path, resume=True).history
    other, weights = config.replace(hidden=9, clip=1), np.ones(20, np.float32)
    changes: dict[str, tuple[Config, Labelled, Labelled | None]] = {
        r"settings \(hidden: \[8\], yours \[9\]; clip: 0.0, yours 1.0\);": (other, data, valid),
        "training data": (config, Labelled(data.ragged, 1 - data.targets), valid),
        "training data;": (config, Labelled(data.ragged, data.targets, weights), valid),
        "validation data": (config, data, None),
    }
    for what, changed in changes.items():
        with pytest.raises(ConfigError, match=f"cannot resume: .* made with other {what}"):
            trained(*changed, folder=tmp_path, resume=True)


def trace(cell: str) -> list[float]:
    steps = {"batch_size": 10, "schedule": "cosine", "warmup": 0.3}
    config = config_of(cell=cell, pooling="concat", clip=0.1, weight_decay=0.5, **steps)
    run = trained(config, valid=problem(12))
    return [row[key] for row in run.history for key in ("loss", "valid_loss")]


@pytest.mark.parametrize("cell", CELLS)
def test_golden_trace(cell: str, instruction_set: str) -> None:
    expected = json.loads(GOLDEN.read_text())[cell]
    np.testing.assert_allclose(trace(cell), expected, rtol=0, atol=1e-5)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({cell: trace(cell) for cell in CELLS}, indent=1) + "\n")
