"""Reports: what they say is true, whole, and safe to open."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline import TextClassifier
from carryline.errors import DataError
from carryline.evaluation import calibration, curves
from carryline.evaluation.suspects import suspects
from carryline.explaining.page import COLORS
from carryline.model.config import Config
from carryline.reporting import charts, sections, texts
from carryline.reporting.judged import judged
from carryline.reporting.measured import Learned, Measured
from carryline.reporting.page import STYLE
from carryline.reporting.section import Section
from carryline.text.bags import Bags
from carryline.text.vectors import Vectors
from commands import done, fails, write
from conftest import Corpus, Maker
from samples import ODD

EMPTY = {"meta", "polyline", "circle", "rect", "path", "br"}


class Checked(HTMLParser):
    """Every element that is opened is closed; its ids, links and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found["href"])] if tag == "a" else []
        assert tag not in ("script", "link", "iframe", "img", "object")
        assert not any(name.startswith("on") for name in found)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """It has no end of its own."""
        assert tag in EMPTY

    def handle_endtag(self, tag: str) -> None:
        """It must be the last one that was opened."""
        assert self.open.pop() == tag


def measured(classes: int, count: int = 300, seed: int = 0) -> Measured:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    logits = rng.standard_normal((count, classes)) + 2 * np.eye(classes)[targets]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = [
        " ".join(rng.choice(["film", "night", "of", "the"], n)) for n in rng.integers(1, 40, count)
    ]
    labels: list[Any] = [f"class {i}" for i in range(classes)]
    return Measured(drawn, targets, p.astype(np.float32), labels)


def test_a_whole_page(trained: TextClassifier, corpus: Corpus) -> None:
    page = trained.report(*corpus, name="tiny", source="some.csv", training=corpus[0][:20])
    checked = Checked(page)
    assert len(set(checked.ids)) == len(checked.ids)
    assert {link.removeprefix("#") for link in checked.links} == set(checked.ids)
    found = trained.evaluate(*corpus)
    for figure in ("accuracy", "macro_f1", "roc_auc", "loss"):
        assert f"<dd>{found[figure]:.4f}</dd>" in page
    assert "Measured on 60 labelled texts of some.csv." in page
    assert "as one of the 20 trained on" in page
    assert f"{trained.parameters:,} parameters" in page
    assert "http:" not in page and "https:" not in page and "url(" not in page


def test_without_data_it_says_what_training_measured(trained: TextClassifier) -> None:
    page = trained.report()
    Checked(page)
    assert "Measured on texts that its training held out." in page
    assert trained.metrics is not None
    assert f"<dd>{trained.metrics['accuracy']:.4f}</dd>" in page
    assert "mistakes" not in page


@pytest.mark.parametrize("classes", [2, 3, 13, 60])
def test_any_number_of_classes(make: Maker, classes: int) -> None:
    classifier = make(classes)
    rng = np.random.default_rng(0)
    said = ["the old film", "of the night", "", "music by rain", "film " * 200] * 6
    labels = [f"class {i}" for i in rng.integers(0, classes, len(said))]
    page = classifier.report(said, labels)
    Checked(page)
    assert ("True classes down" in page) == (classes <= 12)
    with pytest.raises(DataError, match="has the label 'other', which the model has never seen"):
        classifier.report(["a"], ["other"])


def test_odd_texts_and_labels_are_shown_as_they_are(corpus: Corpus) -> None:
    labels = [label for label in ODD if isinstance(label, str) and label.strip()]
    said = [
        f"{label} <img src=x onerror=alert(1)> \u202e {i}" for i, label in enumerate(labels * 3)
    ]
    settings = {"vocabulary": 300, "embedding": 4, "hidden": 4, "epochs": 1}
    classifier = TextClassifier("base", **settings)
    classifier.fit(said, labels * 3, valid=0, baseline=False)
    page = classifier.report(said, labels * 3, name="<b>", source='"><script>')
    Checked(page)
    assert "<img" not in page


def inner(section: Section | None) -> str:
    assert section is not None
    return section.inner


def test_charts_have_the_numbers() -> None:
    of = measured(2)
    shown = sections.reliability(of).inner
    error = calibration.expected_error(calibration.reliability(of.probabilities, of.targets))
    assert f"Answers are {charts.percent(error)} off" in shown
    told = inner(sections.discrimination(of))
    area = curves.area(curves.roc(of.probabilities[:, 1], of.targets == 1))
    assert f"class 1: area {area:.4f}" in told
    by_threshold, by_length = inner(sections.thresholds(of)), sections.by_length(of).inner
    for each in (shown, told, by_threshold, by_length):
        assert each.count("<figure>") == each.count("<details>") == each.count("<svg")
    assert sections.thresholds(measured(3)) is None


def test_a_section_is_framed_and_listed() -> None:
    section = Section("When to answer <b>?", "<p>inner</p>")
    at = "when-to-answer--b"
    assert section.html() == (
        f'<section id="{at}">\n<h2>When to answer &lt;b&gt;?</h2>\n<p>inner</p>\n</section>'
    )
    assert section.link() == f'<a href="#{at}">When to answer &lt;b&gt;?</a>'


def test_explained_words_have_the_colours_of_explanations() -> None:
    assert COLORS in STYLE.read_text(encoding="utf-8")


def test_points_lie_where_the_axes_say() -> None:
    x, y = charts.Axis("x", 0.0, 10.0, charts.plain), charts.share("y")
    drawn = charts.lines("a", "b", x, y, [charts.Line("l", [0, 10, 99], [0, 1, 0.5])], "")
    points = re.search(r'points="([^"]*)"', drawn)
    assert points is not None
    found = [tuple(map(float, one.split(","))) for one in points.group(1).split()]
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    top, bottom = charts.TOP, charts.HEIGHT - charts.BOTTOM
    assert found == [(left, bottom), (right, top), (right, (top + bottom) / 2)]


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.082, 0.1), (0.5, 0.6), (0.4, 0.4), (1.0, 1), (0.0113, 0.02), (0, 1)]
)
def test_the_end_of_an_axis(value: float, rounded: float) -> None:
    assert charts.round_up(value) == pytest.approx(rounded)


def test_mistakes_are_the_surest_ones(trained: TextClassifier) -> None:
    of = measured(2)
    asked: list[str] = []

    def explain(text: str) -> Any:
        asked.append(text)
        return trained.explain(text)

    shown = texts.mistakes(of, explain).inner
    wrong = sorted(np.flatnonzero(~of.right), key=lambda i: -of.sure[i])[: texts.MISTAKES]
    assert asked == [of.texts[i] for i in wrong]
    assert f"{(~of.right).sum()} of 300 answers are wrong" in shown
    right = Measured(of.texts, of.predicted, of.probabilities, of.classes)
    assert "every answer is right" in texts.mistakes(right, explain).inner


def test_twins_with_other_labels_are_told() -> None:
    said = ["the same text here", "another one", "the same text here", "The same text here"]
    of = Measured(said, np.array([0, 0, 1, 0]), np.full((4, 2), 0.5), ["a", "b"])
    learned = Learned(["another one", "x", "x"])
    shown = texts.near_duplicates(of, learned).inner
    assert "2 of the 4 texts measured here are nearly the same as an earlier one" in shown
    assert "1 as one of the 3 trained on, which makes the figures too kind;" in shown
    assert "too kind" not in texts.near_duplicates(of, Learned(["x"])).inner
    assert "1 of those trained on are as an earlier one" in shown
    assert "1 have another label than their twin" in shown
    shown = texts.near_duplicates(of, replace(learned, targets=np.array([1, 0, 1]))).inner
    assert "3 have another label than their twin" in shown  # one between, one of those trained on


def test_near_duplicates_of_training_texts_alone() -> None:
    shown = texts.near_duplicates(None, Learned(["a b", "x", "a b"], np.array([0, 0, 1]))).inner
    assert "1 of the 3 texts trained on are nearly the same as an earlier one; 1 have" in shown
    assert shown.count("<tr>") == 2


CORRUPT = 60


@pytest.fixture(scope="module")
def flipped() -> tuple[list[str], list[str], set[int]]:
    """600 texts, each of its label's words and others; a tenth of the labels is turned round."""
    rng = np.random.default_rng(0)
    words = {"bad": ["dull", "poor", "worse"], "good": ["fine", "moving", "better"]}
    said, labels = [], []
    for label in ["bad", "good"] * 300:
        drawn = [*rng.choice(words[label], 2), *rng.choice(["film", "night", "of", "the"], 4)]
        said.append(" ".join(rng.permutation(drawn)))
        labels.append(label)
    wrong = set(rng.permutation(600)[:CORRUPT].tolist())
    others = {"bad": "good", "good": "bad"}
    return said, [others[y] if i in wrong else y for i, y in enumerate(labels)], wrong


@pytest.mark.parametrize("settings", [{}, {"linear": 400}, {"linear": 400, "vectors": "english"}])
def test_labels_that_were_trained_on_are_judged_by_others(
    settings: dict[str, Any], flipped: tuple[list[str], list[str], set[int]], tiny: dict[str, Any]
) -> None:
    said, labels, wrong = flipped
    targets = np.array([label == "good" for label in labels]).astype(np.int64)
    config = Config().replace(**settings)
    bags = Bags(Vectors.english()) if "vectors" in settings else None
    done: list[int] = []
    found = judged(said, targets, ["bad", "good"], config, bags, 1, done.append)
    assert found is not None
    assert done == [0, 120, 120, 120, 120, 120]
    assert found.texts == said
    suspected = suspects(found.probabilities, found.targets)
    assert len({one.text for one in suspected[:CORRUPT]} & wrong) > 0.8 * CORRUPT
    shown = texts.wrong_training_labels(found).inner
    assert f"{len(suspected)} labels of texts trained on" in shown
    assert "a linear part, fitted five times without the texts it judges" in shown


def test_texts_alone_in_their_class_are_judged_by_none() -> None:
    said, classes = ["a b", "a c", "d e", "d f", "g"], list[Any](["x", "y", "z"])
    config, done = Config().replace(linear=99), list[int]()
    found = judged(said, np.array([0, 0, 1, 1, 2]), classes, config, None, 1, done.append)
    assert found is not None
    assert (found.texts, sum(done)) == (said[:4], 5)
    assert found.probabilities.shape == (4, 3)
    assert judged(said[::2], np.array([0, 1, 2]), classes, config, None, 1) is None


def test_class_weights_count_as_in_training() -> None:
    said, targets = ["a"] * 50, np.array([0] * 40 + [1] * 10)
    for weights, chance in (("none", 0.2), ("balanced", 0.5)):
        config = Config().replace(linear=99, class_weights=weights)
        found = judged(said, targets, ["x", "y"], config, None, 1)
        assert found is not None
        np.testing.assert_allclose(found.probabilities[:, 1], chance, atol=0.02)


def test_a_report_of_training_texts(trained: TextClassifier, corpus: Corpus) -> None:
    said, labels = corpus
    done: list[int] = []
    page = trained.report(training=said, training_labels=labels, advance=done.append)
    assert sum(done) == len(said)
    checked = Checked(page)
    assert "training-labels-to-look-at" in checked.ids
    assert "near-duplicates" in checked.ids
    assert "Measured on texts that its training held out." in page
    alone = Checked(trained.report(training=said)).ids
    assert "near-duplicates" in alone and "training-labels-to-look-at" not in alone
    with pytest.raises(DataError, match="every text needs a label: 60 texts, 1 labels"):
        trained.report(training=said, training_labels=["good"])
    with pytest.raises(DataError, match="'other', which the model has never seen"):
        trained.report(training=["a"], training_labels=["other"])


@pytest.mark.parametrize("settings", [{"linear": 300}, {"linear": 300, "vectors": "english"}])
def test_models_of_any_kind_have_their_training_labels_judged(
    settings: dict[str, Any], corpus: Corpus, tiny: dict[str, Any]
) -> None:
    """The report asks for what the model has: its n-grams, its word vectors."""
    settings = {**tiny, "epochs": 1, **settings}
    settings |= {"embedding": None} if "vectors" in settings else {}
    classifier = TextClassifier(**settings).fit(*corpus, valid=0, threads=1)
    page = classifier.report(training=corpus[0], training_labels=corpus[1], threads=1)
    assert "training-labels-to-look-at" in Checked(page).ids


def test_the_command(model: Path, tmp_path: Path) -> None:
    rows = [(f"the old {label} film {i}", label) for i, label in enumerate(["bad", "good"] * 20)]
    data = write(tmp_path / "test.csv", rows)
    out = tmp_path / "report.html"
    assert done("report", model, data, "--training", data, "--out", out).stderr.endswith(
        f"wrote {out}\n"
    )
    Checked(out.read_text(encoding="utf-8"))
    assert 'id="training-labels-to-look-at"' in out.read_text(encoding="utf-8")
    assert "--out must end in .html" in fails(2, "report", model, "--out", tmp_path / "x.txt")
    absent = tmp_path / "none" / "x.html"
    assert "must be in a folder that exists" in fails(2, "report", model, "--out", absent)


def test_training_data_without_labels_is_looked_at_all_the_same(
    model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "train.csv"
    data.write_text("text,date\nthe old film,1\nthe old film,2\n", encoding="utf-8")
    out = tmp_path / "report.html"
    said = done("report", model, "--training", data, "--out", out).stderr
    assert "--training without labels: column 'label' is not in" in said
    page = out.read_text(encoding="utf-8")
    assert "1 of the 2 texts trained on" in page
    assert "training-labels-to-look-at" not in page
    absent = fails(2, "report", model, "--training", tmp_path / "none.csv", "--out", out)
    assert "no such file" in absent and "without labels" not in absent
