"""Metrics: figures worked out by hand, and a table that lines up."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from carryline.errors import InputError
from carryline.evaluation.metrics import comparison, evaluate, name, table, worst_pairs
from carryline.text.data import Label

# rows: predicted 1, 0, 0, 1 (true 1, 0, 1, 1)
TWO = np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9]], np.float32)
TRUE = [1, 0, 1, 1]


def test_two_classes_by_hand() -> None:
    figures = evaluate(TWO, TRUE, ["neg", "pos"])
    assert figures["texts"] == 4
    assert figures["accuracy"] == 0.75
    assert figures["loss"] == pytest.approx(-np.log([0.8, 0.7, 0.4, 0.9]).mean(), rel=1e-6)
    assert figures["confusion"] == [[1, 0], [1, 2]]
    assert figures["roc_auc"] == 1.0
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    neg, pos = figures["per_class"]
    assert neg == {
        "label": "neg",
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 1,
    }
    assert pos == {
        "label": "pos",
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(4 / 5),
        "support": 3,
    }


def test_ranking_of_two_classes_is_that_of_class_1() -> None:
    """The area is the share of pairs in the right order; here 1 of 2 positives beats the other."""
    chances = np.array([0.9, 0.5, 0.6])
    assert evaluate(np.stack([1 - chances, chances], 1), [1, 1, 0], "ab")["roc_auc"] == 0.5


def test_three_classes_by_hand() -> None:
    chances = [[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]]
    figures = evaluate(chances, [0, 1, 2, 1], ["a", 2, True])
    assert figures["accuracy"] == 0.75
    assert figures["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert [row["label"] for row in figures["per_class"]] == ["a", 2, True]
    # each class against the rest: 3 of 3, 4 of 4 and 3 of 3 pairs in order
    assert figures["roc_auc"] == 1.0
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_an_absent_class() -> None:
    figures = evaluate([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [0, 1], "abc")
    assert figures["roc_auc"] is None
    assert figures["per_class"][2] == {
        "label": "c",
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 0,
    }
    assert figures["macro_f1"] == 1  # of the two that were measured
    assert figures["unmeasured"] == ["c"]
    assert evaluate([[0.7, 0.3]], [0], "ab")["roc_auc"] is None


def test_macro_f1_is_of_the_classes_that_have_a_text() -> None:
    """Answering with an absent class costs the class that was meant."""
    figures = evaluate([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [0, 1], ["a", "b", "c"])
    assert figures["macro_f1"] == pytest.approx((1 + 0) / 2)
    assert figures["unmeasured"] == ["c"]
    assert evaluate(TWO, TRUE, ["neg", "pos"])["unmeasured"] == []


def test_the_lowest_class_wins_a_tie() -> None:
    figures = evaluate([[0.5, 0.5], [0.5, 0.5]], [0, 1], "ab")
    assert figures["confusion"] == [[1, 0], [1, 0]]


def test_certainty_has_a_finite_loss() -> None:
    right = evaluate(np.eye(2, dtype=np.float32), [0, 1], "ab")["loss"]
    wrong = evaluate(np.eye(2, dtype=np.float32), [1, 0], "ab")["loss"]
    assert math.copysign(1, right) == 1
    assert right == 0
    assert wrong == pytest.approx(-math.log(np.finfo(np.float64).eps))


def scikit_learn(p: Any, y: Any, classes: int) -> dict[str, Any]:
    """The same figures as scikit-learn makes them."""
    predicted, numbers = p.argmax(axis=1), range(classes)
    each = sk.precision_recall_fscore_support(y, predicted, labels=numbers, zero_division=0)
    present = np.unique(y)
    scored = numbers if classes > 2 else [1]
    every = len(present) == classes
    return {
        "accuracy": sk.accuracy_score(y, predicted),
        "macro_f1": sk.f1_score(y, predicted, labels=present, average="macro", zero_division=0),
        "roc_auc": np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in scored]) if every else None,
        "confusion": sk.confusion_matrix(y, predicted, labels=numbers).tolist(),
        "per_class": np.transpose(each),  # [classes, 4] precision, recall, F1, texts
    }


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Any, int]:
    """Probabilities, targets and the number of classes: with ties and without, with classes that
    are missing, few texts and many classes."""
    classes = draw(st.one_of(st.integers(2, 5), st.integers(6, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    texts = draw(st.one_of(st.just(1), st.integers(2, 12), st.integers(13, 400)))
    y = rng.integers(0, draw(st.integers(1, classes)), texts)
    if draw(st.booleans()):  # every class is there
        y = np.concatenate([y, np.arange(classes)])
    p = rng.dirichlet([draw(st.sampled_from([0.05, 0.5, 5.0]))] * classes, len(y))
    p[np.arange(len(y)), y] *= 1 + draw(st.sampled_from([0.0, 1.0, 20.0]))  # it has learned
    p /= p.sum(axis=1, keepdims=True)
    digits = draw(st.sampled_from([0, 1, 2, None]))
    return (p if digits is None else p.round(digits)), y, classes


@settings(max_examples=300)
@given(cases())
@example((np.full((4, 2), 0.5), np.array([0, 1, 1, 0]), 2))
@example((np.array([[0.4, 0.6]]), np.array([1]), 2))
@example((np.eye(3)[[2, 0, 1]], np.arange(3), 3))
def test_figures_are_those_of_scikit_learn(case: tuple[Any, Any, int]) -> None:
    p, y, classes = case
    ours, theirs = evaluate(p, y, list(range(classes))), scikit_learn(p, y, classes)
    assert ours["confusion"] == theirs["confusion"]
    assert (ours["roc_auc"] is None) == (theirs["roc_auc"] is None)
    keys = ("accuracy", "macro_f1", "roc_auc")
    found, wanted = (np.array([one[key] for key in keys], float) for one in (ours, theirs))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    each = [[row[k] for k in ("precision", "recall", "f1", "support")] for row in ours["per_class"]]
    np.testing.assert_allclose(each, theirs["per_class"], rtol=0, atol=1e-12)


@settings(deadline=None)
@given(st.data())
def test_figures_fit_together_and_are_json(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 6))
    targets = data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=30))
    seed = data.draw(st.integers(0, 99))
    chances = np.random.default_rng(seed).dirichlet([0.2] * classes, len(targets))
    figures = evaluate(chances.astype(np.float32), np.array(targets), list(range(classes)))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    confusion = np.array(figures["confusion"])
    assert confusion.sum() == figures["texts"] == len(targets)
    assert np.trace(confusion) / len(targets) == pytest.approx(figures["accuracy"])
    assert confusion.sum(1).tolist() == [row["support"] for row in figures["per_class"]]
    assert figures["macro_f1"] == pytest.approx(
        np.mean([row["f1"] for row in figures["per_class"] if row["support"]])
    )
    assert table(figures)


@pytest.mark.parametrize(
    ("chances", "targets", "classes", "message"),
    [
        (TWO, TRUE, "a", "two classes or more, there is 1"),
        (TWO[:0], [], "ab", "one text or more"),
        (TWO, [0.5] * 4, "ab", "not float64"),
        (TWO, TRUE[:3], "ab", r"are \(3, 2\) for these targets, not \(4, 2\)"),
        (TWO, TRUE, "abc", r"are \(4, 3\)"),
        (TWO[:, 1], TRUE, "ab", r"not \(4,\)"),
        (TWO, [1, 0, 1, 2], "ab", "from 0 to 1, these from 0 to 2"),
        (TWO, [1, 0, 1, -1], "ab", "these from -1 to 1"),
        (TWO * np.nan, TRUE, "ab", "these from nan"),
        (TWO + 1, TRUE, "ab", "these from 1.1"),
    ],
)
def test_what_does_not_fit(
    chances: Any, targets: Any, classes: Sequence[Label], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(chances, targets, list(classes))


# --- the table


def test_table() -> None:
    assert table(evaluate(TWO, TRUE, ["neg", "pos"])).splitlines() == [
        "class  precision  recall      F1  texts",
        "neg       0.5000  1.0000  0.6667      1",
        "pos       1.0000  0.6667  0.8000      3",
        "",
        "accuracy  0.7500",
        "macro F1  0.7333",
        "ROC-AUC   1.0000",
        "loss      0.4004",
        "texts          4",
        "",
        "true \\ predicted  neg  pos",
        "neg                 1    0",
        "pos                 1    2",
    ]


def test_table_with_a_class_missing() -> None:
    lines = table(evaluate([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [0, 1], "abc")).splitlines()
    assert lines[3].split() == ["c", "–", "–", "–", "0"]
    assert "ROC-AUC   one class is missing" in lines
    said = "not measured: no text of c; macro F1 is of the other 2 classes"
    assert said in lines
    older = evaluate([[0.7, 0.3]], [0], "ab")
    del older["unmeasured"]  # as in model directories of 0.1.0
    assert "not measured: no text of b; macro F1 is of the other class alone" in table(older)


def test_many_unmeasured_classes_are_counted() -> None:
    figures = evaluate(np.eye(15)[[0, 1]], [0, 1], [f"c{i}" for i in range(15)])
    said = "not measured: no text of c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 and 3 more"
    assert said in table(figures)


def test_table_lines_up_whatever_the_names() -> None:
    classes: list[Label] = ["漢字だ", "e\u0301te\u0301", "x\ny\x1b[31m", "long " * 30, 7, True]
    chances = np.full((6, 6), 1 / 6)
    lines = table(evaluate(chances, range(6), classes)).splitlines()
    assert len(lines) == 7 + 1 + 5 + 1 + 7  # no name breaks a line
    assert r"x\ny\x1b[31m" in lines[3]
    columns = [
        len(line) + sum(c in "漢字だ" for c in line) - line.count("\u0301") for line in lines[:7]
    ]
    assert len(set(columns)) == 1


def test_table_of_many_classes_lists_the_largest_confusions() -> None:
    targets = [0, 0, 0, 1, 2, *range(20)]
    predicted = [5, 5, 5, 7, 7, *range(20)]
    figures = evaluate(np.eye(20)[predicted], targets, [f"c{i}" for i in range(20)])
    lines = table(figures).splitlines()
    assert max(map(len, lines)) < 80
    assert [line.split() for line in lines[-3:]] == [
        ["c0", "→", "c5", "3", "75.0%"],
        ["c1", "→", "c7", "1", "50.0%"],
        ["c2", "→", "c7", "1", "50.0%"],
    ]


def test_the_worst_pairs() -> None:
    figures = evaluate(np.eye(3)[[1, 1, 0, 0, 1, 2, 0]], [0, 0, 0, 1, 1, 1, 2], "abc")
    assert worst_pairs(figures) == [
        (0, 1, 2, pytest.approx(2 / 3)),
        (2, 0, 1, 1.0),  # of equals the larger share of its class first
        (1, 0, 1, pytest.approx(1 / 3)),
        (1, 2, 1, pytest.approx(1 / 3)),
    ]
    assert len(worst_pairs(figures, 2)) == 2
    assert worst_pairs(evaluate(np.eye(2), [0, 1], "ab")) == []


# --- beside a baseline


def beside(
    accuracy: float, f1: float, linear: tuple[float, float] | None, majority: float = 0.5
) -> dict[str, Any]:
    figures = None
    if linear is not None:
        figures = {"name": "TF-IDF + logistic regression", "accuracy": linear[0]}
        figures |= {"macro_f1": linear[1], "texts": 9000, "seconds": 1.25}
    baseline = {
        "majority": {"label": "pos", "accuracy": majority, "macro_f1": majority / 2},
        "linear": figures,
        "why": "" if linear else "it took more than 30 s",
    }
    return {"accuracy": accuracy, "macro_f1": f1, "baseline": baseline}


def test_comparison() -> None:
    assert comparison(beside(0.772, 0.7719, (0.7994, 0.7993))).splitlines() == [
        "                              accuracy  macro F1",
        "this model                      0.7720    0.7719",
        "TF-IDF + logistic regression    0.7994    0.7993",
        "always pos                      0.5000    0.2500",
        "",
        "TF-IDF + logistic regression is ahead of this model in accuracy and macro F1, and is the "
        "simpler one.",
        "TF-IDF + logistic regression learned from 9,000 texts in 1.2 s.",
    ]
    sampled = beside(0.9, 0.9, (0.8, 0.8))
    sampled["baseline"]["linear"]["of"] = 20_000
    assert "learned from 9,000 of 20,000 texts in" in comparison(sampled)


@pytest.mark.parametrize(
    ("linear", "by"), [((0.81, 0.7), "accuracy,"), ((0.8, 0.81), "macro F1,"), ((0.8, 0.7), "")]
)
def test_who_is_ahead(linear: tuple[float, float], by: str) -> None:
    text = comparison(beside(0.8, 0.8, linear))
    assert ("is ahead" in text) == bool(by)
    assert f"ahead of this model in {by}" in text or not by


def test_a_moment_is_not_nothing() -> None:
    metrics = beside(0.8, 0.8, (0.7, 0.7))
    metrics["baseline"]["linear"]["seconds"] = 0.01
    assert "from 9,000 texts in less than 0.1 s." in comparison(metrics)


def test_comparison_without_one() -> None:
    assert comparison(evaluate(TWO, TRUE, ["neg", "pos"])) == ""
    assert comparison({**evaluate(TWO, TRUE, ["neg", "pos"]), "baseline": None}) == ""
    text = comparison(beside(0.5, 0.25, None))
    assert "No linear model stands beside it: it took more than 30 s." in text
    assert "Always answering pos does as well: this model has learned nothing of use." in text
    assert "nothing of use" not in comparison(beside(0.5, 0.4, None))


def test_names_are_shortened_in_the_middle() -> None:
    assert name("short") == "short"
    assert name("abcdefghij", 5) == "ab…ij"
    assert name("abcdefghij", 6) == "abc…ij"
    assert len(name("x" * 99)) == 24
    assert name("x\n" * 99, 9) == name(r"x\n" * 99, 9)
