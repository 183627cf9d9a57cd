"""What all commands have in common: usage, bad input, failures, terminals."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import carryline
from carryline.cli import main
from carryline.tasks import classifier
from commands import TINY, command, done, fails, write

# --- bad usage


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["train", "d.csv"], "--out"),
        (["train", "--out", "m"], "DATA"),
        (["train", "d.csv", "--out", "m", "--valid", "v.csv", "--valid-fraction", "0.1"], "both"),
        (["train", "d.csv", "--out", "m", "--valid-fraction", "1"], "0<=x<1"),
        (["train", "d.csv", "--out", "m", "--valid-fraction", "nan"], "it is nan"),
        (["train", "d.csv", "--out", "m", "--preset", "huge"], "'lecture'"),
        (["train", "d.csv", "--out", "m", "--set", "epochs"], "KEY=VALUE"),
        (["train", "d.csv", "--out", "m", "--set", "depth=2"], "the settings are vocabulary"),
        (["train", "d.csv", "--out", "m", "--set", "self=2"], "unknown setting 'self'"),
        (["train", "d.csv", "--out", "m", "--set", "preset=base"], "--preset"),
        (["train", "d.csv", "--out", "m", "--set", "seed=1", "--set", "seed=2"], "given twice"),
        (["train", "d.csv", "--out", "m", "--set", "epochs=1", "--epochs", "2"], "not both"),
        (["train", "d.csv", "--out", "m", "--set", "epochs=many"], "whole number"),
        (["train", "d.csv", "--out", "m", "--epochs", "0"], "epochs >= 1, it is 0"),
        (["train", "d.csv", "--out", "m", "--seed", "-1"], "0 <= seed"),
        (["train", "d.csv", "--out", "m", "--threads", "0"], "x>=1"),
        (["evaluate", "m"], "DATA"),
        (["evaluate", "m", "d.csv", "--threads", "-1"], "x>=1"),
        (["predict"], "MODEL"),
        (["predict", "m", "a", "--input", "d.csv"], "not both"),
        (["predict", "m", "a", "--text", "title"], "--input"),
        (["predict", "m", "a", "--pad-to", "-1"], "x>=0"),
        (["tokenize", "m"], "TEXT"),
        (["summary"], "MODEL or --preset"),
        (["summary", "m", "--preset", "base"], "MODEL or --preset"),
        (["summary", "m", "--set", "hidden=3"], "--set"),
        (["plot", "m", "--output", __file__], "is a file"),
        (["plot"], "MODEL"),
        (["dance"], "dance"),
        (["train", "d.csv", "--out", "m", "--fast"], "--fast"),
    ],
)
def test_bad_usage(
    arguments: list[str], rule: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(corpus / "train.csv", tmp_path / "d.csv")
    monkeypatch.chdir(tmp_path)
    assert rule in fails(2, *arguments)
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.csv"]


# --- bad input


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        (None, ["no such file or folder"]),
        (b"", ["holds no texts"]),
        (b"text,label\n", ["holds no texts"]),
        (b"words,label\na,1\nb,2\n", ["column 'text'", "its columns are words, label"]),
        (b"text,label\na,1\nb,\nc,2\n", ["row 2", "no label"]),
        (b"text,label\na,1\ncaf\xe9,2\n", ["not UTF-8", "0xe9 at offset 18"]),
    ],
)
def test_bad_data(content: bytes | None, rules: list[str], tmp_path: Path, model: Path) -> None:
    data = tmp_path / "data.csv"
    if content is not None:
        data.write_bytes(content)
    arguments: list[list[Any]]
    arguments = [["train", data, "--out", tmp_path / "m"], ["evaluate", model, data]]
    for error in (fails(2, *each) for each in arguments):
        assert error.startswith("carryline: error: ")
        assert error.count("\n") == 1
        assert all(rule in error for rule in [str(data), *rules])
    assert {entry.name for entry in tmp_path.iterdir()} <= {"data.csv"}


def test_one_class_only(tmp_path: Path) -> None:
    data = write(tmp_path / "data.csv", [("a", "pos"), ("b", "pos")])
    error = fails(2, "train", data, "--out", tmp_path / "m")
    assert "two classes or more, every label is 'pos'" in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.csv"]


def test_validation_data_with_a_new_class(train_csv: Path, tmp_path: Path) -> None:
    valid = write(tmp_path / "v.csv", [("a", "pos"), ("b", "so-so")])
    error = fails(2, "train", train_csv, *TINY, "--valid", valid, "--out", tmp_path / "m")
    assert "'so-so'" in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.csv"]


def _truncated(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _hostile(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\xff" * 1000)
    head = json.loads((model / "config.json").read_text())
    head["sha256"]["model.safetensors"] = hashlib.sha256(b"\xff" * 1000).hexdigest()
    (model / "config.json").write_text(json.dumps(head))


def _swapped(model: Path) -> None:
    (model / "tokenizer.json").write_text(
        carryline.load(model).tokenizer.train(["other words"], 260).to_json()
    )


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (shutil.rmtree, "no model at"),
        (lambda m: (m / "config.json").unlink(), "no config.json"),
        (lambda m: (m / "config.json").write_text("{"), "is not JSON"),
        (lambda m: (m / "config.json").write_text('{"format": 99}'), "format 1, not 99"),
        (lambda m: (m / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (_truncated, "model.safetensors is damaged"),
        (_swapped, "belongs to another model"),
        (_hostile, "not a safetensors file"),
    ],
)
def test_bad_model(damage: Any, rule: str, copy: Path, test_csv: Path) -> None:
    damage(copy)
    for arguments in (
        ["predict", copy, "a"],
        ["evaluate", copy, test_csv],
        ["tokenize", copy, "a"],
        ["summary", copy],
        ["plot", copy],
    ):
        error = fails(2, *arguments)
        assert rule in error
        assert error.count("\n") == 1


# --- other failures


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RuntimeError("odd"), 1, "unexpected RuntimeError: odd (CARRYLINE_DEBUG=1 shows where"),
        (MemoryError(), 1, "out of memory"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "Permission denied: x"),
        (OSError("no number"), 1, "no number"),
        (KeyboardInterrupt(), 130, "stopped"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
    ],
)
def test_other_failures(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: str) -> None:
        raise error

    monkeypatch.setattr(classifier, "load", load)
    monkeypatch.delenv("CARRYLINE_DEBUG", raising=False)
    said = fails(status, "predict", "m", "a")
    assert message in said
    assert said.count("\n") == bool(message)
    if isinstance(error, RuntimeError):
        monkeypatch.setenv("CARRYLINE_DEBUG", "1")
        assert CliRunner().invoke(main, ["predict", "m", "a"]).exception is error


def test_a_reader_that_stops_early(model: Path, test_csv: Path) -> None:
    process = subprocess.Popen(
        command("predict", model, "--input", test_csv, "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["summary", "--preset", "base"]])
def test_standard_output_without_room(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        found = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE)
    assert found.returncode == 1
    assert found.stderr == b"carryline: error: no room left on the disk\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_through_any_terminal(model: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    texts = [os.fsencode(text) for text in ("é 🙂 中", "")] + [b"not \xff UTF-8"]

    def found(*arguments: str) -> bytes:
        whole = [*map(os.fsencode, command("predict", model)), *texts, *map(os.fsencode, arguments)]
        return subprocess.run(whole, env=environment, check=True, capture_output=True).stdout

    assert len(found().splitlines()) == 3
    answers = [json.loads(line) for line in found("--json").splitlines()]
    assert [answer["text"] for answer in answers] == [os.fsdecode(text) for text in texts]


# --- what is printed besides


def test_version_and_help() -> None:
    assert carryline.__version__ in done("--version").stdout
    for name, one in main.commands.items():
        text = done(name, "--help").stdout
        assert f"carryline {name}" in text.split("Options:")[0].split("\n", 1)[1]  # an example
        assert name in done("--help").stdout
        for parameter in one.params:
            assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None)


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "MODEL", "a"], ["summary", "MODEL"]])
def test_only_training_imports_what_training_needs(model: Path, arguments: list[str]) -> None:
    arguments = [str(model) if argument == "MODEL" else argument for argument in arguments]
    code = f"""
import sys
from carryline.cli import main
main({arguments!r}, standalone_mode=False)
heavy = {{"torch", "sklearn", "matplotlib", "pyarrow", "rich"}}
sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)


def test_an_instruction_set_that_is_not_there(model: Path) -> None:
    found = subprocess.run(
        command("predict", model, "a film"), capture_output=True, text=True, check=False,
        env={**os.environ, "CARRYLINE_ISA": "mmx"},
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (2, "")
    assert "CARRYLINE_ISA: this machine runs the instruction sets" in found.stderr
    assert "not 'mmx'" in found.stderr
