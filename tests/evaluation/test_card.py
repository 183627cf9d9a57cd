"""The card: plain, true, whatever a class is called."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryline import load
from carryline.evaluation.card import illustrate, illustrated, model_card
from carryline.evaluation.metrics import evaluate
from carryline.model.config import preset
from carryline.text.data import Label
from samples import ODD, figures, history

MADE: dict[str, Any] = {
    "carryline": "0.1.0",
    "date": "2026-11-25T16:00:00Z",
    "texts": 1800,
    "validation_texts": 200,
    "class_counts": [1000, 800],
    "sources": [{"name": "my reviews.csv", "sha256": "ab" * 32}],
}


def card(
    classes: list[Label],
    *,
    held: bool = True,
    made: dict[str, Any] | None = None,
    epochs: int = 4,
    metrics: dict[str, Any] | None = None,
    **settings: Any,
) -> str:
    return model_card(
        preset("lecture-stacked", epochs=epochs, **settings),
        classes,
        635329,
        history(4, valid=held),
        metrics or (figures(classes) if held else None),
        "the validation part",
        made,
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
        'carryline.load("MODEL")',
        'carryline predict MODEL "a text of yours"',
        "\n## Limits\n",
    ):
        assert part in text
    assert "plots/" not in text
    totals, per_class, confused, made, epochs = tables(text)
    assert totals[1][0] == f"{metrics['accuracy']:.2%}"
    assert totals[1][1:] == [f"{metrics[key]:.4f}" for key in ("loss", "macro_f1", "roc_auc")]
    assert [row[0] for row in per_class] == ["class", "neg", "pos"]
    assert confused[0] == ["true → predicted", "texts", "of the true class"]
    (_, b), (c, _) = metrics["confusion"]
    rows = [["neg → pos", f"{b}"], ["pos → neg", f"{c}"]]
    assert [row[:2] for row in confused[1:]] == (rows if b > c else rows[::-1])
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


# --- what could not be measured


def test_a_class_without_a_text_is_said() -> None:
    figures = evaluate([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [0, 1], ["a", "b", "*c*"])
    text = card(["a", "b", "*c*"], metrics=figures)
    assert "Not measured: no text of \\*c\\*; macro F1 is of the other 2 classes." in text
    assert tables(text)[1][3] == ["*c*", "–", "–", "–", "0"]
    assert "What it confuses" not in text


def test_what_is_said_of_validation_is_true_without_any() -> None:
    assert "kinder" in card(["a", "b"])
    assert "kinder" not in card(["a", "b"], held=False)


# --- pictures


def test_only_pictures_that_were_drawn_are_linked() -> None:
    text = card(["a", "b"])
    assert text.count("not drawn. `carryline plot MODEL` draws it") == 2
    one = illustrated(text, ["history.png"])
    assert "![Loss and accuracy by epoch](plots/history.png)" in one
    assert "confusion.png" not in one
    both = illustrated(one, ["history.png", "confusion.png"])
    assert "not drawn" not in both
    assert "![Confusion matrix](plots/confusion.png)" in both
    assert "Confusion matrix: not drawn" not in card(["a", "b"], held=False)


def links(folder: Path) -> list[str]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    found = [name for name in ("confusion.png", "history.png") if f"](plots/{name})" in text]
    assert all((folder / "plots" / name).is_file() for name in found)
    return found


def test_the_card_of_a_model_saved_without_matplotlib(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert links(model) == ["confusion.png", "history.png"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        load(model).save(tmp_path / "bare")
    assert links(tmp_path / "bare") == []
    assert not (tmp_path / "bare" / "plots").exists()
    bare = (tmp_path / "bare" / "README.md").read_text(encoding="utf-8")
    shutil.copytree(model / "plots", tmp_path / "bare" / "plots")
    (tmp_path / "bare" / "README.md").write_text(bare + "My own words.\n", encoding="utf-8")
    illustrate(tmp_path / "bare", ["history.png", "confusion.png"])
    assert links(tmp_path / "bare") == ["confusion.png", "history.png"]
    expected = (model / "README.md").read_bytes() + b"My own words.\n"
    assert (tmp_path / "bare" / "README.md").read_bytes() == expected
    (tmp_path / "bare" / "README.md").unlink()
    illustrate(tmp_path / "bare", ["history.png"])  # nothing to link from
    assert not (tmp_path / "bare" / "README.md").exists()


# --- where it comes from


def test_how_it_was_made() -> None:
    text = card(["neg", "pos"], made=MADE)
    assert "Made on 2026-11-25T16:00:00Z, by Carryline 0.1.0, from 1,800 texts, with 200 " in text
    assert "Made with Carryline 0.1.0 (MIT licence); the model is as free as the texts" in text
    _, per_class, _, sources, _, _ = tables(text)
    assert [row[-1] for row in per_class] == ["texts trained on", "1,000", "800"]
    assert sources[1] == ["my reviews.csv", "ab" * 32]
    assert "carryline train 'my reviews.csv' --preset lecture-stacked --epochs 4 --seed 0" in text
    assert "--out MODEL" in text
    assert "the same to the bit" in text


def test_how_it_was_made_without_validation() -> None:
    text = card(["neg", "pos"], held=False, made={**MADE, "validation_texts": 0, "sources": []})
    assert "from 1,800 texts." in text
    assert tables(text)[0] == [["class", "texts trained on"], ["neg", "1,000"], ["pos", "800"]]
    assert "carryline train DATA --preset" in text
    assert "SHA-256" not in text


def test_where_it_comes_from_is_nothing_when_nobody_said() -> None:
    text = card(["neg", "pos"])
    assert "Made with Carryline (MIT licence)" in text
    assert "carryline train DATA" in text
    assert "None" not in text


def test_the_command_has_the_settings_that_are_not_the_presets() -> None:
    text = card(["a", "b"], hidden=[8, 4], cell="gru", seed=3, batching="shuffle")
    (command,) = [line for line in text.splitlines() if line.startswith("carryline train")]
    assert command == (
        "carryline train DATA --preset lecture-stacked --set cell=gru --set 'hidden=[8, 4]' "
        "--epochs 4 --set batching=shuffle --seed 3 --out MODEL"
    )


def test_a_run_that_was_stopped_is_not_made_again_by_the_command() -> None:
    text = card(["a", "b"], epochs=9)
    assert "It was stopped after 4 of 9 epochs. A run to the end" in text
    assert "the same to the bit" not in text


@pytest.mark.parametrize("name", ["`x`\n```", "a|b.csv", "$(rm x).csv", "\ud800.csv"])
def test_odd_names_of_sources(name: str) -> None:
    text = card(["a", "b"], made={**MADE, "sources": [{"name": name, "sha256": "x"}]})
    assert sum(line.startswith("```") for line in text.splitlines()) == 6
    assert text.encode()


# --- beside a baseline

BASELINE: dict[str, Any] = {
    "majority": {"label": "a_b", "accuracy": 0.5, "macro_f1": 0.33},
    "linear": {
        "name": "TF-IDF + logistic regression",
        "accuracy": 0.9999,
        "macro_f1": 0.99,
        "texts": 9000,
        "seconds": 1.25,
    },
    "why": "",
}


def test_a_baseline_stands_beside_the_model() -> None:
    metrics = {**figures(["a_b", "c"]), "baseline": BASELINE}
    text = card(["a_b", "c"], metrics=metrics)
    ours = [f"{metrics['accuracy']:.2%}", f"{metrics['macro_f1']:.4f}"]
    assert tables(text)[1] == [
        ["on the same texts", "accuracy", "macro F1"],
        ["this model", *ours],
        ["TF-IDF + logistic regression", "99.99%", "0.9900"],
        ["always a_b", "50.00%", "0.3300"],
    ]
    assert "logistic regression is ahead of this model in accuracy and macro F1" in text
    assert "the most frequent class there" not in text


def test_a_baseline_that_is_missing_says_why() -> None:
    baseline = {**BASELINE, "linear": None, "why": "it took more than 30 s"}
    text = card(["a_b", "c"], metrics={**figures(["a_b", "c"]), "baseline": baseline})
    assert "No linear model stands beside it: it took more than 30 s." in text
    assert len(tables(text)[1]) == 3
