"""Report: pictures that draw whatever a class is called, and a card that says what is true."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryline.errors import InputError, MissingExtraError, OutputError
from carryline.evaluation.fonts import drawable
from carryline.evaluation.metrics import evaluate
from carryline.evaluation.report import model_card, plot_confusion, plot_history
from carryline.model.config import preset
from carryline.text.data import Label

ODD: list[Label] = [
    "$x^2$", "a$b", r"\$", "漢字", "مرحبا", "e\u0301" * 40, "🎬", "\x00\n\ud800", "", " ",
    "|a|b|", "<script>", "`x`", "*_~#", "[x](http://y.z)", "&amp;", "long " * 99, 3, 2.5, True,
    "\U0001d608\u1d81", "\u0378",
]  # fmt: skip


def figures(classes: list[Label], texts: int = 200) -> dict[str, Any]:
    random = np.random.default_rng(0)
    targets = random.integers(0, len(classes), texts)
    chances = random.dirichlet(np.ones(len(classes)), texts)
    chances[np.arange(texts), targets] += 0.5
    return evaluate(chances / chances.sum(1, keepdims=True), targets, classes)


def history(epochs: int, *, valid: bool = True) -> list[dict[str, Any]]:
    """The validation loss is lowest in the third epoch."""
    return [
        {
            "epoch": e,
            "loss": 1 / e,
            "accuracy": 1 - 0.5 / e,
            "valid_loss": 0.5 + abs(e - 3) / 10 if valid else None,
            "valid_accuracy": 0.8 if valid else None,
            "learning_rate": 1e-3,
            "tokens_per_second": 123456.7,
            "seconds": 1.25,
        }
        for e in range(1, epochs + 1)
    ]


def size(path: Path) -> tuple[int, int]:
    """Width and height in the head of a PNG."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    return int(width), int(height)


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved from now on."""
    from matplotlib.figure import Figure

    seen: list[Any] = []
    save = Figure.savefig

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
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


@pytest.mark.parametrize("classes", [2, 6, 30, 70])
def test_confusion(tmp_path: Path, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = drawn(monkeypatch)
    metrics = figures([f"class {i}" for i in range(classes)])
    plot_confusion(metrics, tmp_path / "c.png")
    width, height = size(tmp_path / "c.png")
    assert 400 < width < 4000
    assert 400 < height < 4000
    axes = seen[0].axes[0]
    cells = [text.get_text() for text in axes.texts]
    assert len(cells) == (classes**2 if classes <= 60 else 0)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"class {i}" for i in range(0, classes, 1 if classes <= 60 else 2)]
    if classes == 2:
        (a, b), (c, d) = metrics["confusion"]
        assert cells[0] == f"{a}\n{a / (a + b):.0%}"
        assert cells[2] == f"{c}\n{c / (c + d):.0%}"


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
    shown, families = drawable(["plain", "\U0001d608", "$5", "ab\U00012345" * 2])
    assert families[0] == "DejaVu Sans"
    assert not any(family.startswith("Last Resort") for family in families)
    assert shown[0] == "plain"
    assert shown[2] == r"\$5"
    lacking = "\U00012345"  # cuneiform
    assert shown[3] in ("ab" + lacking + "ab" + lacking, r"ab\U00012345ab\U00012345")
    assert max(map(len, drawable(["漢" * 24, "𒍅" * 24])[0])) <= 24


def test_pyplot_stays_out(tmp_path: Path) -> None:
    script = "import sys; from carryline.evaluation.report import plot_history\n"
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
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"carryline\[train\]"):
        plot_history(history(1), tmp_path / "h.png")


# --- the card


def card(classes: list[Label], *, held: bool = True, mask: bool = True) -> str:
    return model_card(
        preset("lecture-stacked", mask=mask),
        classes,
        635329,
        history(4, valid=held),
        figures(classes) if held else None,
        "the validation part",
    )


def tables(markdown: str) -> list[list[list[str]]]:
    """The cells of each table, as a reader of Markdown sees them."""
    from markdown_it import MarkdownIt

    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level == 4:
            assert {t.type for t in token.children or []} <= {"text", "text_special", "code_inline"}
            found[-1][-1].append("".join(t.content for t in token.children or []))
    return found


def test_card() -> None:
    text = card(["neg", "pos"])
    metrics = figures(["neg", "pos"])
    for part in (
        "each of 2 classes: neg, pos.",
        "2 layers of lstm cells",
        "635,329 parameters",
        "Measured on the validation part, 200 texts.",
        "(plots/history.png)",
        "(plots/confusion.png)",
        'carryline.load("MODEL")',
        'carryline predict MODEL "a text of yours"',
        "\n## Limits\n",
    ):
        assert part in text
    totals, per_class, made, epochs = tables(text)
    assert totals[1][0] == f"{metrics['accuracy']:.2%}"
    assert totals[1][1:] == [f"{metrics[key]:.4f}" for key in ("loss", "macro_f1", "roc_auc")]
    assert [row[0] for row in per_class] == ["class", "neg", "pos"]
    assert ["hidden", "[64, 32]"] in made
    assert ["preset", "lecture-stacked"] in made
    assert len(made) == 1 + len(preset("lecture").to_dict())
    assert [row[0] for row in epochs] == ["epoch", "1", "2", "3 (kept)", "4"]
    assert epochs[1][1:4] == ["1.0000", "50.00%", "0.7000"]


def test_card_without_validation() -> None:
    text = card(["neg", "pos"], held=False)
    assert "nobody knows" in text
    assert "Measured" not in text
    assert "confusion.png" not in text
    assert text.count("(kept)") == 1
    assert tables(text)[-1][1][3:5] == ["–", "–"]


def test_card_of_a_model_that_reads_padding() -> None:
    assert "mask = false" in card(["a", "b"], mask=False)
    assert "mask = false" not in card(["a", "b"])


def test_card_survives_odd_names() -> None:
    text = card(ODD)
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
    per_class = tables(text)[1]
    assert len(per_class) == len(ODD) + 1
    seen = dict(zip(map(str, ODD), per_class[1:], strict=True))
    for label in ("$x^2$", "|a|b|", "<script>", "`x`", "*_~#", "[x](http://y.z)", "&amp;", r"\$"):
        assert seen[label][0] == label
    assert all(len(row) == 5 for row in per_class)


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=60)
)
def test_card_shows_a_name_as_it_is(label: str) -> None:
    text = model_card(preset("base"), [label, "b"], 1, [], figures([label, "b"], 9), label)
    assert tables(text)[1][1][0] == label


def test_card_of_many_classes_names_some() -> None:
    assert "c19 and 30 more." in card([f"c{i}" for i in range(50)])
