"""What `fit` takes: weights of texts, a model to go on from, callbacks; and threads of Python."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carryline
from carryline import TextClassifier, load
from carryline.errors import CarrylineError, ConfigError, DataError
from carryline.evaluation import metrics

Tiny = dict[str, Any]


def weights_of(classifier: TextClassifier) -> bytes:
    return b"".join(value.tobytes() for _, value in sorted(classifier.network.weights.items()))


class Listener(carryline.Callback):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


# --- what is not installed

NO_LINEAR = (
    "scikit-learn is not installed: no linear model will stand beside this one, only the most "
    "frequent class; pip install 'carryline[sklearn]'"
)
NO_PICTURES = (
    "matplotlib is not installed: the model is saved without pictures; "
    "pip install 'carryline[plot]'"
)


def test_without_scikit_learn_and_matplotlib(
    corpus: Any, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there will not be is said first; the rest is as ever."""
    for package in ("sklearn", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    watcher = Listener()
    made = TextClassifier(**tiny)
    made.fit(*corpus, threads=1, callbacks=[watcher], out=tmp_path / "model")
    assert watcher.told[:3] == [NO_LINEAR, NO_PICTURES, "60 texts of 2 classes"]
    metrics = load(tmp_path / "model").metrics
    assert metrics is not None
    assert 0 <= metrics["accuracy"] <= 1
    assert metrics["baseline"]["linear"] is None
    assert metrics["baseline"]["majority"]["label"] == "bad"
    why = "scikit-learn is not installed: pip install 'carryline[sklearn]'"
    assert metrics["baseline"]["why"] == why
    assert not (tmp_path / "model" / "plots").exists()
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert card.count("pip install 'carryline[plot]'") == 2  # two pictures


@pytest.mark.parametrize(
    ("package", "fit", "said"),
    [
        ("sklearn", {}, [NO_LINEAR]),
        ("sklearn", {"baseline": False}, []),
        ("sklearn", {"valid": None}, []),  # nothing to measure a baseline on
        ("matplotlib", {}, []),  # nothing is saved
        ("matplotlib", {"out": "model"}, [NO_PICTURES]),
        ("nothing", {"out": "model"}, []),
    ],
    ids=str,
)
def test_only_what_was_wanted_is_missed(
    package: str, fit: dict[str, Any], said: list[str], corpus: Any, tiny: Tiny, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    watcher = Listener()
    TextClassifier(**{**tiny, "epochs": 1}).fit(*corpus, threads=1, callbacks=[watcher], **fit)
    assert [text for text in watcher.told if "not installed" in text] == said


# --- threads of Python


def test_fits_in_two_threads_at_once_are_as_each_alone(corpus: Any, tiny: Tiny) -> None:
    """With dropout, from the first weights on: they begin together and step in turn."""
    settings = {**tiny, "dropout": 0.4, "hidden": [8, 6], "epochs": 3}
    alone = [weights_of(TextClassifier(**settings, seed=s).fit(*corpus, threads=1)) for s in (1, 2)]
    barrier = threading.Barrier(2)

    class Together(carryline.Callback):
        def step(self, *_: Any) -> None:
            barrier.wait(60)

    def fit(seed: int) -> None:
        barrier.wait(60)
        made = TextClassifier(**settings, seed=seed)
        together[seed] = weights_of(made.fit(*corpus, threads=1, callbacks=[Together()]))

    together: dict[int, bytes] = {}
    threads = [threading.Thread(target=fit, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[1], together[2]] == alone


# --- weights of texts


def test_what_weighs_nothing_is_as_if_it_were_not_there(corpus: Any, tiny: Tiny) -> None:
    texts, labels = corpus
    odd = (["<not> seen", "nor this"], ["good", "a class of its own"])
    weights = [0.0, *[1.0] * 60, 0.0]
    more = ([odd[0][0], *texts, odd[0][1]], [odd[1][0], *labels, odd[1][1]])
    weighed = TextClassifier(**tiny).fit(*more, sample_weight=weights, threads=1)
    ones = TextClassifier(**tiny).fit(texts, labels, np.ones(60), threads=1)
    plain = TextClassifier(**tiny).fit(texts, labels, threads=1)
    assert weights_of(weighed) == weights_of(ones)
    assert weighed.classes == ["bad", "good"]
    for name, value in plain.network.weights.items():
        np.testing.assert_allclose(ones.network.weights[name], value, rtol=0, atol=1e-3)


def test_weights_say_which_of_two_contradictions_is_learned(tiny: Tiny) -> None:
    texts, labels = ["good", "good", "bad", "bad"] * 10, ["a", "b", "b", "a"] * 10
    for heavy in (0, 1):
        weights = [9.0 if i % 2 == heavy else 1.0 for i in range(40)]
        model = TextClassifier(**{**tiny, "epochs": 20}, class_weights="balanced")
        model.fit(texts, labels, sample_weight=weights, valid=None, threads=1)
        assert model.predict(["good", "bad"]).tolist() == [["a", "b"], ["b", "a"]][heavy]


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ([1.0], r"every text needs a weight: 60 texts, weights \[1\]"),
        ([[1.0]] * 60, r"60 texts, weights \[60, 1\]"),
        ([1.0] * 59 + [-1], "finite number of 0 or more, weight 60 is -1.0"),
        ([float("nan")] + [1.0] * 59, "weight 1 is nan"),
        ([0] * 60, "at least one sample weight must be above 0"),
        (["heavy"] * 60, "every sample weight must be a number"),
    ],
)
def test_weights_that_are_refused(weights: Any, rule: str, corpus: Any, tiny: Tiny) -> None:
    with pytest.raises(DataError, match=rule):
        TextClassifier(**tiny).fit(corpus[0], corpus[1], weights)


# --- validation


def test_validation_may_be_a_list_and_nothing_else_odd(corpus: Any, tiny: Tiny) -> None:
    examples = (["a good film", "a bad film"], ["good", "bad"])
    as_list = TextClassifier(**tiny).fit(*corpus, valid=list(examples), threads=1)  # type: ignore[arg-type]
    assert as_list.metrics is not None
    assert as_list.metrics["texts"] == 2
    for odd in ("ab", True, {"a": 1}, [1], object()):
        with pytest.raises(DataError, match="valid must be texts and their labels, or a share"):
            TextClassifier(**tiny).fit(*corpus, valid=odd)  # type: ignore[arg-type]


def test_patience_without_validation(
    corpus: Any, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error when it was asked for; what the preset brings is said to have no effect."""
    few = ["good", "bad"], ["good", "bad"]
    rule = "patience=2 waits for a better macro_f1 of validation texts, and there are none"
    for examples, valid in [(corpus, None), (corpus, 0.0), (few, 0.1)]:
        model = TextClassifier(**tiny, patience=2, keep="macro_f1")
        if examples is few:
            model.set_params(seed=1)
        with pytest.raises(ConfigError, match=rule):
            model.fit(*examples, valid=valid)
    base = {**tiny, "preset": "base"}
    with pytest.raises(ConfigError, match="patience=3 waits"):
        TextClassifier(**base, patience=3).fit(*corpus, valid=None)
    model = TextClassifier(**base).fit(*corpus, valid=None, threads=1, verbose=True)
    assert len(model.history) == 2
    assert "no validation texts: 2 epochs, of which the last one is kept" in capsys.readouterr().err


def test_keep_is_followed_everywhere(corpus: Any, tiny: Tiny, tmp_path: Path) -> None:
    settings = {**tiny, "epochs": 6, "learning_rate": 0.2, "keep": "accuracy"}
    model = TextClassifier(**settings).fit(*corpus, valid=0.2, threads=1)
    figures = [row["valid_accuracy"] for row in model.history]
    assert model.metrics is not None
    assert model.best_epoch == figures.index(max(figures)) + 1
    assert model.metrics["accuracy"] == max(figures)
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").best_epoch == model.best_epoch
    card = (tmp_path / "m" / "README.md").read_text()
    assert f"| {model.best_epoch} (kept) |" in card


# --- callbacks


def test_callbacks_must_be_callbacks(corpus: Any, tiny: Tiny) -> None:
    for odd in (True, [print], print):
        with pytest.raises(ConfigError, match=r"must be a list of carryline\.Callback, there is"):
            TextClassifier(**tiny).fit(*corpus, callbacks=odd)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'progress'"):
        TextClassifier(**tiny).fit(*corpus, progress=True)  # type: ignore[call-arg]


def test_an_untrained_classifier_has_no_figures() -> None:
    for name in ("best_epoch", "tokens_per_second"):
        with pytest.raises(CarrylineError, match="not trained yet: call fit first"):
            getattr(TextClassifier(), name)


# --- going on from trained weights


def test_warm_start_goes_on_from_weights_and_vocabulary(corpus: Any, tiny: Tiny) -> None:
    model = TextClassifier(**tiny).fit(*corpus, threads=1)
    before, vocabulary = dict(model.network.weights), model.tokenizer.to_json()
    model.set_params(learning_rate=1e-300, epochs=1, dropout=0.1)
    model.fit(["entirely other words", "a good film"], ["good", "bad"], warm_start=True, threads=1)
    assert model.tokenizer.to_json() == vocabulary
    assert all((before[name] == value).all() for name, value in model.network.weights.items())
    again = TextClassifier(**tiny).fit(*corpus, threads=1)
    first = again.history[-1]["loss"]
    again.fit(*corpus, threads=1, warm_start=True)
    assert again.history[0]["loss"] < first


def test_warm_start_keeps_the_classes_or_makes_a_new_head(
    trained: TextClassifier, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a good film", "a bad film", "a fair film"] * 4
    for labels, classes, said in [
        (["good", "bad", "bad"], ["bad", "good"], "from trained weights\n"),
        (["good", "bad", "fair"], ["bad", "fair", "good"], "3 classes, of which the model knew 2"),
        (["x", "y", "y"], ["x", "y"], "new head: 2 classes, of which the model knew 0"),
    ]:  # fmt: skip
        one = load(model)
        one.set_params(learning_rate=1e-300, epochs=1)
        one.fit(texts, labels * 4, warm_start=True, threads=1, valid=None, verbose=True)
        assert said in capsys.readouterr().err
        assert one.classes == classes
        for name, value in one.network.weights.items():
            if name != "head.bias":  # zero when it is new
                same = np.array_equal(value, trained.network.weights[name])
                assert same == (name != "head.weight" or classes == trained.classes)
        assert one.predict_proba(texts).shape == (12, len(classes))


def test_classes_that_are_missing_stay(model: Path) -> None:
    """New texts of two of three classes: the third is not forgotten."""
    texts, labels = ["one", "two", "three"] * 8, ["a", "b", "c"] * 8
    small = {"vocabulary": 300, "embedding": 8, "hidden": 8, "epochs": 1}
    one = TextClassifier("lecture", **small).fit(texts, labels, threads=1, valid=None)
    one.fit(texts[:2] * 4, labels[:2] * 4, threads=1, valid=None, warm_start=True)
    assert one.classes == ["a", "b", "c"]
    assert one.predict_proba(["one"]).shape == (1, 3)


def test_warm_start_with_another_network_is_refused(model: Path, corpus: Any) -> None:
    one = load(model)
    one.set_params(hidden=[9], cell="gru", epochs=7)
    rule = r"its own settings \(cell: lstm, yours gru; hidden: \[8\], yours \[9\]\)"
    with pytest.raises(ConfigError, match=rule):
        one.fit(*corpus, warm_start=True)
    with pytest.raises(CarrylineError, match="not trained yet"):
        TextClassifier().fit(*corpus, warm_start=True)


def test_a_warm_run_is_resumed_as_such(model: Path, corpus: Any, tmp_path: Path) -> None:
    class Enough(carryline.Callback):
        def epoch(self, row: Any) -> bool:
            return True

    def warm(**how: Any) -> TextClassifier:
        one = load(model)
        one.set_params(epochs=3, dropout=0.2)
        return one.fit(*corpus, warm_start=True, threads=1, **how)

    warm(checkpoint=tmp_path / "p", callbacks=[Enough()])
    assert weights_of(warm(checkpoint=tmp_path / "p", resume=True)) == weights_of(warm())
    cold = TextClassifier(**load(model).get_params()).set_params(epochs=3, dropout=0.2)
    with pytest.raises(ConfigError, match="made with other starting weights"):
        cold.fit(*corpus, checkpoint=tmp_path / "p", resume=True, threads=1)


def test_ctrl_c_after_the_last_epoch_loses_nothing(
    corpus: Any, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(metrics, "evaluate", stopped)
    model = TextClassifier(**tiny).fit(*corpus, threads=1)
    assert model.interrupted
    assert model.metrics is None
    assert model.predict(["a good film"]).shape == (1,)


def test_a_callback_cannot_change_the_history(corpus: Any, tiny: Tiny) -> None:
    class Scribbler(carryline.Callback):
        def epoch(self, row: Any) -> None:
            row["loss"] = object()

    model = TextClassifier(**tiny).fit(*corpus, threads=1, callbacks=[Scribbler()])
    assert all(isinstance(row["loss"], float) for row in model.history)
