from __future__ import annotations

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.training import losses
from carryline.training.model import logits
from carryline.training.stages import Way

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Settings = list[dict[str, Any]]


def run(name: str, *arguments: str) -> list[str]:
    """The lines that an example prints; it must end well and warn of nothing."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("example") / "gradient.png"


@pytest.fixture(scope="module")
def lines(picture: Path) -> list[str]:
    sizes = ["--length", "120", "--hidden", "16", "--texts", "2", "--seeds", "2"]
    return run("vanishing_gradient.py", "--output", str(picture), *sizes)


@pytest.fixture(scope="module")
def settings(lines: list[str]) -> Settings:
    return list(json.loads(lines[-1])["settings"].values())


def test_vanishing_gradient_gives_picture_and_table(lines: list[str], picture: Path) -> None:
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    for cell in ("rnn", "gru", "lstm", "carry"):
        assert sum(line.startswith(f"{cell:<8}") for line in lines) == 3


def test_gradient_of_rnn_vanishes(settings: Settings) -> None:
    initial = settings[0]
    at_100 = {cell: r["gradient"]["100"] for cell, r in initial.items()}
    assert at_100["rnn"] < 1e-15
    assert at_100["rnn"] < 1e-6 * at_100["lstm"]
    assert at_100["rnn"] < 1e-6 * at_100["carry"]
    at_50 = initial["rnn"]["gradient"]["50"]  # decay is geometric: half the distance, half the log
    assert math.log(at_50) == pytest.approx(math.log(at_100["rnn"]) / 2, rel=0.1)


def test_opened_carry_keeps_the_gradient_alive(settings: Settings) -> None:
    opened = settings[1]
    for cell in ("lstm", "carry"):
        assert 0.01 < opened[cell]["gradient"]["100"] < 100
        assert opened[cell]["kept_by_track_alone"] == pytest.approx(0.953, abs=0.02)  # sigmoid(3)
        assert opened[cell]["kept_a_step"] > opened[cell]["kept_by_track_alone"]


def test_what_is_not_as_usually_told(settings: Settings) -> None:
    initial, _, quiet = settings
    assert initial["lstm"]["kept_by_track_alone"] == pytest.approx(0.731, abs=0.03)  # sigmoid(1)
    assert initial["lstm"]["gradient"]["100"] < 1e-6
    assert initial["gru"]["kept_a_step"] < 0.7
    assert quiet["rnn"]["gradient"]["100"] > 1e3 * quiet["lstm"]["gradient"]["100"]
    for setting in (initial, quiet):  # tanh's slope is all that rnn loses
        rnn = setting["rnn"]
        assert rnn["kept_a_step"] == pytest.approx(rnn["kept_by_track_alone"], abs=0.03)


def test_drop_in_gives_the_same_and_is_faster() -> None:
    lines = run("drop_in.py", "--batches", "1", "--texts", "8", "--rounds", "1", "--threads", "1")
    result = json.loads(lines[-1])
    assert result["largest_difference"] < 5e-5  # as test_nn.py argues
    rates = result["tokens_per_second"]
    assert rates["carryline"] > 2 * rates["torch.nn.LSTM"]
    assert result["faster"]["median"] == pytest.approx(rates["carryline"] / rates["torch.nn.LSTM"])
    assert any(line.startswith("carryline is") for line in lines)


def test_by_hand_agrees_with_finite_differences() -> None:
    lines = run("by_hand.py")
    for stage in ("embedding", "recurrence", "pooling", "dense", "ReLU", "head", "loss"):
        assert [line.split(":")[0] for line in lines].count(stage) == 1
        assert [line.split(":")[0] for line in lines].count(f"by {stage}") == 1
    begin = lines.index("BESIDE FINITE DIFFERENCES: the largest difference")
    found = {name: float(value) for name, value, *_ in map(str.split, lines[begin + 1 :])}
    assert len(found) == 12  # all weights, and the largest
    assert 0 < found.pop("all") == max(found.values()) < 1e-8


def test_gradient_flow_gives_picture_and_table(tmp_path: Path) -> None:
    picture = tmp_path / "flow.png"
    lines = run("gradient_flow.py", "--output", str(picture), "--texts", "200", "--epochs", "2")
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    rows = [line.split() for line in lines[3:-2]]
    tokens, *norms = zip(*rows, strict=True)
    assert f"'{' '.join(tokens)}': bad" in lines[0]
    forward, _, reverse, _, _ = ([float(value) for value in column] for column in norms)
    assert forward[-1] ** 2 + reverse[0] ** 2 == pytest.approx(1, abs=1e-3)  # shares of all of it
    assert max(*forward[:-1], *reverse[1:]) < 1


def test_gradient_flow_is_that_of_the_kernels() -> None:
    """By the embedding of every token of a sentence, against the stages that train."""
    made = runpy.run_path(str(EXAMPLES / "gradient_flow.py"))
    classifier = made["trained"](100, 1)
    model, text = classifier.trained, "the film was not good"
    found = made["flow"](classifier, text, "bad")
    weights = {name: value.astype(float) for name, value in model.network.weights.items()}
    ids, way = model.tokenizer.encode_batch([text]), Way()
    target = np.array([model.classes.index("bad")])
    way(losses.loss(logits(model.config, weights, ids, way, 1), target, None))
    by_row = way.back(1.0)[1]["embedding.weight"]
    norms = np.linalg.norm(by_row.values, axis=1)[np.searchsorted(by_row.ids, ids.values)]
    np.testing.assert_allclose(found.word / found.word[0], norms / norms[0], rtol=1e-9)
