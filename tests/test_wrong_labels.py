"""benchmarks/wrong_labels.py on made-up texts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import sentences, write

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # as when one of them is run

import text_sets  # noqa: E402
import wrong_labels  # noqa: E402


def test_labels_made_wrong_are_among_the_first_suspects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "tweet-irony-train.csv", sentences(400))
    given = ["--data", str(tmp_path), "--sets", "tweet-irony", "--texts", "200", "--threads", "1"]
    assert wrong_labels.main(given) == 0
    *printed, last = capsys.readouterr().out.splitlines()
    ways = json.loads(last)["sets"]["tweet-irony"]
    assert list(ways) == ["n-grams", "n-grams and vectors"]
    for one in ways.values():
        assert one["wrong"] == round(0.05 * one["texts"])
        assert one["precision"] > 0.5  # at random a twentieth
        assert one["found"] >= one["precision"]
        assert one["seconds"] > 0
    assert sum(line.startswith("tweet-irony") for line in printed) == 2


def test_a_label_made_wrong_is_another_one() -> None:
    targets = np.random.default_rng(1).integers(0, 3, 400)
    changed, wrong = wrong_labels.made_wrong(targets, 0.05, np.random.default_rng(0))
    assert sorted(wrong) == np.flatnonzero(changed != targets).tolist()
    assert len(wrong) == 20
    assert set(changed) == {0, 1, 2}


def test_no_text_is_drawn_twice() -> None:
    part = text_sets.Part(["a", "b", "a", "c"], ["x", "y", "y", "x"])
    drawn = wrong_labels.distinct(part, 9, 0)
    assert sorted(zip(drawn.texts, drawn.labels, strict=True)) == [
        ("a", "x"), ("b", "y"), ("c", "x"),
    ]  # fmt: skip


def test_a_missing_set_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong_labels.main(["--data", str(tmp_path), "--sets", "trec"]) == 2
    assert "trec" in capsys.readouterr().err
