from __future__ import annotations

from pathlib import Path

from commands import RESULT, as_json, done, fails, sentences, write

import carryline


def test_evaluate(model: Path, test_csv: Path) -> None:
    table = done("evaluate", model, test_csv, "--threads", 1).stdout
    for part in ("precision", "macro F1", "ROC-AUC", "loss", "true \\ predicted", "texts/s"):
        assert part in table
    found = as_json("evaluate", model, test_csv)
    assert found.keys() >= {*RESULT, "confusion", "per_class"} - {
        *("epochs", "best_epoch", "interrupted", "model")
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
