"""`carryline tune`."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from carryline import load
from commands import PNG, as_json, command, done, fails, weights

pytest.importorskip("optuna", reason="the search needs Optuna: pip install 'carryline[tune]'")

TINY = ["--set", "vocabulary=400", "--set", "embedding=8", "--set", "hidden=8"]
TINY += ["--set", "batch_size=16", "--set", "epochs=12", "--set", "patience=0"]
SEARCH = [*TINY, "--seed", 1, "--threads", 1, "--no-baseline"]
FILES = {"config.json", "tokenizer.json", "model.safetensors", "history.jsonl", "metrics.json"}
FILES |= {"README.md", "trials.csv", "plots"}


@pytest.fixture(scope="module")
def straight(train_csv: Path, corpus: Path) -> tuple[Path, Result]:
    """A search that was never stopped, and what it printed."""
    out = corpus / "tuned"
    return out, done("tune", train_csv, *SEARCH, "--trials", 6, "--out", out)


def trials(out: Path) -> list[dict[str, str]]:
    """All that does not depend on time."""
    with (out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "ended")} for row in rows]


def test_it_leaves_a_model_a_table_and_a_picture(straight: tuple[Path, Result]) -> None:
    out, result = straight
    assert {entry.name for entry in out.iterdir()} == FILES
    assert not out.with_name("tuned.partial").exists()
    assert (out / "plots" / "tuning.png").read_bytes().startswith(PNG)
    rows = trials(out)
    assert [row["number"] for row in rows] == list("012345")
    assert "hidden" not in rows[0]
    done("predict", out, "The film was dull.")
    assert load(out).config.hidden == (8,)
    assert result.stderr.count("\ntrial ") == 6
    first, *_, last = [line for line in result.stderr.splitlines() if line.startswith("trial ")]
    assert first.endswith("; the defaults")
    best = max(float(row["macro_f1"]) for row in rows if row["state"] == "complete")
    assert f"best {best:.4f}; " in last
    assert result.stdout.startswith("the best of 6 trials")


def test_the_command_it_prints_makes_the_same_model(
    straight: tuple[Path, Result], tmp_path: Path
) -> None:
    out, result = straight
    *_, said, again = result.stdout.splitlines()
    assert said == "This makes the same model, to the bit:"
    words = shlex.split(again)
    assert words[:2] == ["carryline", "train"]
    assert words[-2:] == ["--out", "MODEL"]
    done(*words[1:-1], tmp_path / "m", "--no-baseline")
    assert weights(tmp_path / "m") == weights(out)


def test_the_command_names_columns_and_parts(train_csv: Path, tmp_path: Path) -> None:
    data = tmp_path / "my data.tsv"
    data.write_text(train_csv.read_text().replace("text,label", "a,b").replace(",", "\t"), "latin1")
    how = ["--text", "a", "--label", "b", "--encoding", "latin1", "--valid-fraction", 0.2]
    how += ["--limit", 150, "--skip-bad-rows"]
    out = tmp_path / "m"
    result = as_json("tune", data, *SEARCH, "--trials", 2, "--out", out, *how)
    words = shlex.split(result["command"])
    assert str(data) in words
    done(*words[1:-1], tmp_path / "again", "--no-baseline")
    assert weights(tmp_path / "again") == weights(out)
    assert (result["exact"], result["interrupted"], result["check"]) == (True, False, None)
    assert len(result["trials"]) == 2


def test_validation_data(train_csv: Path, test_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    result = as_json(
        "tune", train_csv, *SEARCH, "--trials", 1, "--out", out, "--valid", test_csv
    )  # fmt: skip
    assert json.loads((out / "metrics.json").read_text())["texts"] == 40
    assert f"--valid {test_csv}" in result["command"]
    assert result["best"] == result["defaults"]


class Searching:
    """A search in another process that is stopped after its second trial."""

    def __init__(self, data: Path, out: Path) -> None:
        self.arguments = ["tune", data, *SEARCH, "--trials", 6, "--out", out]
        self.out, self.partial = out, out.with_name(f"{out.name}.partial")

    def stopped_by(self, number: signal.Signals) -> tuple[int, str, str]:
        # Jobs in the background inherit that SIGINT is ignored, and with them this run would.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            command(*self.arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        signal.signal(signal.SIGINT, inherited)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("trial 1:"):
                process.send_signal(number)
                break
        stdout, stderr = process.communicate(timeout=100)
        return process.returncode, stdout, stderr


def test_a_search_that_was_killed_goes_on_to_the_same_end(
    train_csv: Path, tmp_path: Path, straight: tuple[Path, Result]
) -> None:
    search = Searching(train_csv, tmp_path / "m")
    status, stdout, _ = search.stopped_by(signal.SIGKILL)
    assert (status, stdout) == (-signal.SIGKILL, "")
    assert not search.out.exists()
    error = fails(2, *search.arguments)
    assert f"{search.partial} holds the trials of a search; --resume" in error
    error = fails(2, *search.arguments, "--resume", "--set", "dropout=0.1")
    assert "made with other settings (dropout: 0.5, yours 0.1) and other searched settings" in error
    error = fails(2, *search.arguments, "--resume", "--limit", 100)
    assert "made with other training data and other validation data; give the same" in error
    result = done(*search.arguments, "--resume")
    assert "resuming after " in result.stderr
    assert "trial 0:" not in result.stderr
    assert trials(search.out) == trials(straight[0])
    assert weights(search.out) == weights(straight[0])
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_ctrl_c_delivers_the_best_so_far(
    train_csv: Path, tmp_path: Path, straight: tuple[Path, Result]
) -> None:
    search = Searching(train_csv, tmp_path / "m")
    status, stdout, stderr = search.stopped_by(signal.SIGINT)
    assert status == 0, stderr
    assert stdout.startswith("the best of ")
    assert "stopped early; the same command with --resume goes on" in stderr
    done("predict", search.out, "The film was dull.")
    so_far = trials(search.out)
    assert 2 <= len(so_far) < 6
    assert so_far == trials(straight[0])[: len(so_far)]
    done(*search.arguments, "--resume")
    assert trials(search.out) == trials(straight[0])
    assert weights(search.out) == weights(straight[0])
    assert not search.partial.exists()


def test_ctrl_c_before_the_first_epoch_leaves_nothing(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("carryline.training.loop.train", stopped)
    out = tmp_path / "m"
    error = fails(130, "tune", train_csv, *SEARCH, "--trials", 2, "--out", out)
    assert error.endswith("no epoch had ended: nothing is kept\ncarryline: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_model_is_saved_says_where_the_trials_are(
    train_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    arguments = ["tune", train_csv, *SEARCH, "--trials", 1, "--out", tmp_path / "m"]
    with monkeypatch.context() as patch:
        patch.setattr("carryline.tasks.fitted.Fitted.save", stopped)
        error = fails(130, *arguments)
    assert f"the trials so far are in {tmp_path / 'm.partial'}; the same command" in error
    done(*arguments, "--resume")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_errors(
    train_csv: Path, straight: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", tmp_path / "m"]
    assert "already holds a model" in fails(2, "tune", "no.csv", "--out", straight[0])
    assert "already holds a model" in fails(2, "tune", "no.csv", "--resume", "--out", straight[0])
    assert "not both" in fails(2, "tune", train_csv, *out, "--valid", "x", "--valid-fraction", 0.1)
    assert "not both" in fails(2, "tune", train_csv, *out, "--seed", 1, "--set", "seed=2")
    assert "unknown setting" in fails(2, "tune", train_csv, *out, "--set", "no=1")
    for option, value in (("--minutes", 0), ("--trials", 0), ("--valid-fraction", 0)):
        assert option in fails(2, "tune", train_csv, *out, option, value)
    (tmp_path / "m.partial").mkdir()
    (tmp_path / "m.partial" / "mine.txt").touch()
    assert "choose another folder" in fails(2, "tune", train_csv, *out)
    monkeypatch.setitem(sys.modules, "optuna", None)
    error = fails(2, "tune", "no.csv", "--out", tmp_path / "n")
    assert error.rstrip().endswith("pip install 'carryline[tune]'")
