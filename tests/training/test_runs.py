"""Runs: averaged weights, odd data, two at once; what each makes, and that it does so again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.errors import ConfigError
from carryline.model import network
from carryline.model.config import Config
from carryline.recurrence.ragged import Ragged
from carryline.training import checkpoint, losses
from carryline.training.adam import Adam
from carryline.training.loop import Labelled, Run, first_weights
from runs import config_of, problem, same, trained

STILL: dict[str, Any] = {"learning_rate": 1e-300, "epochs": 1, "batch_size": 99}


def labelled(*texts: list[int]) -> Labelled:
    return Labelled(Ragged.from_lists(texts), np.arange(len(texts)) % 2)


# --- the average


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The weights after each step of a run."""
    seen, step = list[dict[str, Any]](), Adam.step

    def noting(self: Adam, *given: Any) -> None:
        step(self, *given)
        self.settle()
        seen.append({n: w.astype(np.float64) for n, w in self.weights.items()})

    monkeypatch.setattr(Adam, "step", noting)
    return seen


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_the_average_of_the_weights_is_kept_and_evaluated(
    share: float, steps: list[dict[str, Any]]
) -> None:
    """It begins with the first weights and trusts its past less in the first steps: at 0.1 it does
    so only up to the limit. Each of 9 averages rounds some 3 times."""
    config, valid = config_of(average=share), problem(12, shift=1)
    run = trained(config, valid=valid)
    first = first_weights(Run(config, 2, run.vocabulary, 1, run.progress))
    for name, expected in first.items():
        expected = expected.astype(np.float64)
        best = np.argmin([row["valid_loss"] for row in run.history]) + 1
        for t, weights in enumerate(steps[: 3 * best], 1):
            s = min(share, (1 + t) / (10 + t))
            expected = s * expected + (1 - s) * weights[name]
        np.testing.assert_allclose(run.best[name], expected, rtol=0, atol=2e-6)
    logits = network.Network(config, run.best).logits(valid.ragged)
    figures = losses.figures(logits, valid.targets, 2)
    assert figures.items() <= run.history[best - 1].items()


def test_an_average_does_not_change_the_steps(steps: list[dict[str, Any]]) -> None:
    plain, averaged = (trained(config_of(average=share)).best for share in (0.0, 0.9))
    assert len(steps) == 18
    assert all(same(one, other) for one, other in zip(steps[:9], steps[9:], strict=True))
    assert same(steps[8], plain)
    assert not same(plain, averaged)


@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_an_average_is_resumed_to_the_same_bits(weight_decay: float, tmp_path: Path) -> None:
    config = config_of(average=0.9, dropout=0.2, weight_decay=weight_decay)
    valid = problem(8, shift=1)
    trained(config.replace(epochs=2), valid=valid, folder=tmp_path)
    resumed = trained(config.replace(epochs=5), valid=valid, folder=tmp_path, resume=True)
    (tmp_path / "whole").mkdir()
    whole = trained(config.replace(epochs=5), valid=valid, folder=tmp_path / "whole")
    assert same(resumed.best, whole.best)
    one, other = (checkpoint.read(folder).arrays for folder in (tmp_path, tmp_path / "whole"))
    assert same(one, other)


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.5), (0.9, 0.0), (0.0, 0.9)])
def test_another_average_refuses_to_resume(before: float, after: float, tmp_path: Path) -> None:
    trained(config_of(average=before), folder=tmp_path)
    with pytest.raises(ConfigError, match=rf"settings \(average: {before}, yours {after}\);"):
        trained(config_of(average=after), folder=tmp_path, resume=True)


# --- odd data


@pytest.mark.parametrize("width", [0, 8])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(
    "data",
    [problem(), labelled([1, 2], [], [0, 3, 0]), labelled([], [], []), labelled([5]),
     labelled([]), labelled([0, 0], [4])],
    ids=["ragged", "empty", "all empty", "one text", "one empty text", "pads"],
)  # fmt: skip
def test_a_step_reads_what_the_network_reads(data: Labelled, mask: bool, width: int) -> None:
    """Training all texts at once, at a rate of nothing, has the loss of their validation, also
    where pads count as words; both are sums of float32."""
    config = config_of(mask=mask, dense=width, pooling="concat", **STILL)
    (row,) = trained(config, data, data).history
    np.testing.assert_allclose(row["loss"], row["valid_loss"], rtol=1e-6)
    assert row["accuracy"] == row["valid_accuracy"]
    run = trained(config_of(mask=mask, dense=width, batch_size=2, dropout=0.2), data, data)
    assert np.isfinite([row["loss"] for row in run.history]).all()
    assert run.best.keys() == network.parameter_shapes(config, 40, 1).keys()


def test_pads_are_read_without_a_mask_alone() -> None:
    """With one, texts that are filled up with them train to the same bits."""
    data = problem()
    padded = Labelled(data.ragged.filled(9, network.PAD), data.targets)
    read_past, read = (config_of(mask=mask) for mask in (True, False))
    assert same(trained(read_past, data).best, trained(read_past, padded).best)
    assert not same(trained(read, data).best, trained(read, padded).best)
    assert not same(trained(read, data).best, trained(read_past, data).best)


def test_empty_texts_move_what_comes_after_pooling_alone() -> None:
    data = labelled([], [], [], [], [])
    config = config_of(dense=0)
    first = trained(config.replace(**STILL), data).best
    last = trained(config, data).best
    changed = {name for name in first if not np.array_equal(first[name], last[name])}
    assert changed == {"head.bias"}


def test_texts_of_weight_zero_count_nothing() -> None:
    """Even if a batch has no others: a run goes on with the rest."""
    data, weights = problem(24), np.zeros(24, np.float32)
    weights[::7] = 1
    config = config_of(batch_size=2)
    run = trained(config, Labelled(data.ragged, data.targets, weights))
    other = np.where(weights > 0, data.targets, 1 - data.targets)
    assert same(run.best, trained(config, Labelled(data.ragged, other, weights)).best)


# --- two at once


def test_runs_at_once_end_in_the_bits_that_they_have_alone() -> None:
    configs: list[Config] = [
        config_of(dropout=0.3, epochs=4, seed=seed, hidden=[8, 6], pooling="concat")
        for seed in (1, 2)
    ]
    alone = [trained(config).best for config in configs]
    found: dict[int, Any] = {}
    together = threading.Barrier(2)

    def run(number: int) -> None:
        together.wait(60)
        found[number] = trained(configs[number], threads=2).best

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[number], alone[number]) for number in range(2))
