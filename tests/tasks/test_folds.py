"""Which texts are held out; runs in turns: what they say, end in, and leave when stopped."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carryline
from carryline import TextClassifier, load
from carryline.errors import ConfigError, ModelError, OutputError
from carryline.evaluation import metrics
from carryline.tasks import fitting
from carryline.tasks.choice import smoothed_best
from carryline.tasks.folds import mean_figures, turns, validated
from carryline.tasks.parts import Parts, prepared
from carryline.training.folder import holds_checkpoint
from samples import history

Tiny = dict[str, Any]
LABELS: list[Any] = ["a"] * 31 + ["b"] * 7 + ["c"] * 2 + ["only"]


@pytest.fixture(scope="module")
def turned(tiny: Tiny) -> Tiny:
    """A run in three turns with a linear part: six trained epochs, and two on all texts."""
    return {**tiny, "folds": 3, "linear": 500, "learning_rate": 0.002, "keep": "last"}


def parts_of(labels: list[Any] = LABELS, valid: Any = 0.2, weights: Any = None) -> Parts:
    return prepared([f"text {i}" for i in range(len(labels))], labels, weights, valid, 0, None)


def weights_of(classifier: TextClassifier) -> bytes:
    linear = classifier.trained.linear
    arrays = {**classifier.network.weights, **(linear.arrays if linear else {})}
    return b"".join(value.tobytes() for _, value in sorted(arrays.items()))


def fit(settings: Tiny, corpus: Any, **given: Any) -> TextClassifier:
    given = {"threads": 1, "baseline": False, **given}
    return TextClassifier(**settings).fit(*corpus, **given)


class Listener(carryline.Callback):
    """Keeps what it is told; stop: raises Ctrl-C at the first step of this training."""

    def __init__(self, stop: int = 0, epoch: int = 1) -> None:
        self.told: list[str] = []
        self.stop, self.at, self.begun = stop, epoch, 0

    def message(self, text: str) -> None:
        self.told.append(text)

    def step(self, epoch: int, *_: Any) -> None:
        self.begun += epoch == 1 and self.last != 1
        self.last = epoch
        if self.begun == self.stop and epoch == self.at:
            self.stop = 0
            signal.raise_signal(signal.SIGINT)

    last = 0


# --- the texts of a turn


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_turns_hold_out_every_text_once(folds: int) -> None:
    """Of each class as evenly as can be; a class's only text is trained on in every turn."""
    parts = parts_of()
    several, whole = turns(parts, folds, 1)
    assert len(several) == folds
    assert whole is not None
    assert whole.valid is None
    assert len(whole.train.texts) == len(LABELS)
    held = Counter[str]()
    for turn in several:
        assert turn.valid is not None
        assert sorted(turn.train.texts + turn.valid.texts) == sorted(whole.train.texts)
        assert "text 40" in turn.train.texts
        held.update(turn.valid.texts)
    assert held == Counter(set(whole.train.texts) - {"text 40"})
    for target in range(3):
        counts = [int((t.valid.targets == target).sum()) for t in several if t.valid]
        assert max(counts) - min(counts) <= 1
    for turn in several:  # a text keeps its label
        for part in (turn.train, turn.valid):
            assert part is not None
            told = [LABELS[int(text.split()[1])] for text in part.texts]
            assert parts.labels(part) == told


def test_turns_follow_the_seed() -> None:
    def held(seed: int) -> list[list[str]]:
        return [turn.valid.texts for turn in turns(parts_of(), 3, seed)[0] if turn.valid]

    assert held(1) == held(1) != held(2)


def test_without_turns() -> None:
    parts = parts_of()
    assert turns(parts, 0, 1) == ([parts], None)
    (one,), whole = turns(parts, 1, 1)
    assert one is parts
    assert whole is not None
    assert parts.valid is not None
    assert whole.train.texts == parts.train.texts + parts.valid.texts
    nothing = parts_of(valid=None)
    assert turns(nothing, 3, 1) == ([nothing], None)


@pytest.mark.parametrize("folds", [1, 3])
def test_given_validation_texts_are_never_trained_on(folds: int) -> None:
    given = parts_of(valid=(["one", "two"], ["a", "b"]))
    assert turns(given, folds, 1) == ([given], None)


def test_weights_of_texts_go_with_them() -> None:
    """Of those held out too: how much they count when they are trained on, never in a figure."""
    weights = np.arange(1, len(LABELS) + 1)
    several, whole = turns(parts_of(weights=weights, valid=0.2), 3, 1)
    assert whole is not None
    for part in [whole.train, *(turn.train for turn in several)]:
        assert part.weights is not None
        shares = dict(zip(part.texts, part.weights.tolist(), strict=True))
        trained = [t for t in shares if shares[t] != 1.0]
        ratio = [shares[t] / (int(t.split()[1]) + 1) for t in trained]
        assert np.allclose(ratio, ratio[0])
    assert all(turn.valid.weights is None for turn in several if turn.valid)


def test_means() -> None:
    figures = [{"a": 0.5, "n": 3, "in": {"b": 1.0, "why": None}},
               {"a": 1.0, "n": 4, "in": {"b": 0.0, "why": "x"}}]  # fmt: skip
    assert mean_figures(figures) == {"a": 0.75, "n": 3, "in": {"b": 0.5, "why": None}}
    whole, short = history(4, valid=False), history(3)
    rows = validated(whole, [history(4), short])
    assert [row["valid_loss"] for row in rows] == [0.7, 0.6, 0.5, 0.6]
    assert [row["loss"] for row in rows] == [row["loss"] for row in whole]
    assert validated(whole, [short])[-1]["valid_loss"] is None


# --- a run in turns


def test_a_run_in_turns(turned: Tiny, corpus: Any, tmp_path: Path) -> None:
    watcher = Listener()
    model = fit(turned, corpus, out=tmp_path / "m", callbacks=[watcher])
    assert [t for t in watcher.told if "turn" in t or "now" in t] == [
        "turn 1 of 3: 40 texts to train on, 20 held out",
        "turn 2 of 3: 40 texts to train on, 20 held out",
        "turn 3 of 3: 40 texts to train on, 20 held out",
        "now the model, on all 60 texts: 2 epochs",
    ]
    assert model.made is not None
    assert model.metrics is not None
    assert (model.made["turns"], model.made["texts"], model.made["validation_texts"]) == (3, 60, 60)
    assert model.made["class_counts"] == [30, 30]
    assert model.metrics["texts"] == 60
    assert sum(map(sum, model.metrics["confusion"])) == 60
    assert all(row["valid_loss"] > 0 for row in model.history)
    assert model.best_epoch == len(model.history) == 2
    files = {file.name for file in (tmp_path / "m").iterdir()}
    assert "checkpoint.safetensors" not in files
    assert "linear.safetensors" in files
    assert not (tmp_path / "m.partial").exists()
    read = load(tmp_path / "m")
    assert (read.predict_proba(corpus[0]) == model.predict_proba(corpus[0])).all()
    assert weights_of(read) == weights_of(model) == weights_of(fit(turned, corpus))
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert "Measured on 60 texts held out in 3 turns; the model was then trained on all" in card
    assert "from 60 texts, of which 60 had been held out before." in card


def test_one_turn_and_one_without_end_in_different_models(turned: Tiny, corpus: Any) -> None:
    """The epochs' figures are those of the same run without; the model is one of all texts."""
    once = fit({**turned, "folds": 1}, corpus, valid=0.2)
    without = fit({**turned, "folds": 0}, corpus, valid=0.2)
    told = [[row["valid_loss"] for row in model.history] for model in (once, without)]
    assert told[0] == told[1]
    assert (once.made or {})["texts"] == 60
    assert (without.made or {})["texts"] == 48
    assert "turns" not in (without.made or {})
    assert weights_of(once) != weights_of(without)


def test_the_epoch_kept_is_the_last_one(turned: Tiny, corpus: Any) -> None:
    """What a preset keeps by is not there for the model of all texts; that is said."""
    watcher = Listener()
    settings = {**turned, "folds": 1, "keep": "macro_f1", "patience": 1}
    model = fit(settings, corpus, callbacks=[watcher])
    assert any("keep last, patience 0" in line for line in watcher.told)
    assert model.best_epoch == len(model.history)
    assert (model.trained.config.keep, model.trained.config.patience) == ("last", 0)
    given = fit(settings, corpus, valid=(corpus[0][:9], corpus[1][:9]))
    assert given.trained.config.keep == "macro_f1"


def test_as_many_epochs_as_were_best_for_both_parts(turned: Tiny, corpus: Any) -> None:
    """Both parts together choose, not the recurrent one alone."""
    watcher = Listener()
    settings = {**turned, "folds": 1, "linear": 500, "epochs": 5, "learning_rate": 0.05}
    model = fit(settings, corpus, valid=0.3, callbacks=[watcher])
    said = next(line for line in watcher.told if line.startswith("now the model"))
    assert said.split(" texts: ")[1].split()[0] == str(len(model.history))
    figures = []
    for epochs in range(1, 6):  # a constant rate: the first epochs are the same
        once = fit({**settings, "folds": 0, "epochs": epochs}, corpus, valid=0.3)
        figures.append((once.metrics or {})["accuracy"])
    assert 1 + smoothed_best(figures) == len(model.history)


def test_baselines_are_measured_in_the_same_turns(turned: Tiny, corpus: Any) -> None:
    pytest.importorskip("sklearn")
    baseline = (fit(turned, corpus, baseline=True).metrics or {})["baseline"]
    assert baseline["majority"]["accuracy"] == 0.5
    assert 0 <= baseline["linear"]["accuracy"] <= 1


def test_weights_of_texts_in_turns(turned: Tiny, corpus: Any) -> None:
    texts, labels = [*corpus[0], "never"], [*corpus[1], "a class of its own"]
    model = fit(turned, (texts, labels), sample_weight=[1.0] * 60 + [0.0])
    assert model.classes == ["bad", "good"]
    assert (model.metrics or {})["texts"] == 60
    other = fit(turned, corpus, sample_weight=[1.0, 2.0] * 30)
    assert weights_of(other) != weights_of(model)


def test_warm_start_in_turns(turned: Tiny, corpus: Any) -> None:
    model = fit(turned, corpus)
    before = model.tokenizer.to_json()
    watcher = Listener()
    model.fit(*corpus, threads=1, baseline=False, warm_start=True, callbacks=[watcher])
    assert any("figures on texts held out are too good" in told for told in watcher.told)
    assert model.tokenizer.to_json() == before
    assert (model.made or {})["turns"] == 3
    assert model.predict(["a good film"]).shape == (1,)


# --- stopped


@pytest.mark.parametrize(("stop", "epoch"), [(1, 2), (2, 1), (3, 2), (4, 1)])
def test_ctrl_c_in_a_turn_leaves_the_model_of_a_turn(
    stop: int, epoch: int, turned: Tiny, corpus: Any, tmp_path: Path
) -> None:
    """With the figures of that turn; the same with resume ends in the model of a whole run."""
    out, watcher = tmp_path / "m", Listener(stop, epoch)
    model = fit(turned, corpus, out=out, callbacks=[watcher])
    assert model.interrupted
    assert "stopped: the model is one of 40 texts" in watcher.told
    assert (load(out).predict_proba(corpus[0]) == model.predict_proba(corpus[0])).all()
    assert model.made is not None
    assert model.metrics is not None
    assert (model.made["texts"], model.made["validation_texts"]) == (40, 20)
    assert "turns" not in model.made
    assert model.metrics["texts"] == 20
    assert len(model.history) == (1 if stop == 1 else 2)
    assert "Measured on the validation part, 20 texts" in (out / "README.md").read_text("utf-8")
    again = fit(turned, corpus, out=out, resume=True)
    assert weights_of(again) == weights_of(load(out)) == weights_of(fit(turned, corpus))
    assert not (tmp_path / "m.partial").exists()


def test_ctrl_c_on_all_texts_goes_on_from_its_epochs(
    turned: Tiny, corpus: Any, tmp_path: Path
) -> None:
    out, watcher = tmp_path / "m", Listener(4, 2)
    assert fit(turned, corpus, out=out, callbacks=[watcher]).interrupted
    assert holds_checkpoint(tmp_path / "m.partial")
    watcher = Listener()
    again = fit(turned, corpus, out=out, resume=True, callbacks=[watcher])
    assert "resuming after epoch 1" in watcher.told
    assert weights_of(again) == weights_of(fit(turned, corpus))
    assert not (tmp_path / "m.partial").exists()


def test_ctrl_c_before_the_first_epoch_leaves_nothing(
    turned: Tiny, corpus: Any, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(turned, corpus, out=tmp_path / "m", callbacks=[Listener(1)])
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_turn_is_measured(
    turned: Tiny, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    for module, name in ((fitting._Fitting, "_outside"), (metrics, "evaluate")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stopped)
            model = fit(turned, corpus)
        assert model.interrupted
        assert model.metrics is None
        assert model.predict(["a good film"]).shape == (1,)


def test_a_finished_run_in_turns_is_not_lengthened(
    turned: Tiny, corpus: Any, tmp_path: Path
) -> None:
    fit(turned, corpus, out=tmp_path / "m")
    with pytest.raises(OutputError, match="holds a model but no checkpoint to resume from"):
        fit({**turned, "epochs": 3}, corpus, out=tmp_path / "m", resume=True)


def test_turns_in_a_model_are_a_count(turned: Tiny, corpus: Any, tmp_path: Path) -> None:
    fit(turned, corpus, out=tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    head = json.loads(file.read_text())
    head["made"]["turns"] = "three"
    file.write_text(json.dumps(head))
    with pytest.raises(ModelError, match="'turns' of 'made' must be a count"):
        load(tmp_path / "m")


def test_folds_are_bounded() -> None:
    with pytest.raises(ConfigError, match="0 <= folds <= 100"):
        TextClassifier("base", folds=101)
