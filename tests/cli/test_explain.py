"""`carryline explain`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from carryline import load
from carryline.cli import explain as module
from carryline.explaining import explain, page
from commands import as_json, done, fails

TEXT = "the old film was good, the music bad"


def test_what_the_help_repeats_is_what_explaining_has() -> None:
    """The command names the ways, the spans and the colours itself: `--help` needs no NumPy."""
    choices = {
        option.name: tuple(option.type.choices)
        for option in module.command.params
        if isinstance(option.type, click.Choice)
    }
    assert choices == {"way": explain.WAYS, "by": explain.SPANS}
    assert [option.default for option in module.command.params if option.name in choices] == [
        explain.WAYS[0], explain.SPANS[0],
    ]  # fmt: skip
    written = [", ".join(map(str, color)) for color in (module.FOR, module.AGAINST)]
    assert f"--for: {written[0]}; --against: {written[1]};" == page.COLORS


def test_text_and_words_by_their_parts(model: Path) -> None:
    shown = done("explain", model, TEXT).stdout
    found = load(model).explain(TEXT)
    lines = shown.splitlines()
    assert lines[0] == f"{found.label}  {found.probability:.4f}"
    assert lines[1] == TEXT
    strongest = found.strongest()[0]
    row = next(line for line in lines if line.endswith(found.of(strongest).strip()))
    assert row.split()[0] == f"{strongest.part:+.2f}"
    assert lines[-1].split() == [f"{found.score:+.2f}", "the", "score"]
    assert len(lines) == 4 + len(found.spans) + 2


def test_only_the_strongest_words_of_many_are_listed(model: Path) -> None:
    lines = done("explain", model, " ".join([TEXT] * 5)).stdout.splitlines()
    assert len(lines) == 4 + 2 * module.SHOWN + 2


def test_programs_get_everything(model: Path) -> None:
    found = as_json("explain", model, TEXT, "--label", "neg", "--way", "occlusion")
    assert found == load(model).explain(TEXT, "neg", way="occlusion").to_dict()
    assert (found["label"], found["way"]) == ("neg", "occlusion")
    sentences = as_json("explain", model, "One. Two.", "--by", "sentences")
    assert [span["text"] for span in sentences["spans"]] == ["One.", " Two."]


def test_lines_of_a_pipe(model: Path) -> None:
    shown = done("explain", model, "--json", input=f"{TEXT}\n\nbad\n").stdout
    assert [json.loads(line)["text"] for line in shown.splitlines()] == [TEXT, "", "bad"]
    assert "(of no word)" not in done("explain", model, "").stdout


def test_a_page(model: Path, tmp_path: Path) -> None:
    result = done("explain", model, TEXT, "<b>", "--html", tmp_path / "page.html")
    assert result.stdout == ""
    assert "wrote 2 explained texts to" in result.stderr
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert written.startswith("<!doctype html>") and "&lt;" in written and "<b>" not in written
    told = fails(2, "explain", model, TEXT, "--html", tmp_path / "none" / "page.html")
    assert "--html must be in a folder that exists" in told


def test_what_would_move_a_terminal_is_shown_as_escapes(model: Path) -> None:
    shown = done("explain", model, "bad \x1b[2J film\x07").stdout
    assert "\x1b" not in shown and "\x07" not in shown and r"\x1b" in shown


def test_colours_are_for_terminals(
    trained: object, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    shown = done("explain", model, TEXT).stdout
    assert "\x1b[" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b[" not in done("explain", model, TEXT).stdout


def test_mistakes(model: Path) -> None:
    assert "is none of the model's: neg, pos" in fails(2, "explain", model, TEXT, "--label", "x")
    assert "invalid value" in fails(2, "explain", model, TEXT, "--way", "lime").lower()
