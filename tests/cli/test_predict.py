from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
import pytest
from commands import TINY, as_json, done, fails, no_room

import carryline
from carryline.cli import main
from carryline.text.data import read


def test_predict_for_people(model: Path) -> None:
    long = "A\nfilm\x1b[31m\u202e " + "x" * 100
    lines = done("predict", model, "The film was clever.", "The film was dull.", long, "").stdout
    first, second, third, fourth = lines.splitlines()
    assert first.split()[0] == "pos"
    assert second.split()[0] == "neg"
    assert first.endswith("The film was clever.")
    shares = carryline.load(model).predict_proba(["The film was clever."])[0]
    assert first.split()[1] == f"{shares[1]:.4f}"
    assert f"(neg {shares[0]:.4f}  pos {shares[1]:.4f})" in first
    assert third.endswith("xxx...")
    assert "A\\nfilm\\x1b[31m\\u202e x" in third
    assert fourth.split()[0] in ("neg", "pos")


def test_predict_json(model: Path) -> None:
    texts = ["The film was clever.", "", 'A "quote"\n\tand 🙂']
    lines = done("predict", model, *texts, "--json").stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["text"] for answer in answers] == texts
    expected = carryline.load(model).predict_proba(texts)
    for answer, row in zip(answers, expected.tolist(), strict=True):
        assert answer.keys() == {"text", "label", "probabilities"}
        assert answer["probabilities"] == dict(zip(("neg", "pos"), row, strict=True))
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_predict_input(model: Path, test_csv: Path, tmp_path: Path) -> None:
    texts = read(test_csv).texts
    (tmp_path / "lines.txt").write_text("\n".join(texts) + "\n")
    lines = (tmp_path / "lines.txt").read_text()
    forms = [
        done("predict", model, "--json", "--input", test_csv),
        done("predict", model, "--json", "--input", tmp_path / "lines.txt", "--threads", 1),
        done("predict", model, "--json", "--input", "-", input=lines),
        done("predict", model, "--json", input=lines),
        done("predict", model, "--json", *texts),
        done("predict", "--json", model, "--pad-to", 50, "--", *texts),
    ]
    assert len(forms[0].stdout.splitlines()) == 40
    assert {form.stdout for form in forms} == {forms[0].stdout}


def test_pads_are_read_only_without_mask(model: Path, train_csv: Path, tmp_path: Path) -> None:
    def shift(model: Path) -> float:
        alone = as_json("predict", model, "The film was dull.")["probabilities"]["pos"]
        padded = as_json("predict", model, "The film was dull.", "--pad-to", 64)
        return abs(float(alone - padded["probabilities"]["pos"]))

    assert shift(model) == 0
    unmasked = [*TINY, "--preset", "lecture", "--set", "mask=false", "--epochs", 2]
    done("train", train_csv, *unmasked, "--out", tmp_path / "m")
    assert shift(tmp_path / "m") > 0


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_predict_output_reads_back(model: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"answers{suffix}"
    texts = ['comma, tab\t "quote"', "line\nends\r\nand\rreturns", "", " é🙂 "]
    result = done("predict", model, *texts, "--output", output)
    assert result.stdout == ""
    assert "4 answers" in result.stderr
    answers = [
        json.loads(line)
        for line in done("predict", model, *texts, "--json").stdout.split("\n")[:-1]
    ]
    found = read(output)
    assert found.texts == texts
    assert found.labels == [answer["label"] for answer in answers]
    if suffix == ".jsonl":
        assert [json.loads(line) for line in output.read_text().splitlines()] == answers
    else:
        shares = read(output, text=["probability_neg", "probability_pos"]).texts
        assert shares == [" ".join(map(str, a["probabilities"].values())) for a in answers]
    assert [entry.name for entry in tmp_path.iterdir()] == [output.name]


def test_predict_output_and_json_together(model: Path, tmp_path: Path) -> None:
    result = done("predict", model, "a", "--output", tmp_path / "a.jsonl", "--json")
    assert result.stdout == (tmp_path / "a.jsonl").read_text()


def test_predict_output_is_checked_first(tmp_path: Path) -> None:
    for output, rule in [
        (tmp_path / "answers.xml", "must end in .csv, .tsv or .jsonl"),
        (tmp_path / "no" / "answers.csv", "in a folder that exists"),
        (tmp_path, "must end in"),
    ]:
        error = fails(2, "predict", "no-model", "a", "--output", output)
        assert rule in error
        assert str(output) in error or str(output.parent) in error
    (tmp_path / "folder.csv").mkdir()
    error = fails(2, "predict", "no-model", "a", "--output", tmp_path / "folder.csv")
    assert "is a folder" in error


def test_predict_output_is_written_whole_or_not_at_all(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "answers.csv"
    output.write_text("precious")
    monkeypatch.setattr(os, "fsync", no_room)
    error = fails(1, "predict", model, "a", "--output", output)
    assert "no room left on the disk" in error
    assert output.read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.csv"]


def test_predict_on_a_terminal_needs_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    for stdin in (Terminal(), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(click.UsageError, match="nothing to classify"):
            main(["predict", "m"], standalone_mode=False)
