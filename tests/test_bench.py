from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from carryline import bench
from carryline.errors import ConfigError
from carryline.model.config import preset
from carryline.recurrence import machine


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is measured once, on little."""
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    monkeypatch.setattr(bench, "BATCHES", 1)
    monkeypatch.setattr(machine, "copy_rate", lambda threads: 1e9)


def test_measure(quick: None) -> None:
    told: list[str] = []
    facts = json.loads(json.dumps(bench.measure(1, told.append)))
    assert told == ["measuring the peak", "measuring inference", "measuring training"]
    assert facts["cpu"] == machine.cpu() != ""
    assert facts["instruction_set"] == machine.instruction_set()
    assert facts["instruction_sets"] == machine.instruction_sets()
    assert (facts["threads"], facts["cores"]) == (1, machine.default_threads())
    assert facts["copy_rate"] == 1e9
    assert 0 < facts["one_text"] < 10
    for name, flop in (("training", 393_216), ("inference", 131_072)):
        share = facts[name]["tokens_per_second"] * flop / facts["peak_flops"]
        assert facts[name]["share_of_peak"] == pytest.approx(share)


def test_threads_are_checked() -> None:
    with pytest.raises(ConfigError, match="threads >= 1, it is 0"):
        bench.measure(0)


def test_training_is_measured_without_torch(python: Callable[..., Any]) -> None:
    script = """
import sys
sys.modules["torch"] = None
from carryline import bench, cli
bench.SECONDS, bench.BATCHES = 0, 1
cli.main(["bench", "--threads", "1"])
"""
    done = python(script)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert all("tokens/s" in lines[name] for name in ("training", "predicting"))


def test_operations_of_a_token_are_those_of_the_products() -> None:
    assert bench.forward_flop(preset("lecture")) == 131_072
    two = preset("lecture", embedding=128, hidden=[256, 256])
    first, second = 128 * 1024 + 256 * 1024, 512 * 1024 + 256 * 1024
    assert bench.forward_flop(two) == 2 * 2 * (first + second)


def test_made_up_reviews_are_like_reviews() -> None:
    config = preset("lecture")
    batches = bench.reviews(20, config)
    assert [len(batch) for batch in batches] == [64] * 20
    lengths = np.concatenate([batch.lengths for batch in batches])
    assert (np.diff(lengths) >= 0).all()  # of similar length
    assert 220 < np.median(lengths) < 260
    assert 290 < lengths.mean() < 340
    ids = bench.made_up([21_000], config.vocabulary).values
    assert ids.dtype == np.int32
    assert ids.min() == 1
    assert ids.max() < config.vocabulary
    assert 3_700 < len(np.unique(ids)) < 4_500


def test_made_up_texts_have_their_lengths() -> None:
    assert bench.made_up([3, 0, 5], 300).lengths.tolist() == [3, 0, 5]


def test_training_steps_run_over_every_batch_with_the_preset_rate() -> None:
    config = preset("lecture", hidden=4, embedding=4, vocabulary=300)
    batches = [bench.made_up(lengths, 300) for lengths in ([3, 5], [1, 2])]
    targets = [np.array([0, 1]), np.array([1, 0])]
    steps = bench.TrainingSteps(config, 300, batches, targets, 1)
    before = steps.trainer.weights()
    steps()
    after = steps.trainer.weights()
    assert all((before[name] != after[name]).any() for name in before)
    losses = [steps.step(batches[0], targets[0]) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert "plan" not in vars(batches[0])  # made anew in every step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what each piece of work is going to take, in seconds."""

    def run(*taken: float) -> None:
        ticks = iter([tick for one in taken for tick in (0.0, one)])
        monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))

    return run


def test_a_rate_is_the_median_after_a_warmup(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(bench, "SECONDS", 7.5)
    clock(5, 1, 2)
    assert bench._rate(lambda: calls.append(1), 10) == 5
    assert len(calls) == 4


def test_contenders_run_in_turn_after_their_warmups(clock: Any) -> None:
    calls: list[str] = []
    told: list[str] = []
    contenders = [
        bench.Contender("a", lambda: calls.append("a"), 10),
        bench.Contender("b", lambda: calls.append("b"), 30, warmups=1),
    ]
    clock(1, 2, 5, 6, 10, 10)
    rates = bench.interleave(contenders, rounds=3, tell=told.append)
    assert "".join(calls) == "aab" + "ababab"
    assert rates == {"a": [10, 2, 1], "b": [15, 5, 3]}
    assert told[0] == "warming up a, 1 of 2"
    assert told[-1] == "round 3, b: 3 a second"


def test_a_contender_may_count_its_own_seconds() -> None:
    rates = bench.interleave([bench.Contender("a", lambda: 0.5, 10)], rounds=2)
    assert rates == {"a": [20.0, 20.0]}


def test_benchmarks_measure_time_in_no_other_way() -> None:
    """One clock, read in one place; but for the worker that runs the Carryline of another folder,
    which may have no such place."""
    folder = Path(__file__).resolve().parent.parent / "benchmarks"
    others = {f.name for f in folder.glob("*.py") if "perf_counter" in f.read_text("utf-8")}
    assert others == {"beside_worker.py"}


def test_copying_is_measured_on_every_thread() -> None:
    for threads in (1, 3):
        assert machine.copy_rate(threads, size=1 << 20) > 1e6
