from __future__ import annotations

import pytest

from carryline import bench
from carryline.recurrence import machine
from commands import as_json, done


def test_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    monkeypatch.setattr(bench, "BATCHES", 1)
    found = as_json("bench", "--threads", 1)
    assert found["training"]["tokens_per_second"] > 0
    rows = dict(line.split("  ", 1) for line in done("bench").stdout.splitlines())
    assert list(rows) == [
        *("processor", "cores", "instruction set", "fp32 peak", "memory"),
        *("training", "predicting", "one text"),
    ]
    assert machine.instruction_set() in rows["instruction set"]
    assert "% of the peak" in rows["predicting"]
