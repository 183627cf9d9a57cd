"""`carryline vectors`: files in, a file out; what it says when something is wrong."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from carryline.text import streams
from carryline.text.vectors import Vectors
from carryline.training.skipgram import SkipGram
from commands import as_json, done, fails, no_room, run, sentences, write

SMALL = ["--width", 8, "--epochs", 2, "--threads", 1]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write(tmp_path / "texts.csv", [(text,) for text, _ in sentences(60)], header="whatever")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "words.vectors"


@pytest.mark.parametrize("bits", ["4", "8", "16", "32"])
def test_vectors_are_learned_and_written(texts: Path, out: Path, bits: str) -> None:
    result = done("vectors", texts, "--out", out, *SMALL, "--bits", bits)
    found = Vectors.load(out)
    assert found.words[:3] == ["the", "was", "."]
    assert found.matrix.shape == (len(found.words), 8)
    assert f"{len(found.words)} words, 8 values each" in result.stdout
    assert "column 'whatever' (--text names another)" in result.stderr
    assert "60 texts, " in result.stderr
    assert "epoch 2: loss" in result.stderr
    assert [path.name for path in out.parent.iterdir()] == ["words.vectors"]


def test_several_sources_and_json(texts: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("zebra " * 7)
    result = as_json("vectors", texts, tmp_path / "more", "--out", out, *SMALL)
    found = Vectors.load(out)
    assert found.by_word["zebra"] >= 0
    assert [source["texts"] for source in found.about["sources"]] == [60, 1]
    assert sum(source["words"] for source in found.about["sources"]) == found.about["words"]
    assert [source["sha256"] is None for source in found.about["sources"]] == [False, True]
    assert result["words"] == len(found.words)
    assert result["words_read"] == found.about["words"]
    assert result["bytes"] == out.stat().st_size


def test_settings_are_kept(texts: Path, out: Path) -> None:
    done("vectors", texts, "--out", out, *SMALL, "--words", 4, "--least", 2, "--seed", 7)
    found = Vectors.load(out)
    assert len(found.words) == 4
    settings = found.about["settings"]
    assert (settings["words"], settings["least"], settings["seed"]) == (4, 2, 7)
    assert settings["window"] == 6


def test_rows_that_cannot_be_used(tmp_path: Path, out: Path) -> None:
    rows = [json.dumps({"text": "a b c"})] * 20 + ["{"]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    assert "a.jsonl, line 21" in fails(2, "vectors", tmp_path / "a.jsonl", "--out", out, *SMALL)
    result = done("vectors", tmp_path / "a.jsonl", "--out", out, *SMALL, "--skip-bad-rows")
    assert "rows skipped, as they cannot be used: 1" in result.stderr


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--width", 0], "1 <= width <= 4096, it is 0"),
        (["--window", 101], "1 <= window <= 100, it is 101"),
        (["--sample", "nan"], "0 <= sample <= 1, it is nan"),
        (["--rate", 2], "1e-09 <= rate <= 1, it is 2.0"),
        (["--seed", -1], "seed"),
        (["--bits", 5], "5"),
        (["--least", 10_000], "10000 times at least (--least); the most frequent one is there"),
        (["--text", "body"], "column 'body' is not in"),
        (["--encoding", "utf-99"], "unknown encoding"),
    ],
)
def test_wrong_options(texts: Path, out: Path, options: list[Any], wrong: str) -> None:
    assert wrong in fails(2, "vectors", texts, "--out", out, *SMALL, *options)
    assert not out.exists()
    assert not out.with_name("words.vectors.partial").exists()


def test_wrong_places(texts: Path, out: Path, tmp_path: Path) -> None:
    arguments = ["vectors", texts, "--out", out, *SMALL]
    said = fails(2, "vectors", tmp_path / "none.csv", "--out", out)
    assert "no such file or folder" in said
    assert "must end in one of" in fails(2, "vectors", write(tmp_path / "a.doc", []), "--out", out)
    assert "must be a folder" in fails(2, "vectors", texts, "--out", texts / "x", *SMALL)
    assert "File name too long" in fails(2, "vectors", texts, "--out", 300 * "x", *SMALL)
    partial = out.with_name("words.vectors.partial")
    partial.mkdir(parents=True)
    (partial / "mine").write_text("x")
    assert "is not empty" in fails(2, *arguments)
    (partial / "mine").unlink()
    done(*arguments)
    assert "is there already" in fails(2, *arguments)


def test_too_little_text_is_said(tmp_path: Path, out: Path) -> None:
    (tmp_path / "a.txt").write_text("a b c d\n" * 9)
    said = "hardly a word was learned from; --sample 0"
    assert said in done("vectors", tmp_path / "a.txt", "--out", out, *SMALL).stderr
    again = ["--out", out.with_name("again"), "--sample", 0]
    assert said not in done("vectors", tmp_path / "a.txt", *again, *SMALL).stderr


def test_ctrl_c_keeps_what_is_done(texts: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["vectors", texts, "--out", out, *SMALL, "--bits", 32]
    done(*arguments[:3], out.with_name("whole"), *arguments[4:])
    with monkeypatch.context() as patch:
        step = SkipGram.step

        def stopped(*given: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return step(*given)

        patch.setattr(SkipGram, "step", stopped)
        result = run(*arguments)
    assert result.exit_code == 130
    assert "the vectors so far are in " in result.stderr
    assert "the same command with --resume goes on" in result.stderr
    assert "--resume" in fails(2, *arguments)
    assert "width 8, now 9" in fails(2, *arguments, "--width", 9, "--resume")
    done(*arguments, "--resume")
    whole = Vectors.load(out.with_name("whole"))
    assert Vectors.load(out).matrix.tobytes() == whole.matrix.tobytes()
    assert "is complete" in done(*arguments, "--resume").stderr
    assert "width 8, now 9" in fails(2, *arguments, "--width", 9, "--resume")


def test_ctrl_c_while_reading_keeps_nothing(
    texts: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(streams, "texts", stopped)
    result = run("vectors", texts, "--out", out, *SMALL)
    assert result.exit_code == 130
    assert "nothing is kept" in result.stderr
    assert not list(out.parent.iterdir())


def test_what_could_not_be_written_is_not_lost(
    texts: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["vectors", texts, "--out", out, *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(Vectors, "save", no_room)
        assert "no room left on the disk" in fails(1, *arguments)
    assert not out.exists()
    done(*arguments, "--resume")
    assert Vectors.load(out).matrix.any()
