"""benchmarks/explanations.py on made-up texts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from carryline import TextClassifier
from carryline.errors import ConfigError
from carryline.explaining.explanation import Explanation, Span
from commands import PNG, sentences, write

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # as when one of them is run

import explanations  # noqa: E402
import text_sets  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and a model of it."""
    path = tmp_path_factory.mktemp("sets")
    rows = sentences(120)
    write(path / "tweet-irony-train.csv", rows)
    classifier = TextClassifier("base", vocabulary=400, embedding=8, hidden=8, learning_rate=0.02)
    texts, labels = zip(*rows, strict=True)
    classifier.fit(texts, labels, baseline=False).save(path / "model")
    return path


def test_marked_words_matter_more_than_random_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One word of a made-up review says all."""
    given = ["--data", folder, "--sets", "tweet-irony", "--texts", "12"]
    given += ["--model", f"tweet-irony={folder / 'model'}", "--out", folder / "curves.png"]
    assert explanations.main([str(one) for one in given]) == 0
    *printed, last = capsys.readouterr().out.splitlines()
    ways = json.loads(last)["sets"]["tweet-irony"]["ways"]
    assert any(line.split()[:2] == ["tweet-irony", "gradients"] for line in printed)
    for way in ("gradients", "occlusion"):
        assert ways[way]["deletion"] < ways["random"]["deletion"]
        assert ways[way]["insertion"] > ways["random"]["insertion"]
        whole, none = ways[way]["curves"][0][0], ways[way]["curves"][0][-1]
        assert ways[way]["curves"][1][0] == pytest.approx(none)
        assert ways[way]["curves"][1][-1] == pytest.approx(whole)
        assert ways[way]["ms"] > 0
    assert (folder / "curves.png").read_bytes().startswith(PNG)


def test_the_order_leaves_white_space_out() -> None:
    spans = (Span(0, 1, 0.0, 2.0), Span(1, 2, 0.0, 9.0), Span(2, 3, 3.0, 0.0))
    found = Explanation("a\nb", ("x", "y"), (0.5, 0.5), "x", 0.0, spans, "gradients")
    assert explanations.ordered(found, lambda span: span.part) == [2, 0]
    assert explanations.ordered(found, lambda span: span.linear) == [2, 0]


def test_a_missing_set_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explanations.main(["--data", str(folder), "--sets", "trec"]) == 2
    assert "trec" in capsys.readouterr().err


def test_curves_begin_and_end_alike(folder: Path) -> None:
    from carryline import load

    classifier = load(folder / "model")
    text = sentences(1)[0][0]
    found = classifier.explain(text)
    order = explanations.ordered(found, lambda span: span.part)
    away, left = explanations.curves(classifier, found, order)
    assert away[0] == left[-1] == np.float32(found.probability)
    assert away[-1] == left[0]


def test_texts_of_so_many_words() -> None:
    part = text_sets.Part(["a b", "a b c d e", "a " * 11, "b " * 9], [0, 1, 0, 1])
    given = explanations.arguments(["--words", "10"])
    assert sorted(explanations.chosen(part, given)) == ["a " * 11, "b " * 9]
    with pytest.raises(ConfigError, match="--words"):
        explanations.chosen(part, explanations.arguments(["--words", "30"]))
