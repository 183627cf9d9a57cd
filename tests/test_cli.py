from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import carryline
from carryline import bench, classifier, machine, storage
from carryline.cli import main, progress
from carryline.data import read

TINY = ["--set", "vocabulary=400", "--set", "embedding=8", "--set", "hidden=8"]
TINY += ["--set", "batch_size=16", "--set", "learning_rate=0.02"]
WORDS = {"pos": ["moving", "clever", "bright"], "neg": ["dull", "clumsy", "flat"]}
RESULT = {"accuracy", "loss", "macro_f1", "roc_auc", "texts", "seconds", "tokens_per_second"}
RESULT |= {"parameters", "epochs", "best_epoch", "interrupted", "model"}
EPOCHS = 60  # so many that a run can be stopped before it ends
PNG = b"\x89PNG\r\n"


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Made-up reviews of five to nine words, the classes in turn."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = ("pos", "neg")[number % 2]
        nouns = draw.sample(["film", "plot", "cast", "music", "ending"], 2)
        tail = draw.choice(["", " again", f" and so was the {nouns[1]}"])
        rows.append((f"The {nouns[0]} was {draw.choice(WORDS[label])}{tail}.", label))
    return rows


def write(path: Path, rows: list[Any], header: str = "text,label") -> Path:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: Any, **options: Any) -> Result:
    """Run the command line in this process; nothing but an exit may come out of it."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def done(*arguments: Any, **options: Any) -> Result:
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result


def fails(status: int, *arguments: Any, **options: Any) -> str:
    """What standard error says of a failure; standard output stays empty."""
    result = run(*arguments, **options)
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    return result.stderr


def as_json(*arguments: Any, **options: Any) -> Any:
    """The last line of standard output."""
    return json.loads(done(*arguments, "--json", **options).stdout.splitlines()[-1])


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "carryline", *map(str, arguments)]


def weights(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write(folder / "train.csv", sentences(200))
    write(folder / "test.csv", sentences(40, seed=1))
    return folder


@pytest.fixture(scope="session")
def train_csv(corpus: Path) -> Path:
    return corpus / "train.csv"


@pytest.fixture(scope="session")
def test_csv(corpus: Path) -> Path:
    return corpus / "test.csv"


@pytest.fixture(scope="session")
def trained(corpus: Path) -> tuple[Path, Result]:
    """A model, and what training it printed."""
    out = corpus / "models" / "tiny"
    arguments = ["--epochs", 4, "--seed", 1, "--out", out, "--json"]
    return out, done("train", corpus / "train.csv", *TINY, *arguments)


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Result]) -> Path:
    return trained[0]


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A model that may be damaged."""
    return shutil.copytree(model, tmp_path / "copy")


# --- train


def test_train_writes_a_whole_model_and_one_line_of_json(trained: tuple[Path, Result]) -> None:
    out, result = trained
    found = json.loads(result.stdout)  # nothing else on standard output
    assert found.keys() == RESULT
    assert found["accuracy"] > 0.9
    assert (found["texts"], found["epochs"]) == (180, 4)  # 20 of 200 are held out
    assert found["interrupted"] is False
    assert found["model"] == str(out)
    files = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert files == {
        *("config.json", "tokenizer.json", "model.safetensors", "history.jsonl", "metrics.json"),
        *("README.md", "plots/history.png", "plots/confusion.png"),
    }
    assert [entry.name for entry in out.parent.iterdir()] == ["tiny"]  # no .partial
    assert result.stderr.count("epoch") == 4
    assert f"carryline predict {out}" in result.stderr


def test_train_for_people(train_csv: Path, tmp_path: Path) -> None:
    result = done("train", train_csv, *TINY, "--epochs", 1, "--out", tmp_path / "m")
    assert "validation: accuracy 0." in result.stdout
    assert "best epoch 1 of 1" in result.stdout
    assert "validation loss" in result.stderr


def test_settings_are_written_out(train_csv: Path, tmp_path: Path) -> None:
    chosen = ["--preset", "small", "--set", "hidden=[6,4]", "--set", "mask=false", "--seed", 7]
    done("train", train_csv, *chosen, "--epochs", 1, "--threads", 1, "--out", tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())["config"]
    assert (config["preset"], config["cell"], config["seed"]) == ("small", "gru", 7)
    assert (config["hidden"], config["mask"], config["epochs"]) == ([6, 4], False, 1)


def test_same_seed_same_model(train_csv: Path, tmp_path: Path) -> None:
    def trained_with(seed: int, name: str) -> str:
        done("train", train_csv, *TINY, "--epochs", 1, "--seed", seed, "--out", tmp_path / name)
        return weights(tmp_path / name)

    first = trained_with(1, "a")
    assert first == trained_with(1, "b")
    assert first != trained_with(2, "c")


def test_validation_data_fraction_and_none(train_csv: Path, test_csv: Path, tmp_path: Path) -> None:
    def found(name: str, *arguments: Any) -> Any:
        out = ["--epochs", 1, "--out", tmp_path / name]
        result = as_json("train", train_csv, *TINY, *out, *arguments)
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        return result, metrics and metrics["texts"]

    assert found("file", "--valid", test_csv)[1] == 40
    assert found("share", "--valid-fraction", 0.25)[1] == 50
    result, texts = found("none", "--valid-fraction", 0)
    assert texts is None
    assert [result[key] for key in ("accuracy", "loss", "macro_f1", "roc_auc")] == [None] * 4
    drawn = done("plot", tmp_path / "none")
    assert drawn.stdout.splitlines() == [str(tmp_path / "none" / "plots" / "history.png")]
    assert "without validation" in drawn.stderr


def test_columns(tmp_path: Path) -> None:
    rows = [(i, "See", text, label) for i, (text, label) in enumerate(sentences(40))]
    data = write(tmp_path / "d.csv", rows, "id,title,body,stars")
    columns = ["--text", "title", "--text", "body", "--label", "stars"]
    done("train", data, *TINY, "--epochs", 1, "--out", tmp_path / "m", *columns)
    assert as_json("evaluate", tmp_path / "m", data, *columns)["texts"] == 40
    answers = done("predict", tmp_path / "m", "--input", data, *columns[:4], "--json").stdout
    assert json.loads(answers.splitlines()[0])["text"] == f"See {rows[0][2]}"


def test_numbers_as_labels(tmp_path: Path) -> None:
    rows = [{"text": f"{'abc'[i % 3]} {i}", "label": i % 3 + 1} for i in range(60)]
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done("train", data, *TINY, "--epochs", 1, "--out", tmp_path / "m")
    answer = as_json("predict", tmp_path / "m", "a b")
    assert answer["label"] in (1, 2, 3)
    assert list(answer["probabilities"]) == ["1", "2", "3"]
    assert "1 0." in done("predict", tmp_path / "m", "a b").stdout


def test_train_from_standard_input(train_csv: Path, tmp_path: Path) -> None:
    arguments = ["train", "-", *TINY, "--epochs", 1, "--out", tmp_path / "m"]
    assert as_json(*arguments, input=train_csv.read_text())["texts"] == 180


# --- what is there already, and going on


def test_out_is_checked_before_anything_is_read(model: Path, tmp_path: Path) -> None:
    assert "already holds a model" in fails(2, "train", "no.csv", "--out", model)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.txt").touch()
    assert "not an empty folder" in fails(2, "train", "no.csv", "--out", tmp_path / "d")
    assert "not an empty folder" in fails(2, "train", "no.csv", "--out", tmp_path / "d/mine.txt")
    for name in (".", "..", "/", ""):
        assert "name of a folder" in fails(2, "train", "no.csv", "--out", name)


def test_a_run_that_was_not_finished_is_not_lost(train_csv: Path, tmp_path: Path) -> None:
    partial = tmp_path / "m.partial"
    partial.mkdir()
    (partial / "checkpoint.safetensors").write_bytes(b"work")
    error = fails(2, "train", train_csv, "--out", tmp_path / "m")
    assert str(partial) in error
    assert "--resume" in error
    assert (partial / "checkpoint.safetensors").read_bytes() == b"work"
    error = fails(2, "train", train_csv, *TINY, "--out", tmp_path / "m", "--resume")
    assert "no checkpoint" in error
    (partial / "checkpoint.safetensors").rename(partial / "tokenizer.json")  # no work in that
    done("train", train_csv, *TINY, "--epochs", 1, "--out", tmp_path / "m")
    assert not partial.exists()


def test_resume_of_a_complete_model_says_so(model: Path, trained: tuple[Path, Result]) -> None:
    result = done("train", "no.csv", "--out", model, "--resume", "--json")
    assert "complete" in result.stderr
    before, found = json.loads(trained[1].stdout), json.loads(result.stdout)
    assert found.keys() == RESULT
    for key in ("accuracy", "loss", "macro_f1", "parameters", "epochs", "best_epoch"):
        assert found[key] == before[key]


def test_resume_needs_no_earlier_run(train_csv: Path, tmp_path: Path) -> None:
    done("train", train_csv, *TINY, "--epochs", 1, "--out", tmp_path / "m", "--resume")


class Training:
    """A training run in another process that is stopped after its second epoch."""

    def __init__(self, data: Path, out: Path) -> None:
        self.arguments = ["train", data, *TINY, "--set", "patience=0", "--epochs", EPOCHS]
        self.arguments += ["--seed", 1, "--threads", 1, "--json", "--out"]
        self.out = out
        self.partial = out.with_name(out.name + ".partial")

    def stopped_by(self, number: signal.Signals, *more: str) -> tuple[int, str, str]:
        # Jobs in the background inherit that SIGINT is ignored, and with them this run would.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            command(*self.arguments, self.out, *more),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        signal.signal(signal.SIGINT, inherited)
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("epoch 2:"):
                process.send_signal(number)
                break
        stdout, stderr = process.communicate(timeout=100)
        return process.returncode, stdout, "".join(lines) + stderr


@pytest.fixture(scope="session")
def straight(train_csv: Path, corpus: Path) -> str:
    """The weights of a run that was never stopped."""
    training = Training(train_csv, corpus / "straight")
    done(*training.arguments, training.out)
    return weights(training.out)


def test_resume_after_kill_ends_in_the_same_bits(
    train_csv: Path, tmp_path: Path, straight: str
) -> None:
    training = Training(train_csv, tmp_path / "m")
    status, stdout, _ = training.stopped_by(signal.SIGKILL)
    assert (status, stdout) == (-signal.SIGKILL, "")
    assert not training.out.exists()
    result = done(*training.arguments, training.out, "--resume")
    assert "epoch 1:" not in result.stderr
    assert json.loads(result.stdout)["epochs"] == EPOCHS
    assert weights(training.out) == straight
    assert not training.partial.exists()


def test_ctrl_c_keeps_the_best_so_far(train_csv: Path, tmp_path: Path, straight: str) -> None:
    training = Training(train_csv, tmp_path / "m")
    status, stdout, stderr = training.stopped_by(signal.SIGINT)
    assert status == 0, stderr
    found = json.loads(stdout)
    assert found["interrupted"] is True
    assert 2 <= found["epochs"] < EPOCHS
    assert "--resume" in stderr
    done("predict", training.out, "The film was dull.")
    assert training.partial.exists()
    assert "already holds a model" in fails(2, *training.arguments, training.out)
    assert as_json(*training.arguments, training.out, "--resume")["epochs"] == EPOCHS
    assert weights(training.out) == straight
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_ctrl_c_before_the_first_epoch_leaves_nothing(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("carryline.training.loop.train", stopped)  # the vocabulary is written
    assert fails(130, "train", train_csv, *TINY, "--out", tmp_path / "m").endswith("stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_other_settings_cannot_go_on(train_csv: Path, tmp_path: Path) -> None:
    training = Training(train_csv, tmp_path / "m")
    training.stopped_by(signal.SIGKILL)
    arguments = [*training.arguments, training.out, "--resume", "--set", "dropout=0.1"]
    assert "other settings" in fails(2, *arguments)
    assert (training.partial / "checkpoint.safetensors").exists()


# --- evaluate


def test_evaluate(model: Path, test_csv: Path) -> None:
    table = done("evaluate", model, test_csv, "--threads", 1).stdout
    for part in ("precision", "macro F1", "ROC-AUC", "loss", "true \\ predicted", "texts/s"):
        assert part in table
    found = as_json("evaluate", model, test_csv)
    assert found.keys() >= {*RESULT, "confusion", "per_class"} - {
        *("epochs", "best_epoch", "interrupted", "model")
    }
    assert (found["texts"], sum(map(sum, found["confusion"]))) == (40, 40)
    assert found["parameters"] == carryline.load(model).parameters
    assert f"{found['loss']:.4f}" in table


def test_evaluate_refuses_a_class_it_has_never_seen(model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.csv", [*sentences(3), ("What a film.", "so-so")])
    error = fails(2, "evaluate", model, data)
    assert "row 4" in error
    assert "'so-so'" in error
    assert "neg, pos" in error


# --- predict


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


# --- tokenize, summary, plot


def test_tokenize(model: Path) -> None:
    text = "TensorFlow is\ncool. é"
    found = as_json("tokenize", model, text)
    assert found["text"] == text
    assert carryline.load(model).tokenizer.decode(found["ids"]) == text
    lines = done("tokenize", model, text).stdout.splitlines()
    pairs = zip(found["ids"], found["pieces"], strict=True)
    assert [line.lstrip() for line in lines] == [f"{token}  {piece}" for token, piece in pairs]
    two = done("tokenize", model, "a", "b", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in two] == ["a", "b"]


def test_summary_of_a_preset() -> None:
    table = done("summary", "--preset", "lecture").stdout
    for count in ("523,840", "66,048", "8,256", "598,209"):
        assert count in table
    assert as_json("summary", "--preset", "lecture")["parameters"] == 598_209
    assert as_json("summary", "--preset", "lecture-stacked")["parameters"] == 635_329
    changed = as_json("summary", "--preset", "lecture", "--set", "hidden=[64,32]")
    assert changed["parameters"] == 635_329
    assert changed["config"]["hidden"] == [64, 32]


def test_summary_of_a_model(model: Path) -> None:
    found = as_json("summary", model)
    assert found["parameters"] == carryline.load(model).parameters
    assert found["classes"] == ["neg", "pos"]
    assert f"{found['parameters']:,}" in done("summary", model).stdout


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


def test_plot(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "plots")
    pictures = tmp_path / "new" / "pictures"
    for folder, options in [(copy / "plots", []), (pictures, ["--output", str(pictures)])]:
        files = done("plot", copy, *options).stdout.splitlines()
        assert files == [str(folder / "history.png"), str(folder / "confusion.png")]
        assert all(Path(file).read_bytes().startswith(PNG) for file in files)


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


def test_predict_on_a_terminal_needs_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    for stdin in (Terminal(), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(click.UsageError, match="nothing to classify"):
            main(["predict", "m"], standalone_mode=False)


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


def no_room(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")


def test_no_room_for_a_checkpoint(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", no_room)
    error = fails(1, "train", train_csv, *TINY, "--out", tmp_path / "m")
    assert "no room left on the disk: model.safetensors" in error
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_model_keeps_the_training(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["train", train_csv, *TINY, "--epochs", 2, "--out", tmp_path / "m"]
    with monkeypatch.context() as patch:
        patch.setattr(storage, "save", no_room)
        assert "no room left on the disk" in fails(1, *arguments)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.partial"]
    result = done(*arguments, "--resume")
    assert "epoch 1:" not in result.stderr


def test_a_loss_that_is_not_finite(train_csv: Path, tmp_path: Path) -> None:
    wild = ["--set", "learning_rate=999", "--set", "weight_decay=0.99"]
    error = fails(1, "train", train_csv, *TINY[:-2], *wild, "--out", tmp_path / "m")
    assert "loss must be a finite number" in error
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_never_kept(train_csv: Path, tmp_path: Path) -> None:
    wild = [*TINY[:6], "--set", "learning_rate=999", "--set", "weight_decay=0.99"]
    for fraction in (0, 0.1):  # five steps an epoch: the weights overflow in the last one
        for batch_size in (40, 36):
            out = tmp_path / f"{fraction}-{batch_size}"
            few = ["--set", f"batch_size={batch_size}", "--epochs", 1]
            result = run(
                "train", train_csv, *wild, *few, "--valid-fraction", fraction, "--out", out
            )
            assert (result.exit_code == 0) == out.exists()
            if out.exists():
                done("predict", out, "a")
            else:
                assert "finite" in result.stderr


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
from carryline.cli import main, progress
main({arguments!r}, standalone_mode=False)
heavy = {{"torch", "sklearn", "matplotlib", "pyarrow", "rich"}}
sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_a_bar_on_a_terminal(train_csv: Path, tmp_path: Path, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    arguments = ["train", train_csv, *TINY, "--epochs", 3, "--out", tmp_path / "m", "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown, until = b"", time.monotonic() + 100
    while time.monotonic() < until:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux's word for the end
            break
        if not chunk:
            break
        shown += chunk
    stdout, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert json.loads(stdout)["epochs"] == 3
    for part in (b"epoch 3/3", b"left", b"loss 0.", b"epoch 3: loss", b"100%", b"tokens/s"):
        assert part in shown


def test_a_bar_is_not_drawn_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rich = pytest.importorskip("rich.progress")
    now, drawn = [100.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bar = rich.Progress(auto_refresh=False, disable=True)
    monkeypatch.setattr(bar, "update", lambda task, **fields: drawn.append(fields))
    watcher = progress.Bar(bar)
    for step in range(1, 106):
        watcher.step(1, 1, step, 105, 0.5)
        now[0] += progress.REDRAW / 9.5
    assert [fields["completed"] for fields in drawn] == [*range(1, 105, 10), 105]
    assert all(fields["refresh"] for fields in drawn)  # no thread does it


def test_an_instruction_set_that_is_not_there(model: Path) -> None:
    found = subprocess.run(
        command("predict", model, "a film"), capture_output=True, text=True, check=False,
        env={**os.environ, "CARRYLINE_ISA": "mmx"},
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (2, "")
    assert "CARRYLINE_ISA: this machine runs the instruction sets" in found.stderr
    assert "not 'mmx'" in found.stderr
