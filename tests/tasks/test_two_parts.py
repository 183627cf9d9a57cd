"""Models of two parts: their shares, and that they are held, saved and read to the same bits."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carryline
from carryline import TextClassifier, load
from carryline.errors import ModelError
from commands import TINY, as_json, command, done, sentences, write
from lexicons import vectors_file

Tiny = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]  # a relative path to import by is of it
FORMS: list[Tiny] = [
    {"linear": 500},
    {"linear": 500, "folds": 1},
    {"linear": 500, "folds": 3, "vectors": "few.vectors"},
    {"folds": 1, "vectors": "few.vectors"},
]


@pytest.fixture(autouse=True)
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors_file(tmp_path / "few.vectors")
    monkeypatch.chdir(tmp_path)


def fit(tiny: Tiny, form: Tiny, corpus: Any, **given: Any) -> TextClassifier:
    settings = {**tiny, "keep": "last", **form}
    if "vectors" in form:
        del settings["embedding"]
    given = {"threads": 1, "baseline": False, **given}
    return TextClassifier(**settings).fit(*corpus, **given)


def weights_of(classifier: TextClassifier) -> bytes:
    linear = classifier.trained.linear
    arrays = {**classifier.network.weights, **(linear.arrays if linear else {})}
    return b"".join(value.tobytes() for _, value in sorted(arrays.items()))


# --- held, saved, read


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_saved_is_what_was_held(
    form: Tiny, tiny: Tiny, corpus: Any, tmp_path: Path
) -> None:
    """To the bit, and so whatever texts stand beside one, on any number of threads."""
    model = fit(tiny, form, corpus, out=tmp_path / "m")
    read, texts = load(tmp_path / "m"), [*corpus[0], "", "\ud800", "film " * 300]
    together = model.predict_proba(texts, threads=1)
    assert np.isfinite(together).all()
    assert (read.predict_proba(texts, threads=2) == together).all()
    for i in (0, 7, 60, 61, 62):
        assert (read.predict_proba([texts[i]]) == together[i]).all()
    order = np.random.default_rng(0).permutation(len(texts))
    assert (read.predict_proba([texts[i] for i in order]) == together[order]).all()
    assert (read.predict_proba([""]) == read.predict_proba(["", "a film"])[:1]).all()
    assert weights_of(read) == weights_of(model) == weights_of(fit(tiny, form, corpus))
    assert (tmp_path / "m" / "linear.safetensors").exists() == ("linear" in form)
    assert (tmp_path / "m" / "checkpoint.safetensors").exists() == ("folds" not in form)


def test_several_classes(tiny: Tiny) -> None:
    texts, labels = ["one film", "two nights", "three of rain", ""] * 10, ["a", "b", "c", "d"] * 10
    model = fit(tiny, {"linear": 500, "folds": 3}, (texts, labels))
    assert model.predict_proba(["", "one"]).shape == (2, 4)
    assert model.predict(texts[:3]).tolist() == ["a", "b", "c"]
    model.fit(texts[:2] * 5, ["a", "b"] * 5, warm_start=True, threads=1, baseline=False)
    assert model.classes == ["a", "b", "c", "d"]
    model.fit(texts[:2] * 5, ["x", "y"] * 5, warm_start=True, threads=1, baseline=False)
    assert model.classes == ["x", "y"]


def test_weights_of_texts_count_in_the_linear_part(tiny: Tiny) -> None:
    texts, labels = ["good", "good", "bad", "bad"] * 10, ["a", "b", "b", "a"] * 10
    for heavy in (0, 1):
        weights = [9.0 if i % 2 == heavy else 1.0 for i in range(40)]
        model = fit(tiny, {"linear": 500}, (texts, labels), sample_weight=weights, valid=None)
        linear = model.trained.linear
        assert linear is not None
        signs = (linear.logits(["good", "bad"], 1)[:, 0] > 0).tolist()
        assert signs == [[False, True], [True, False]][heavy]


# --- what is said of them


def test_summary_and_card(tiny: Tiny, corpus: Any, tmp_path: Path) -> None:
    model = fit(tiny, FORMS[2], corpus, out=tmp_path / "m")
    linear, table = model.trained.linear, model.summary()
    assert linear is not None
    row = next(line for line in table.splitlines() if line.startswith("linear part  "))
    assert row.endswith(f" {linear.parameters:,}")
    assert f"{model.parameters:,}" in table
    words, characters = len(linear.ngrams.words.keys), len(linear.ngrams.characters.keys)
    assert f"linear part: {words:,} words and pairs of words, {characters:,} strings" in table
    assert "whole words: 8 began as vectors of 8 values (few.vectors " in table
    assert load(tmp_path / "m").summary() == table
    assert done("summary", tmp_path / "m").stdout.strip() == table.strip()
    card = (tmp_path / "m" / "README.md").read_text("utf-8")
    assert "Beside it is a linear part, a logistic regression on what a text is made of" in card
    assert "8 of its words began as word vectors (few.vectors " in card
    assert "Their file does not say which texts they were learned from." in card
    assert "The shares of its two parts are those that did best" in card
    assert "kept is the one that did best" not in card
    assert "at most 262,144 words" in done("summary", "--preset", "auto").stdout


def test_metrics_are_those_of_both_parts(tiny: Tiny, corpus: Any) -> None:
    model = fit(tiny, {"linear": 500}, corpus, valid=(corpus[0][:20], corpus[1][:20]))
    told = model.evaluate(corpus[0][:20], corpus[1][:20])
    assert model.metrics is not None
    assert told["accuracy"] == model.metrics["accuracy"]
    assert told["loss"] == pytest.approx(model.metrics["loss"], abs=1e-3)  # but for float16


# --- damaged, stopped


def test_a_linear_part_that_is_not_the_models(tiny: Tiny, corpus: Any, tmp_path: Path) -> None:
    fit(tiny, FORMS[0], corpus, out=tmp_path / "m")
    file = tmp_path / "m" / "linear.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"linear\.safetensors is damaged"):
        load(tmp_path / "m")
    file.unlink()
    with pytest.raises(ModelError, match=r"linear\.safetensors is missing"):
        load(tmp_path / "m")


@pytest.mark.parametrize("form", FORMS[:3], ids=str)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    form: Tiny, tiny: Tiny, corpus: Any, tmp_path: Path
) -> None:
    class Enough(carryline.Callback):
        def epoch(self, row: Any) -> None:
            if row["epoch"] == 1 and (row["valid_loss"] is None) == ("folds" in form):
                signal.raise_signal(signal.SIGINT)

    assert fit(tiny, form, corpus, out=tmp_path / "m", callbacks=[Enough()]).interrupted
    again = fit(tiny, form, corpus, out=tmp_path / "m", resume=True)
    assert weights_of(again) == weights_of(fit(tiny, form, corpus)) == weights_of(load("m"))


@pytest.mark.parametrize("wait", ["training.lock", "checkpoint.safetensors"])
def test_a_killed_run_goes_on_to_the_same_bits(wait: str, tmp_path: Path) -> None:
    """In a turn it begins anew; in the training on all texts, after its last epoch."""
    data, out = write(tmp_path / "d.csv", sentences(120)), tmp_path / "m"
    arguments = ["train", data, *TINY, "--set", "folds=2", "--set", "linear=500", "--epochs", 30]
    arguments += ["--set", "keep=last", "--threads", 1, "--no-baseline"]
    training = command(*arguments, "--out", out)
    process = subprocess.Popen(training, stderr=subprocess.DEVNULL, cwd=ROOT)
    while not (out.with_name("m.partial") / wait).exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    told = as_json(*arguments, "--out", out, "--resume")
    assert told["texts"] == 120
    assert told["epochs"] == 30
    done(*arguments, "--out", tmp_path / "whole")
    assert weights_of(load(out)) == weights_of(load(tmp_path / "whole"))
