"""Reports: what they say is true, whole, and safe to open."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline import TextClassifier
from carryline.errors import DataError
from carryline.evaluation import calibration, curves
from carryline.reporting import charts, sections, texts
from carryline.reporting.measured import Measured
from carryline.reporting.section import Section
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
    shown = texts.near_duplicates(of, ["another one", "x", "x"]).inner
    assert "2 of the 4 texts measured here are nearly the same as an earlier one" in shown
    assert "1 as one of the 3 trained on" in shown
    assert "1 of those trained on are as an earlier one" in shown
    assert "1 have another label than their twin" in shown


def test_the_command(model: Path, tmp_path: Path) -> None:
    rows = [(f"the old {label} film {i}", label) for i, label in enumerate(["bad", "good"] * 20)]
    data = write(tmp_path / "test.csv", rows)
    out = tmp_path / "report.html"
    assert done("report", model, data, "--training", data, "--out", out).stderr.endswith(
        f"wrote {out}\n"
    )
    Checked(out.read_text(encoding="utf-8"))
    assert "--out must end in .html" in fails(2, "report", model, "--out", tmp_path / "x.txt")
    absent = tmp_path / "none" / "x.html"
    assert "must be in a folder that exists" in fails(2, "report", model, "--out", absent)
