from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest

import carryline
from carryline.cli import main, predict
from carryline.cli import output as cli_output
from carryline.tasks import teller
from carryline.text.data import read
from commands import TINY, as_json, done, fails, no_room


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
        done("predict", model, "--json", "--input", "-", input=test_csv.read_text()),
        done("predict", model, "--json", input=test_csv.read_text()),
        done("predict", model, "--json", input=lines),
        done("predict", model, "--json", *texts),
        done("predict", "--json", model, "--pad-to", 50, "--", *texts),
    ]
    assert len(forms[0].stdout.splitlines()) == 40
    assert {form.stdout for form in forms} == {forms[0].stdout}
    for header in ("foo,bar", "comment_text", "The film was dull."):  # never a text
        error = fails(2, "predict", model, "--input", "-", input=f"{header}\nThe film was dull.\n")
        assert "without --input a pipe is read as a text a line" in error


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


# What comes through a pipe.


def test_a_header_in_a_pipe_is_never_classified(model: Path, test_csv: Path) -> None:
    expected = done("predict", model, "--input", test_csv, "--json").stdout
    content = test_csv.read_text()
    for arguments in ([], ["--input", "-"], ["--input", "-", "--text", "text"]):
        assert done("predict", model, "--json", *arguments, input=content).stdout == expected
    renamed = content.replace("text,label", "review,stars", 1)
    result = done("predict", model, "--json", input=renamed)
    assert result.stdout == expected
    assert result.stderr == "the text is taken from column 'review' (--text names another)\n"
    other = content.replace("text,label", "foo,bar", 1)
    assert done("predict", model, "--json", "--text", "foo", input=other).stdout == expected
    error = fails(2, "predict", model, "--text", "baz", input=other)
    assert "column 'baz' is not in standard input (read as CSV" in error


def test_several_inputs(model: Path, test_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("The film was clever.\n")
    lines = done("predict", model, "--input", test_csv, "--input", tmp_path / "more.txt").stdout
    assert len(lines.splitlines()) == 41
    assert lines.endswith("The film was clever.\n")


def test_options_of_reading(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_bytes("text,id\nnaïve,1\nbad\ncafé,3\nend,4\n".encode("cp1252"))
    assert "--encoding cp1252 perhaps" in fails(2, "predict", model, "--input", data)
    chosen = ["--input", data, "--encoding", "cp1252"]
    assert "line 3: every row must" in fails(2, "predict", model, *chosen)
    chosen += ["--skip-bad-rows", "--limit", 2, "--json"]
    result = done("predict", model, *chosen)
    texts = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert texts == ["naïve", "café"]
    assert "rows skipped, as they cannot be used: 1\n" in result.stderr
    assert f"  {data}, line 3: every row" in result.stderr


@pytest.mark.parametrize("option", [["--limit", 1], ["--skip-bad-rows"], ["--text", "a"]])
def test_options_of_reading_are_not_for_texts(model: Path, option: list[str]) -> None:
    assert "--input" in fails(2, "predict", model, "a text", *option)


# Many texts.


def on_a_terminal(*arguments: object) -> str:
    """Standard error of a command for which it is a terminal."""
    ours, theirs = pty.openpty()
    program = (
        "from carryline.cli import main, output; from carryline.tasks import teller; "
        f"teller.TEXTS_AT_ONCE = output.FEW = 16; main({[*map(str, arguments)]})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # what Linux raises when the other end is closed
            while part := os.read(ours, 4096):
                said += part
    os.close(ours)
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["predict", "MODEL", "--input", "DATA"], "classifying"),
        (["evaluate", "MODEL", "DATA"], "evaluating"),
    ],
)
def test_progress_on_a_terminal_alone(
    model: Path, test_csv: Path, command: list[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"MODEL": model, "DATA": test_csv}
    arguments = [names.get(part, part) for part in command]
    said = on_a_terminal(*arguments)
    assert what in said
    assert "16/40" in said
    assert "40/40" in said
    assert said.endswith(("\x1b[2K", "\x1b[?25h"))  # the bar is gone
    for module, name in ((teller, "TEXTS_AT_ONCE"), (cli_output, "FEW")):
        monkeypatch.setattr(module, name, 16)
    assert done(*arguments).stderr == ""


def test_answers_of_any_type_are_found_again(model: Path, tmp_path: Path) -> None:
    classifier = carryline.load(model)
    classifier.trained.classes[:] = [False, True]
    answers = predict._answers(classifier, ["a film", "another"], 0, 1)
    (tmp_path / "a.csv").write_text(predict._delimited(answers, ","))
    data = read(tmp_path / "a.csv")
    assert classifier.score(data.texts, data.labels or []) == 1
