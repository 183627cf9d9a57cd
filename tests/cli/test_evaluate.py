from __future__ import annotations

import json
from pathlib import Path

import carryline
from carryline.text.data import read
from commands import RESULT, as_json, done, fails, sentences, write


def test_evaluate(model: Path, test_csv: Path) -> None:
    table = done("evaluate", model, test_csv, "--threads", 1).stdout
    for part in ("precision", "macro F1", "ROC-AUC", "loss", "true \\ predicted", "texts/s"):
        assert part in table
    found = as_json("evaluate", model, test_csv)
    assert found.keys() >= {*RESULT, "confusion", "per_class"} - {
        *("epochs", "best_epoch", "interrupted", "model", "account", "baseline")
    }
    assert (found["texts"], sum(map(sum, found["confusion"]))) == (40, 40)
    assert found["parameters"] == carryline.load(model).parameters
    assert f"{found['loss']:.4f}" in table


def test_evaluate_refuses_a_class_it_has_never_seen(model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.csv", [*sentences(3), ("What a film.", "so-so")])
    error = fails(2, "evaluate", model, data)
    assert "row 4" in error
    assert "'so-so'" in error
    assert "neg, pos" in error


def test_the_figures_are_those_of_the_classifier(model: Path, test_csv: Path) -> None:
    data = read(test_csv)
    expected = carryline.load(model).evaluate(data.texts, data.labels or [])
    found = as_json("evaluate", model, test_csv)
    for key in expected.keys() - {"seconds", "tokens_per_second"}:
        assert found[key] == expected[key], key
    assert found["tokens_per_second"] == found["tokens"] / found["seconds"]


def test_several_sources_and_bad_rows(model: Path, test_csv: Path, tmp_path: Path) -> None:
    rows = [*sentences(3), *[("No label.", "")] * 8]
    other = write(tmp_path / "d.csv", rows, "review,sentiment")
    named = ["--text", "review", "--label", "sentiment"]
    error = fails(2, "evaluate", model, other)
    assert "row 4 (line 5) has no label in column 'sentiment'; rows without one: 8 of 11" in error
    result = done("evaluate", model, other, other, *named, "--skip-bad-rows", "--json")
    assert json.loads(result.stdout)["texts"] == 6
    said = result.stderr.splitlines()
    assert said[0] == "rows skipped, as they cannot be used: 16"
    assert said[1] == f"  {other}: row 4 (line 5) has no label in column 'sentiment'"
    assert (said[6], len(said)) == ("  and 11 more", 7)
    assert as_json("evaluate", model, test_csv, "--limit", 7)["texts"] == 7
    guessed = done("evaluate", model, other, "--skip-bad-rows").stderr
    assert "the label is taken from column 'sentiment' (--label names another)" in guessed
