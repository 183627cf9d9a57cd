from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from carryline import load
from commands import PNG, done, fails


def test_plot(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "plots")
    pictures = tmp_path / "new" / "pictures"
    for folder, options in [(copy / "plots", []), (pictures, ["--output", str(pictures)])]:
        files = done("plot", copy, *options).stdout.splitlines()
        assert files == [str(folder / "history.png"), str(folder / "confusion.png")]
        assert all(Path(file).read_bytes().startswith(PNG) for file in files)


def test_without_matplotlib_nothing_is_begun(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for options in ([], ["--output", tmp_path / "new"]):
        said = fails(2, "plot", copy, *options)
        assert "drawing a picture needs the package 'matplotlib'" in said
        assert said.rstrip().endswith("pip install 'carryline[plot]'")
    assert not (tmp_path / "new").exists()


def test_the_card_of_a_model_saved_without_matplotlib_gets_its_pictures(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        load(model).save(tmp_path / "bare")
    card = tmp_path / "bare" / "README.md"
    assert "plots/" not in card.read_text(encoding="utf-8")
    done("plot", tmp_path / "bare", "--output", tmp_path / "elsewhere")
    assert "plots/" not in card.read_text(encoding="utf-8")
    done("plot", tmp_path / "bare")
    assert card.read_bytes() == (model / "README.md").read_bytes()
    assert {f"plots/{file.name}" in card.read_text() for file in card.parent.glob("plots/*")} == {
        True
    }
