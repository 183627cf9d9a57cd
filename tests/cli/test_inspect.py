"""`carryline inspect`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from carryline import load
from carryline.explaining.trace import traced
from commands import PNG, as_json, done, fails

TEXT = "the old film was good"


def test_a_picture(model: Path, tmp_path: Path) -> None:
    result = done("inspect", model, TEXT, "--out", tmp_path / "inside.png", "--units", "4")
    assert result.stdout == ""
    assert result.stderr == f"wrote {tmp_path / 'inside.png'}\n"
    assert (tmp_path / "inside.png").read_bytes().startswith(PNG)


def test_values(model: Path) -> None:
    found = as_json("inspect", model, TEXT, "--direction", "backward", "--units", "3")
    classifier = load(model)
    same = traced(classifier.network, classifier.tokenizer, TEXT, 1, "backward")
    assert found["pieces"] == same.pieces
    assert found["units"] == same.liveliest(3).tolist()
    np.testing.assert_array_equal(found["states"], same.states[:, found["units"]])
    assert found["cell"] == same.cell.name and "carry" in found


def test_mistakes(model: Path, tmp_path: Path) -> None:
    assert "1 <= layer <= 1" in fails(2, "inspect", model, TEXT, "--layer", "9", "--json")
    out = tmp_path / "none" / "x.png"
    assert "--out must be in a folder that exists" in fails(2, "inspect", model, TEXT, "--out", out)
