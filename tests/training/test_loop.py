"""Training: what a step reads, how a run ends, and that it ends alike however often it is stopped.

The golden trace was written by `python tests/training/test_loop.py`. Its tolerance: instruction sets
round differently (unit 6e-8), which moves a gradient by some 1e-6 of its size. Adam divides that
size out; where a gradient is rounding alone, the weight moves at random by at most the learning
rate, and the loss by that times a gradient of 1e-7. Over 6 steps both stay below 1e-5 (3e-8 was
measured), while a wrong token, mask, order or constant moves the losses by more than 1e-3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from carryline.errors import ConfigError, ModelError, TrainingError
from carryline.model import network
from carryline.model.config import CELLS, Config
from carryline.model.history import best_epoch
from carryline.recurrence.ragged import Ragged
from carryline.training import batches, checkpoint
from carryline.training.batches import epoch_batches
from carryline.training.loop import Labelled, Run, learning_rate, train
from carryline.training.progress import Callback

GOLDEN = Path(__file__).parents[1] / "golden" / "training.json"
VOCABULARY, TOKENS = 40, 73  # of the problem below


def config_of(**settings: Any) -> Config:
    small = {"embedding": 8, "hidden": 8, "dense": 8, "epochs": 3, "batch_size": 8}
    return Config().replace(**small, learning_rate=0.01).replace(**settings)


def problem(texts: int = 20, classes: int = 2, shift: int = 0) -> Labelled:
    """Token ids by arithmetic alone; the first one gives the class away."""
    rows = [[1 + (text * 7 + at * 3) % 39 for at in range(text % 9)] for text in range(texts)]
    targets = [(sum(row[:1]) + shift) % classes for row in rows]
    return Labelled(Ragged.from_lists(rows), np.array(targets, np.int64))


def trained(
    config: Config, data: Labelled | None = None, valid: Labelled | None = None, *,
    classes: int = 2, threads: int = 1, folder: Path | None = None, resume: bool = False,
    progress: Any = None,
) -> Run:  # fmt: skip
    source = folder if resume else None
    run = Run(config, classes, VOCABULARY, threads, progress or Callback(), folder, source)
    train(run, data or problem(), valid)
    return run


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[n] == other[n]).all() for n in one)


# --- batches


@given(st.integers(1, 300), st.booleans(), st.integers(1, 40), st.integers(1, 400))
def test_an_epoch_reads_every_text_once(count: int, by_length: bool, size: int, held: int) -> None:
    batching = "length" if by_length else "shuffle"
    config = config_of(batching=batching, batch_size=size, shuffle_buffer=held)
    chosen = epoch_batches(config, np.arange(count)[::-1] % 17, 1)
    assert sorted(map(len, chosen))[1:] == [size] * (len(chosen) - 1)  # one may be short
    order = np.concatenate(chosen)
    assert sorted(order) == list(range(count))
    if not by_length:  # the buffer gives what it has read: of `held` texts, no later one
        assert (order < np.arange(count) + held).all()


def test_a_shuffle_buffer_gives_any_of_those_it_holds() -> None:
    config, lengths = config_of(batching="shuffle", shuffle_buffer=5), np.ones(50, np.int64)
    firsts = [epoch_batches(config, lengths, epoch)[0][0] for epoch in range(400)]
    assert (np.bincount(firsts) > 40).tolist() == [True] * 5


def test_texts_of_similar_length_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.random.default_rng(0).integers(0, 500, 1000)
    monkeypatch.setattr(batches, "POOL", 25)
    for size, batching, least, most in [
        (20, "length", 10, 30), (10, "length", 10, 30), (20, "shuffle", 400, 500)
    ]:  # fmt: skip
        chosen = epoch_batches(config_of(batch_size=size, batching=batching), lengths, 1)
        assert least < np.mean([np.ptp(lengths[batch]) for batch in chosen]) < most
        shortest = [int(lengths[batch].min()) for batch in chosen]
        assert shortest != sorted(shortest)  # short and long batches come in turn


@pytest.mark.parametrize("batching", ["length", "shuffle"])
def test_batches_depend_on_seed_and_epoch_alone(batching: str) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        config = config_of(batching=batching, seed=seed)
        return [b.tolist() for b in epoch_batches(config, np.arange(200) % 7, epoch)]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(2, 1)
    assert order(1, 1) != order(1, 2)


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


# --- the same bits


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


# --- a damaged checkpoint


def damage(file: Path, kind: str, value: Any) -> None:
    content = bytearray(file.read_bytes())
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        notes = dict(opened.metadata())
    if kind == "cut":
        file.write_bytes(content[:value])
    elif kind == "flip":
        content[value] ^= 16
        file.write_bytes(content)
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "notes":
        save_file(tensors, file, {**notes, "notes": value})
    else:
        tensors.pop(value)
        save_file(tensors, file, notes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("cut", length) for length in (0, 7, 8, 500, -1)],
        *[("flip", place) for place in (2, 100, -100)],  # in the length, the header, a tensor
        *[("notes", notes) for notes in ("", "[]", "{}", "[" * 100_000)],
        *[("without", f"{part}/head.bias") for part in ("weights", "best")],
        ("without", "adam/head.bias/exp_avg"),
        ("folder", None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_damaged_checkpoint_is_refused(kind: str, value: Any, tmp_path: Path) -> None:
    trained(config_of(), valid=problem(shift=1), folder=tmp_path)
    damage(tmp_path / checkpoint.NAME, kind, value)
    with pytest.raises(ModelError, match="no checkpoint") as caught:
        trained(config_of(), valid=problem(shift=1), folder=tmp_path, resume=True)
    assert str(tmp_path / checkpoint.NAME) in str(caught.value)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({cell: trace(cell) for cell in CELLS}, indent=1) + "\n")
