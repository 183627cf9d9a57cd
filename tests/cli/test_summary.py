from __future__ import annotations

from pathlib import Path

import carryline
from commands import as_json, done


def test_summary_of_a_preset() -> None:
    table = done("summary", "--preset", "lecture").stdout
    for count in ("523,840", "66,048", "8,256", "598,209"):
        assert count in table
    assert as_json("summary", "--preset", "lecture")["parameters"] == 598_209
    assert as_json("summary", "--preset", "lecture-stacked")["parameters"] == 635_329
    changed = as_json("summary", "--preset", "lecture", "--set", "hidden=[64,32]")
    assert changed["parameters"] == 635_329
    assert changed["config"]["hidden"] == [64, 32]


def test_summary_of_a_model(model: Path) -> None:
    found = as_json("summary", model)
    assert found["parameters"] == carryline.load(model).parameters
    assert found["classes"] == ["neg", "pos"]
    assert f"{found['parameters']:,}" in done("summary", model).stdout
