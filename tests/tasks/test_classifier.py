"""What a user holds: fit, predict, evaluate, save, load; and what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import carryline
from carryline import TextClassifier, load
from carryline.errors import CarrylineError, ConfigError, DataError
from carryline.model import config
from carryline.model.history import ADDED, KEYS
from carryline.tasks import teller
from carryline.training.progress import Callback

Tiny = dict[str, Any]
FIGURES = {"texts", "accuracy", "loss", "macro_f1", "roc_auc", "confusion", "per_class"}
FIGURES |= {"unmeasured"}


# --- the ordinary way


def test_it_learns_what_a_word_gives_away(corpus: Any, tiny: Tiny, tmp_path: Path) -> None:
    texts, labels = corpus
    model = TextClassifier(**{**tiny, "epochs": 12, "pooling": "max", "batch_size": 4})
    assert model.fit(texts, labels, valid=0.2, threads=1) is model
    told = [i for i, text in enumerate(texts) if text]
    assert model.score([texts[i] for i in told], [labels[i] for i in told]) > 0.9
    assert model.predict(["the good film", "the bad film"]).tolist() == ["good", "bad"]
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert (again.predict(texts) == model.predict(texts)).all()
    assert again.best_epoch == model.best_epoch
    for name in ("history", "confusion"):
        assert (tmp_path / "model" / "plots" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    assert "# " in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def test_probabilities_and_predictions_agree(trained: TextClassifier, corpus: Any) -> None:
    chances = trained.predict_proba(corpus[0])
    assert chances.shape == (60, 2)
    assert chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
    assert trained.classes == ["bad", "good"]
    best = [trained.classes[i] for i in chances.argmax(axis=1)]
    assert trained.predict(corpus[0]).tolist() == best
    assert trained.predict_proba([]).shape == (0, 2)
    assert trained.predict([]).shape == (0,)
    array: Any = np.array(["a film"])
    assert trained.predict(("a film",)) == trained.predict(array)
    assert trained.predict(text for text in ["a film"]) == trained.predict(array)


@pytest.mark.parametrize("mask", [True, False])
def test_some_texts_after_the_others_give_the_same_bits(
    mask: bool, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(mask=mask, batch_size=16)
    texts, labels = ["film " * (i % 29) for i in range(300)], ["class 0", "class 1"] * 150
    expected, figures = model.predict_proba(texts, pad_to=9), model.evaluate(texts, labels)
    done: list[int] = []
    for size in (1, 30, 64, 2048):  # batches of 16: without a mask their texts belong together
        monkeypatch.setattr(teller, "TEXTS_AT_ONCE", size)
        done.clear()
        found = model.predict_proba(texts, pad_to=9, advance=done.append)
        assert found.tobytes() == expected.tobytes()
        assert sum(done) == 300
        assert len(done) == -(-300 // max(size // 16 * 16, 16))
        again = model.evaluate(texts, labels)
        assert (again["tokens"], again["loss"]) == (figures["tokens"], figures["loss"])


def test_evaluate_and_score(trained: TextClassifier, corpus: Any) -> None:
    texts, labels = corpus
    figures = trained.evaluate(texts, labels, threads=2)
    assert figures.keys() == FIGURES | {"seconds", "tokens", "tokens_per_second"}
    right = np.mean([a == b for a, b in zip(trained.predict(texts), labels, strict=True)])
    assert figures["accuracy"] == trained.score(texts, labels) == right
    assert figures["texts"] == 60
    assert figures["tokens"] == len(trained.tokenizer.encode_batch(texts).values)
    assert figures["tokens_per_second"] == figures["tokens"] / figures["seconds"]
    json.dumps(figures, allow_nan=False)


def test_what_a_run_leaves_behind(trained: TextClassifier, corpus: Any) -> None:
    assert [row["epoch"] for row in trained.history] == [1, 2]
    assert all(row.keys() == KEYS | ADDED for row in trained.history)
    json.dumps(trained.history, allow_nan=False)
    assert trained.metrics is not None
    assert trained.metrics["texts"] == 12
    assert trained.metrics["accuracy"] == trained.history[trained.best_epoch - 1]["valid_accuracy"]
    assert trained.texts == 48
    assert trained.seconds > 0
    assert not trained.interrupted
    assert trained.parameters == sum(v.size for v in trained.network.weights.values())


@pytest.mark.parametrize("valid", [None, 0.0, 0.25, "texts"])
def test_validation(valid: Any, corpus: Any, tiny: Tiny) -> None:
    examples = (["a good film", "a bad film"], ["good", "bad"])
    valid, held = {"texts": (examples, 0), 0.25: (0.25, 15)}.get(valid, (valid, 0))
    model = TextClassifier(**tiny).fit(*corpus, valid=valid, threads=1)
    assert model.texts == 60 - held
    if not valid:
        assert model.metrics is model.history[0]["valid_loss"] is None
        assert model.best_epoch == 2
    else:
        assert model.metrics is not None
        assert model.metrics["texts"] == (held or 2)


# --- labels


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes"], ["no", "yes"]),
        ([1, 0], [0, 1]),
        ([10, 9], [9, 10]),
        ([2.5, -1], [-1, 2.5]),
        ([True, False], [False, True]),
        (["10", "9", "b"], ["10", "9", "b"]),
        ([3, "a", 2.0], [2, 3, "a"]),
        ([np.int64(4), np.int64(3)], [3, 4]),
        ([np.str_("b"), np.str_("a")], ["a", "b"]),
        ([np.bool_(True), np.bool_(False)], [False, True]),
        ([np.float32(0.5), np.float32(0.25)], [0.25, 0.5]),
        (["c", "b", "a", "d"], ["a", "b", "c", "d"]),
    ],
    ids=str,
)
def test_labels_come_back_as_they_went_in(
    labels: list[Any], classes: list[Any], tiny: Tiny, tmp_path: Path
) -> None:
    texts = ["film"] * len(labels) * 4
    model = TextClassifier(**{**tiny, "epochs": 1}).fit(texts, labels * 4, valid=0.25, threads=1)
    model.save(tmp_path / "model")
    for one in (model, load(tmp_path / "model")):
        assert one.classes == classes
        assert [type(c) for c in one.classes] == [type(c) for c in classes]
        assert one.predict_proba(texts).shape == (len(texts), len(classes))
        assert set(one.predict(texts)) <= set(classes)
        assert one.evaluate(texts, labels * 4)["texts"] == len(texts)


def test_an_array_of_labels(tiny: Tiny) -> None:
    texts, labels = np.array(["good", "bad"] * 6), np.array([1, 0] * 6)
    model = TextClassifier(**tiny).fit(texts, labels, threads=1)
    assert [(c, type(c)) for c in model.classes] == [(0, int), (1, int)]
    assert type(model.predict(["good"]).tolist()[0]) is int
    as_in_a_file = model.score(["good", "bad"], ["1", "0"])
    assert as_in_a_file == model.score(["good", "bad"], [1, 0])


def test_whole_numbers_are_one_label_however_they_are_written(tiny: Tiny) -> None:
    texts, labels = ["good", "bad"] * 6, [1.0, 0] * 6
    model = TextClassifier(**tiny).fit(texts, labels, threads=1)
    assert [(c, type(c)) for c in model.classes] == [(0, int), (1, int)]
    assert model.score(texts, labels) == model.score(texts, ["1", "0"] * 6)


def test_threads_below_one_are_refused(trained: TextClassifier) -> None:
    for threads in (0, -1):
        with pytest.raises(ConfigError, match=f"threads >= 1, it is {threads}"):
            trained.predict(["a film"], threads=threads)


# --- what is refused


@pytest.mark.parametrize(
    ("texts", "labels", "rule"),
    [
        ([], [], "at least one text, there is none"),
        (["a", "b"], ["x"], "every text needs a label: 2 texts, 1 labels"),
        (["a"], ["x", "y"], "every text needs a label: 1 texts, 2 labels"),
        (["a", "b"], ["x", "x"], "two classes or more, every label is 'x'"),
        ("ab", ["x", "y"], r"a list of strings, not one string \('ab'\)"),
        (["a", "b", "c"], ["x", "y", None], "label"),
        (["a", "b", "c"], ["x", "y", float("nan")], "label"),
        (["a", b"b"], ["x", "y"], "text"),
    ],
    ids=str,
)
def test_examples_that_are_refused(texts: Any, labels: Any, rule: str, tiny: Tiny) -> None:
    with pytest.raises(DataError, match=rule):
        TextClassifier(**tiny).fit(texts, labels, valid=None, threads=1)


@pytest.mark.parametrize(
    ("valid", "rule"),
    [
        (
            (["a"], ["unheard of"]),
            "validation text 1 has the label 'unheard of', which no text .* bad, good",
        ),
        ((["a", "b"], ["good"]), "every text needs a label: 2 texts, 1 labels"),
        (([], []), "at least one text, there is none"),
        (("ab", ["good", "bad"]), "a list of strings, not one string"),
        (1.0, "0 <= fraction of validation texts < 1, it is 1.0"),
        (-0.1, "it is -0.1"),
    ],
    ids=str,
)
def test_validation_that_is_refused_before_training(
    valid: Any, rule: str, corpus: Any, tiny: Tiny
) -> None:
    class Watcher(Callback):
        def step(self, *_: Any) -> None:
            raise AssertionError("training has begun")

    with pytest.raises(DataError, match=rule):
        TextClassifier(**tiny).fit(*corpus, valid=valid, threads=1, callbacks=[Watcher()])


def test_evaluation_that_is_refused(trained: TextClassifier) -> None:
    rule = "row 2 has the label 'fine', which the model has never seen; it knows bad, good"
    with pytest.raises(DataError, match=rule):
        trained.evaluate(["a", "b"], ["good", "fine"])
    with pytest.raises(DataError, match="3 texts, 1 labels"):
        trained.score(["a", "b", "c"], ["good"])
    for call in (trained.predict, trained.predict_proba, lambda t: trained.evaluate(t, ["good"])):
        with pytest.raises(DataError, match=r"not one string \('a film'\)"):
            call("a film")


def test_an_untrained_classifier_says_so(tmp_path: Path) -> None:
    untrained = TextClassifier()
    uses: dict[str, list[Any]] = {"predict": [["a"]], "evaluate": [["a"], ["b"]], "summary": []}
    for name, given in {**uses, "save": [tmp_path / "model"]}.items():
        with pytest.raises(CarrylineError, match="not trained yet: call fit first"):
            getattr(untrained, name)(*given)
    assert not list(tmp_path.iterdir())


def test_settings() -> None:
    assert TextClassifier("lecture", epochs=3).config == config.preset("lecture", epochs=3)
    with pytest.raises(ConfigError, match="unknown preset 'huge'"):
        TextClassifier("huge")
    with pytest.raises(ConfigError, match="unknown setting 'depth'"):
        TextClassifier(depth=3)


def test_public_names() -> None:
    for name in carryline.__all__:
        assert getattr(carryline, name) is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", carryline.__version__)
    with pytest.raises(AttributeError, match="no attribute 'TextClasifier'"):
        carryline.TextClasifier  # noqa: B018


# --- promise 2: killed at any moment

# A process that has imported all forks a child for every run; a child kills itself with SIGKILL
# at an event of the run ("step 5" of training, the second file's "sync", before and after it is
# "moved" to its place), or is killed by its parent after a share of the time that a run takes.
KILL = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
from carryline import TextClassifier
from carryline.training.progress import Callback
import carryline.training.loop

texts, labels, settings = json.loads(sys.argv[1])
root, kills = Path(sys.argv[2]), json.loads(sys.argv[3])

def fit(folder, resume, event, number):
    seen = dict.fromkeys(("step", "sync", "before", "moved"), 0)
    def happened(name):
        seen[name] += 1
        if (name, seen[name]) == (event, number):
            os.kill(os.getpid(), signal.SIGKILL)
    class Watcher(Callback):
        def step(self, *_):
            happened("step")
    fsync, replace = os.fsync, Path.replace
    os.fsync = lambda file: (happened("sync"), fsync(file))
    Path.replace = lambda *given: (happened("before"), replace(*given), happened("moved"))
    classifier = TextClassifier(**settings).fit(
        texts, labels, valid=0.2, threads=1, checkpoint=folder, resume=resume,
        callbacks=[Watcher()])
    weights = b"".join(value.tobytes() for _, value in sorted(classifier.network.weights.items()))
    losses = [(row["loss"], row["valid_loss"]) for row in classifier.history]
    (root / "result").write_text(f"{hashlib.sha256(weights).hexdigest()} {losses}")

def run(folder, resume, event="", number=0):
    began, child = time.perf_counter(), os.fork()
    if not child:
        fit(folder, resume, event, number)
        os._exit(0)
    if event == "time":
        time.sleep(number)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status == (signal.SIGKILL if event and event != "time" else 0) or event == "time", status
    return time.perf_counter() - began

took = run(root / "whole", False)
expected = (root / "result").read_text()
kills += [[["time", took * random.random()] for _ in range(2)] for _ in range(4)]
for number, events in enumerate(kills):
    for attempt, event in enumerate(events):
        run(root / str(number), attempt > 0, *event)
    (root / "result").unlink(missing_ok=True)
    run(root / str(number), True)
    assert (root / "result").read_text() == expected, events
print(expected)
"""
KILLS: list[Any] = [
    [["sync", 1]], [["before", 1]], [["moved", 1]],  # the vocabulary
    [["step", 1]], [["step", 3]],  # before there is a checkpoint
    [["sync", 2]], [["before", 2]], [["moved", 2]],  # the first checkpoint
    [["step", 5]], [["sync", 3]], [["before", 3]], [["moved", 3]],  # a later one takes its place
    [["step", 2], ["step", 4], ["before", 1], ["step", 2], ["moved", 1]],  # again and again
]  # fmt: skip


def test_a_run_killed_at_any_moment_ends_in_the_same_bits(
    corpus: Any, tiny: Tiny, tmp_path: Path, python: Callable[..., CompletedProcess[str]]
) -> None:
    problem = json.dumps([*corpus, {**tiny, "epochs": 3, "dropout": 0.2, "schedule": "cosine"}])
    outcomes = []
    for seed, kills in (("1", KILLS), ("2", [])):  # another process ends in the same bits too
        (tmp_path / seed).mkdir()
        done = python(KILL, problem, tmp_path / seed, json.dumps(kills), PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        outcomes.append(done.stdout)
    assert outcomes[0] == outcomes[1]
