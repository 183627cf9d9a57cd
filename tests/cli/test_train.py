"""`carryline train`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from carryline.model import storage
from carryline.text.vectors import Vectors
from commands import (
    EPOCHS,
    RESULT,
    TINY,
    as_json,
    command,
    done,
    fails,
    no_room,
    run,
    sentences,
    weights,
    write,
)
from lexicons import vectors_file

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
        *("README.md", "plots/history.png", "plots/confusion.png", "checkpoint.safetensors"),
    }
    assert [entry.name for entry in out.parent.iterdir()] == ["tiny"]  # no .partial
    assert result.stderr.count("epoch ") == 4
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


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("b.parquet", "pyarrow", "parquet"), ("b.csv.zst", "pyarrow", "parquet"),
     ("b.xlsx", "openpyxl", "excel")],
)  # fmt: skip
def test_a_format_whose_package_is_missing_is_an_error_before_any_work(
    name: str, package: str, extra: str, train_csv: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("carryline.text.data.load", lambda *given: pytest.fail("it has read"))
    for data in ([train_csv, tmp_path / name], [train_csv, "--valid", tmp_path / name]):
        said = fails(2, "train", *data, "--out", tmp_path / "model")
        assert f"needs the package {package!r}, which is not installed" in said
        assert said.rstrip().endswith(f"pip install 'carryline[{extra}]'")
    assert not list(tmp_path.iterdir())


def test_what_will_not_be_there_is_said_in_a_line_each(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("sklearn", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    result = done("train", train_csv, *TINY, "--epochs", 1, "--out", tmp_path / "model")
    first, second = result.stderr.splitlines()[:2]
    assert first.startswith("scikit-learn is not installed: ")
    assert first.endswith("; pip install 'carryline[sklearn]'")
    assert second.startswith("matplotlib is not installed: ")
    assert second.endswith("; pip install 'carryline[plot]'")
    assert "No linear model stands beside it: scikit-learn is not installed" in result.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"model"}


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
    (partial / "checkpoint.safetensors").unlink()
    for name in ("training.lock", "tokenizer.json"):  # no work in these: a run was killed early
        (partial / name).write_bytes(b"")
    done("train", train_csv, *TINY, "--epochs", 1, "--out", tmp_path / "m")
    assert not partial.exists()


def test_resume_of_a_complete_model_says_so(model: Path, trained: tuple[Path, Result]) -> None:
    result = done("train", "no.csv", "--out", model, "--resume", "--json")
    assert "complete" in result.stderr
    before, found = json.loads(trained[1].stdout), json.loads(result.stdout)
    assert found.keys() == RESULT
    for key in ("accuracy", "loss", "macro_f1", "parameters", "epochs", "best_epoch"):
        assert found[key] == before[key]
    changed = ["--set", "hidden=9", "--set", "dropout=0.1"]
    error = fails(2, "train", "no.csv", "--out", model, "--resume", *changed)
    assert "made with other settings (hidden: [8], yours [9]; dropout: 0.5, yours 0.1)" in error


def test_with_nothing_to_resume_it_says_so_and_begins(train_csv: Path, tmp_path: Path) -> None:
    arguments = [*TINY, "--epochs", 1, "--out", tmp_path / "m", "--resume"]
    result = done("train", train_csv, *arguments)
    assert f"nothing to resume at {tmp_path / 'm'}; starting afresh" in result.stderr
    assert "epoch 1:" in result.stderr


CONSTANT = ["--set", "schedule=constant", "--set", "warmup=0", "--set", "patience=0"]


def test_a_finished_run_is_lengthened(train_csv: Path, tmp_path: Path) -> None:
    def trained_for(epochs: int, name: str, *more: str) -> Result:
        out = ["--epochs", epochs, "--out", tmp_path / name]
        return done("train", train_csv, *TINY, *CONSTANT, *out, *more)

    trained_for(2, "m")
    assert "complete" in trained_for(2, "m", "--resume").stderr
    result = trained_for(4, "m", "--resume")
    assert "resuming after epoch 2" in result.stderr
    assert "best epoch" in result.stdout
    trained_for(4, "whole")
    assert weights(tmp_path / "m") == weights(tmp_path / "whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m", "whole"]
    (tmp_path / "m" / "checkpoint.safetensors").unlink()
    more = ["--epochs", 6, "--out", tmp_path / "m", "--resume"]
    error = fails(2, "train", train_csv, *TINY, *CONSTANT, *more)
    assert f"no checkpoint to resume from; --from {tmp_path / 'm'}" in error
    done("predict", tmp_path / "m", "The film was dull.")


def test_from_goes_on_with_other_settings_of_training(
    train_csv: Path, model: Path, tmp_path: Path
) -> None:
    one = ["--from", model, "--out", tmp_path / "m", "--json"]
    result = done("train", train_csv, *one, "--epochs", 2, "--set", "learning_rate=0.001")
    assert "going on from trained weights\n" in result.stderr
    assert "learning a vocabulary" not in result.stderr
    first, started = [
        json.loads((folder / "history.jsonl").read_text().splitlines()[0])["loss"]
        for folder in (model, tmp_path / "m")
    ]
    assert started < 0.8 * first
    written = json.loads((tmp_path / "m" / "config.json").read_text())["config"]
    before = json.loads((model / "config.json").read_text())["config"]
    assert {key for key in before if before[key] != written[key]} == {"epochs", "learning_rate"}
    assert (tmp_path / "m" / "tokenizer.json").read_bytes() == (
        model / "tokenizer.json"
    ).read_bytes()
    changed = ["--from", model, "--out", tmp_path / "n", "--set", "hidden=9", "--preset", "base"]
    error = fails(2, "train", "no.csv", *changed)
    assert "goes on with its own settings (vocabulary: 400, yours 8185; " in error
    assert "hidden: [8], yours [9]" in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_from_with_other_classes_makes_a_new_head(model: Path, tmp_path: Path) -> None:
    rows = [(text, f"{label}{i % 3}") for i, (text, label) in enumerate(sentences(90))]
    data = write(tmp_path / "d.csv", rows)
    result = done("train", data, "--from", model, "--epochs", 1, "--out", tmp_path / "m")
    assert "with a new head: 6 classes, of which the model knew 0" in result.stderr
    assert len(as_json("predict", tmp_path / "m", "a film")["probabilities"]) == 6


class Training:
    """A training run in another process that is stopped after its second epoch."""

    def __init__(self, data: Path, out: Path) -> None:
        self.arguments = ["train", data, *TINY, "--set", "patience=0", "--epochs", EPOCHS]
        self.arguments += ["--seed", 1, "--threads", 1, "--json", "--out"]
        self.out = out
        self.partial = out.with_name(out.name + ".partial")

    def stopped_by(
        self, number: signal.Signals, *more: str, meanwhile: Callable[[], None] = lambda: None
    ) -> tuple[int, str, str]:
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
                meanwhile()
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
    assert f"stopped after epoch {found['epochs']} of {EPOCHS}; kept: epoch " in stderr
    assert "the same command with --resume goes on" in stderr
    done("predict", training.out, "The film was dull.")
    assert training.partial.exists()
    assert "already holds a model" in fails(2, *training.arguments, training.out)
    assert as_json(*training.arguments, training.out, "--resume")["epochs"] == EPOCHS
    assert weights(training.out) == straight
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_ctrl_c_while_the_model_is_saved_says_where_the_epochs_are(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "save", stopped)
    error = fails(130, "train", train_csv, *TINY, "--epochs", 1, "--out", tmp_path / "m")
    assert f"the epochs so far are in {tmp_path / 'm.partial'}; the same command" in error


def test_a_second_process_with_the_same_out(train_csv: Path, tmp_path: Path) -> None:
    """It is refused before it reads anything, and takes nothing from the first."""
    training = Training(train_csv, tmp_path / "m")

    def second() -> None:
        for more in ([], ["--resume"]):
            error = fails(2, "train", "no.csv", *TINY, "--out", training.out, *more)
            assert f"another process is training in {training.partial}" in error

    status, _, stderr = training.stopped_by(signal.SIGINT, meanwhile=second)
    assert status == 0, stderr
    assert (training.partial / "checkpoint.safetensors").exists()


def test_ctrl_c_before_the_first_epoch_leaves_nothing(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("carryline.training.loop.train", stopped)  # the vocabulary is written
    error = fails(130, "train", train_csv, *TINY, "--out", tmp_path / "m")
    assert error.endswith("no epoch had ended: nothing is kept\ncarryline: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_other_settings_cannot_go_on(train_csv: Path, tmp_path: Path) -> None:
    training = Training(train_csv, tmp_path / "m")
    training.stopped_by(signal.SIGKILL)
    arguments = [*training.arguments, training.out, "--resume", "--set", "dropout=0.1"]
    assert "other settings (dropout: 0.5, yours 0.1);" in fails(2, *arguments)
    assert (training.partial / "checkpoint.safetensors").exists()


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


# --- texts without labels


def test_word_vectors_of_ones_own_texts(train_csv: Path, tmp_path: Path) -> None:
    texts = write(tmp_path / "more.csv", [(text,) for text, _ in sentences(300)], header="text")
    out = tmp_path / "m"
    small = ["--preset", "lecture", "--set", "hidden=6", "--epochs", 1, "--threads", 1]
    result = done("train", train_csv, *small, "--unlabelled", texts, "--out", out)
    file = tmp_path / "m.vectors"
    assert f"word vectors: {file}, for other models too" in result.stderr
    found = Vectors.load(file)
    assert [source["name"] for source in found.about["sources"]] == ["more.csv"]
    assert len(found.about["loss"]) == 20  # of so few words
    assert found.layer is not None
    assert found.layer["recurrence.weight_hh_l0"].shape == (24, 6)
    assert "begins as one that has learned to read" in result.stderr
    config = json.loads((out / "config.json").read_text())["config"]
    assert config["vectors"].startswith("m.vectors ")
    assert (out / "vectors.safetensors").read_bytes() == file.read_bytes()

    def again(*options: Any) -> list[Any]:
        return ["train", train_csv, *small, *options, "--out", out]

    shutil.rmtree(out)
    before = file.read_bytes()
    result = done(*again("--unlabelled", texts, "--resume"))
    assert f"word vectors: {file}, as they were learned before" in result.stderr
    assert file.read_bytes() == before


def test_unlabelled_texts_that_are_refused(train_csv: Path, tmp_path: Path) -> None:
    texts = write(tmp_path / "more.csv", [(text,) for text, _ in sentences(60)], header="text")
    arguments = ["train", train_csv, "--unlabelled", texts, "--out", tmp_path / "m"]
    assert "not both" in fails(2, *arguments, "--vectors", "english")
    assert "not both" in fails(2, *arguments, "--set", "vectors=none")
    assert "no such file" in fails(2, *arguments, "--unlabelled", tmp_path / "none.csv").lower()
    assert [path.name for path in tmp_path.iterdir()] == ["more.csv"]
    vectors_file(tmp_path / "m.vectors")
    assert "other settings" in fails(2, *arguments)
    (tmp_path / "m.vectors").unlink()
    done(*arguments, "--preset", "lecture", "--set", "hidden=6", "--epochs", 1, "--threads", 1)
    shutil.rmtree(tmp_path / "m")
    write(texts, [("other words",)] * 60, header="text")
    said = fails(2, *arguments, "--preset", "lecture", "--set", "hidden=6")
    assert f"{tmp_path / 'm.vectors'} has word vectors of other texts" in said
    assert "without --unlabelled" in fails(2, *arguments, "--from", tmp_path / "x")
