"""The baseline: figures worked out by hand, and held against scikit-learn's own pipeline."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from carryline.errors import InputError
from carryline.evaluation import baseline as module
from carryline.evaluation.baseline import baseline

Part = tuple[list[str], list[int]]
GOOD = ["a fine film", "a fine cast", "fine, truly fine", "what a fine day"]
BAD = ["a dull film", "a dull cast", "dull, truly dull"]
TRAIN: Part = (GOOD + BAD, [1] * 4 + [0] * 3)


def made_up(count: int, classes: int, seed: int = 0) -> Part:
    """Texts of 0 to 19 words, in every second one of which a word or a pair tells the class."""
    rng = np.random.default_rng(seed)
    words = ["Film", "plot", "cast", "a", "music", "café", "don't", "x", "night", "映画", "was"]
    texts, targets = [], []
    for number in range(count):
        target = number % classes
        sentence = list(rng.choice(words, number % 20))
        if number % 4 < 2:
            sentence[2:2] = [f"w{target % 3}", f"v{target // 3}"]
        texts.append(" ".join(sentence))
        targets.append(target)
    return texts, targets


def scikit_learn(train: Part, valid: Part) -> dict[str, float]:
    """Figures of scikit-learn's own pipeline."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model: Any = LogisticRegression(
        C=module.C, solver="liblinear", dual=True, tol=0.01, random_state=0
    )
    if len(set(train[1])) > 2:
        model = OneVsRestClassifier(model)
    predicted = make_pipeline(words, model).fit(*train).predict(valid[0])
    present = np.unique(valid[1])
    f1 = f1_score(valid[1], predicted, labels=present, average="macro", zero_division=0)
    return {"accuracy": accuracy_score(valid[1], predicted), "macro_f1": float(f1)}


def test_figures_by_hand() -> None:
    valid: Part = (["so fine", "so dull", "fine cast"], [1, 0, 0])
    found = baseline(*TRAIN, *valid, ["neg", "pos"])
    assert found == json.loads(json.dumps(found))
    assert found["why"] == ""
    majority = {"label": "pos", "accuracy": 1 / 3, "macro_f1": (0 + 2 / 4) / 2}
    assert found["majority"] == majority
    linear = found["linear"]
    assert linear.pop("seconds") > 0
    assert linear == {
        "name": "TF-IDF + logistic regression",
        "accuracy": 2 / 3,
        "macro_f1": pytest.approx((2 / 3 + 2 / 3) / 2),
        "texts": 7,
        "of": 7,
        "tested": 3,
    }


def test_macro_f1_is_over_the_classes_that_were_there_to_find() -> None:
    found = baseline(*TRAIN, ["fine film", "fine cast"], [1, 1], ["neg", "pos", "absent"])
    assert found["majority"]["macro_f1"] == 1.0
    assert found["linear"]["macro_f1"] == 1.0
    found = baseline(*TRAIN, ["fine film", "odd"], [1, 2], ["neg", "pos", "absent"])
    assert found["majority"]["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_the_linear_model_is_scikit_learns(classes: int) -> None:
    train, valid = made_up(800, classes), made_up(200, classes, seed=1)
    found = baseline(*train, *valid, list(range(classes)))["linear"]
    expected = scikit_learn(train, valid)
    assert found["accuracy"] > 0.4
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = made_up(900, 4), made_up(300, 4, seed=1)
    monkeypatch.setattr(module, "CHARACTERS", 1e3)  # of a second: a sample
    found = [baseline(*train, *valid, "abcd") for _ in range(2)]
    for one in found:
        del one["linear"]["seconds"]
    assert found[0] == found[1]
    assert 0 < found[0]["linear"]["texts"] < 900


def test_more_text_than_there_is_time_for_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every class keeps its share, a class of one text that text; one text cannot take it all."""
    train, valid = made_up(3000, 3), made_up(900, 3, seed=1)
    train = (["long " * 10_000, *train[0]], [3, *train[1]])
    seen: list[Any] = []
    whole = module._predicted

    def watched(*given: Any) -> Any:
        seen.append(given)
        return whole(*given)

    monkeypatch.setattr(module, "_predicted", watched)
    monkeypatch.setattr(module, "CHARACTERS", 20_000.0)
    linear = baseline(*train, *valid, "abcd", seconds=1)["linear"]
    ((texts, y, tested, _),) = seen
    assert (linear["texts"], linear["tested"]) == (len(texts), len(tested))
    assert sum(map(len, tested)) == pytest.approx(20_000 / 3, rel=0.1)
    assert sum(map(len, texts)) == pytest.approx(20_000 * 2 / 3, rel=0.1)
    assert max(map(len, texts)) < 100
    counts = np.bincount(y)
    assert counts[3] == 1
    assert np.ptp(counts[:3]) <= 1
    assert linear["accuracy"] > 0.4


@pytest.mark.parametrize("classes", [2, 700])
def test_a_sample_is_no_longer_than_it_may_be(classes: int) -> None:
    """Long texts of many classes, each of which keeps one: they are cut."""
    y = np.arange(1400) % classes
    texts, kept = module._sample(["long " * 100] * 1400, y, 6000)
    assert sum(map(len, texts)) == pytest.approx(6000, rel=0.1)
    assert set(kept) == set(y)


def test_many_classes_are_trained_on_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VISITS", 3e6)
    texts = {}
    for classes in (2, 10, 40):
        train = made_up(4000, classes)
        found = baseline(*train, *made_up(100, classes, 1), list(range(classes)), seconds=1)
        texts[classes] = found["linear"]["texts"]
        assert found["linear"]["tested"] == 100
    assert texts[2] == 4000 > texts[10] > texts[40] >= 40


@pytest.mark.slow
def test_the_time_is_bounded() -> None:
    """A second's worth, whatever there is: 300,000 texts, 150 classes, a text of 3 million words.
    Busy machines take longer; without a bound it would be minutes."""
    words = np.array([f"word{n}" for n in range(20_000)])
    drawn = words[np.random.default_rng(0).integers(0, len(words), (300_000, 20))]
    many = [" ".join(row) for row in drawn]
    for targets, classes in ((np.arange(300_000) % 2, 2), (np.arange(300_000) % 150, 150)):
        began = time.process_time()
        found = baseline(many, targets, many, targets, list(range(classes)), seconds=1)
        assert found["linear"]["texts"] < 40_000
        assert time.process_time() - began < 15
    began = time.process_time()
    baseline([" ".join(many[:150_000]), "word"], [0, 1], ["word"], [1], "ab", seconds=1)
    assert time.process_time() - began < 15


def test_nothing_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the solver was stopped early (warnings are errors in these tests)."""
    monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(module, "VISITS", 1e3)
    found = baseline(*made_up(400, 2), *made_up(40, 2), "ab", seconds=10)
    assert found["linear"] is not None


@pytest.mark.parametrize(
    ("train", "why"),
    [
        ((["", "x", "."], [0, 1, 1]), "no word of two letters or more is in the texts"),
        ((["one", "two", "three"], [1, 1, 1]), "all texts to train on are of one class"),
        (
            ([f"w{n}" for n in range(1001)], list(range(1001))),
            "1,001 classes are more than the 1,000 that there is time for",
        ),
    ],
    ids=["no words", "one class", "many classes"],
)
def test_why_there_is_no_linear_model(train: Part, why: str) -> None:
    found = baseline(*train, ["some words"], [1], list(range(1001)))
    assert (found["linear"], found["why"]) == (None, why)
    assert found["majority"]["accuracy"] in (0, 1)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    found = baseline(*TRAIN, ["so fine", "so dull"], [1, 0], ["neg", "pos"])
    assert found["linear"] is None
    assert found["why"] == "scikit-learn is not installed: pip install 'carryline[sklearn]'"
    assert found["majority"]["label"] == "pos"
    assert found["majority"]["accuracy"] == 0.5


def test_empty_validation_texts_and_words_never_seen() -> None:
    found = baseline(*TRAIN, ["", "unheard of", "\udcff"], [1, 1, 0], ["neg", "pos"])
    assert found["linear"]["tested"] == 3


def test_both_parts_need_a_text() -> None:
    with pytest.raises(InputError, match="texts in both parts, there are 7, 0"):
        baseline(*TRAIN, [], [], ["neg", "pos"])


@pytest.mark.data
def test_it_is_no_weak_baseline(shared_data: Path) -> None:
    """Near what cross-validated C gives on the official test parts: TREC 0.886, irony 0.658."""
    for name, least in (("trec", 0.875), ("tweet-irony", 0.645)):
        parts: list[Any] = []
        for part in ("train", "test"):
            with (shared_data / f"{name}-{part}.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            parts.append(([r["text"] for r in rows], [r["label"] for r in rows]))
        classes = sorted(set(parts[0][1]))
        (train, labels), (valid, held) = parts
        numbers = [[classes.index(one) for one in some] for some in (labels, held)]
        found = baseline(train, numbers[0], valid, numbers[1], classes)
        assert found["linear"]["accuracy"] > least
        assert found["majority"]["accuracy"] < found["linear"]["accuracy"]
