"""Pictures that can be read, whatever a class is called and however many there are."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryline.errors import InputError, MissingExtraError, OutputError
from carryline.evaluation import pictures
from carryline.evaluation.fonts import drawable
from carryline.evaluation.metrics import evaluate, worst_pairs
from carryline.evaluation.pictures import plot_confusion, plot_history
from samples import ODD, figures, history


def size(path: Path) -> tuple[int, int]:
    """Width and height in the head of a PNG."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    return int(width), int(height)


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved from now on."""
    seen: list[Any] = []
    save = pictures.save_figure

    def remember(figure: Any, path: Any) -> None:
        seen.append(figure)
        save(figure, path)

    monkeypatch.setattr(pictures, "save_figure", remember)
    return seen


# --- pictures


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("epochs", [1, 5, 100])
def test_history(tmp_path: Path, epochs: int, valid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = drawn(monkeypatch)
    plot_history(history(epochs, valid=valid), tmp_path / "h.png")
    width, height = size(tmp_path / "h.png")
    assert 1000 < width < 1600
    assert 400 < height < 700
    loss, accuracy = seen[0].axes
    assert (loss.get_title("left"), accuracy.get_title("left")) == ("Loss", "Accuracy")
    best = min(3, epochs) if valid else epochs
    legend = ["training", *(["validation"] if valid else []), f"kept: epoch {best}"]
    assert [text.get_text() for text in seen[0].legends[0].get_texts()] == legend
    for axes in (loss, accuracy):
        ticks = axes.get_xticks()
        assert all(tick == int(tick) for tick in ticks)
        assert len(ticks) <= 12
    if valid:
        assert list(loss.lines[1].get_ydata()) == [
            row["valid_loss"] for row in history(epochs, valid=valid)
        ]
        assert [list(axes.lines[2].get_xdata()) for axes in (loss, accuracy)] == [[best, best]] * 2


def test_history_without_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one epoch or more"):
        plot_history([], tmp_path / "h.png")


@pytest.mark.parametrize("classes", [2, 6, 12])
def test_confusion(tmp_path: Path, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = drawn(monkeypatch)
    metrics = figures([f"class {i}" for i in range(classes)])
    plot_confusion(metrics, tmp_path / "c.png")
    assert all(400 < side < 2000 for side in size(tmp_path / "c.png"))
    (axes,) = seen[0].axes
    cells = [text.get_text() for text in axes.texts]
    assert len(cells) == classes**2
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"class {i}" for i in range(classes)
    ]
    if classes == 2:
        (a, b), (c, d) = metrics["confusion"]
        assert cells[0] == f"{a}\n{a / (a + b):.0%}"
        assert cells[2] == f"{c}\n{c / (c + d):.0%}"


LONG = "balance_not_updated_after_cheque_or_cash_deposit"  # the longest of Banking77's


@pytest.mark.parametrize("classes", [77, 150, 160])
def test_confusion_of_many_classes_can_be_read(
    tmp_path: Path, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every class is named, up to 150, and no name runs into the next; the worst pairs stand there
    in words, and all of it lies on the picture."""
    seen = drawn(monkeypatch)
    names = [LONG, *(f"class_of_a_longer_name_{i}" for i in range(1, classes))]
    targets = np.arange(40 * classes) % classes
    predicted = np.where(np.arange(len(targets)) % 7 == 0, (targets * 5 + 3) % classes, targets)
    metrics = evaluate(np.eye(classes)[predicted], targets, names)
    plot_confusion(metrics, tmp_path / "c.png")
    assert max(size(tmp_path / "c.png")) < 5000
    matrix, under = seen[0].axes[:2]
    for axis in (matrix.xaxis, matrix.yaxis):
        labels = axis.get_ticklabels()
        assert [label.get_text() for label in labels] == names[:: 1 if classes <= 150 else 2]
        boxes = [label.get_window_extent() for label in labels]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
        assert all(label.get_fontsize() >= 8 for label in labels)
    assert not matrix.texts or all(
        text.get_fontsize() >= 3.5 and "\n" not in text.get_text() for text in matrix.texts
    )
    pairs = worst_pairs(metrics)
    lines = [text.get_text() for text in under.texts[3:]]
    assert lines[0] == f"{pairs[0].texts}"
    assert lines[1] == f"{pairs[0].share:.1%}"
    assert lines[2::3] == [f"{names[p.true]} → {names[p.predicted]}" for p in pairs]
    boxes = [text.get_window_extent() for text in under.texts]
    assert all(box.y1 < matrix.xaxis.get_tightbbox().y0 for box in boxes)


def test_confusion_of_many_classes_without_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = drawn(monkeypatch)
    plot_confusion(
        evaluate(np.eye(20), range(20), [f"c{i}" for i in range(20)]), tmp_path / "c.png"
    )
    assert [len(axes.texts) for axes in seen[0].axes] == [20, 0]  # the matrix and its colours


def test_confusion_with_empty_rows_and_rare_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = drawn(monkeypatch)
    metrics = figures(["a", "b"])
    metrics["confusion"] = [[0, 0], [1, 999]]
    plot_confusion(metrics, tmp_path / "c.png")
    cells = [text.get_text() for text in seen[0].axes[0].texts]
    assert cells == ["0", "0", "1\n<1%", "999\n>99%"]


def test_confusion_of_odd_names(tmp_path: Path) -> None:
    """A missing glyph would be a warning, an open formula an error."""
    plot_confusion(figures(ODD), tmp_path / "c.png")
    assert max(size(tmp_path / "c.png")) < 4000


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(), min_size=2, max_size=3))
def test_confusion_of_any_names(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "c.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion(figures(list(names)), path)
    assert size(path)


def test_names_that_no_font_has_are_escaped() -> None:
    shown, families = drawable(["plain", "\U0001d608", "$5", "ab\U00012345" * 2], 24)
    assert families[0] == "DejaVu Sans"
    assert not any(family.startswith("Last Resort") for family in families)
    assert shown[0] == "plain"
    assert shown[2] == r"\$5"
    lacking = "\U00012345"  # cuneiform
    assert shown[3] in ("ab" + lacking + "ab" + lacking, r"ab\U00012345ab\U00012345")
    assert max(map(len, drawable(["漢" * 24, "𒍅" * 24], 24)[0])) <= 24


def test_pyplot_stays_out(tmp_path: Path) -> None:
    script = "import sys; from carryline.evaluation.pictures import plot_history\n"
    script += "row = {'epoch': 1, 'loss': 1.0, 'accuracy': 0.5, 'valid_loss': None}\n"
    script += "plot_history([row], sys.argv[1])\n"
    script += "sys.exit('matplotlib.pyplot' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "h.png")], check=True, env=environment
    )
    assert size(tmp_path / "h.png")


def test_pictures_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.png"
    path.write_bytes(b"the old one")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OutputError, match=r"cannot write .*h\.png: No space left"):
            plot_history(history(2), path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]
    plot_history(history(2), path)
    assert size(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        plot_confusion(figures(["a", "b"]), tmp_path / "none" / "c.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"carryline\[plot\]"):
        plot_history(history(1), tmp_path / "h.png")
