"""benchmarks/accuracy.py, its sets and its peers, on made-up texts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.evaluation import pictures
from commands import PNG, sentences, write

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # as when one of them is run

import accuracy  # noqa: E402
import accuracy_pictures  # noqa: E402
import accuracy_report  # noqa: E402
import common  # noqa: E402
import fasttext_peer  # noqa: E402
import linear_peers  # noqa: E402
import text_peers  # noqa: E402
import text_sets  # noqa: E402
from text_peers import PEERS  # noqa: E402

INSTALLED = [name for name in PEERS if not text_peers.missing(name)]
THREE = [("what is it", "ENTY"), ("who was that", "HUM"), ("where was it", "LOC")]
Finished = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two million word pairs take seconds, as the pictures of a model do."""
    monkeypatch.setattr(pictures, "draw", lambda *given: [])
    monkeypatch.setitem(fasttext_peer.ARGUMENTS, "bucket", 1000)
    monkeypatch.setattr(fasttext_peer, "EPOCHS", (5, 25))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes in tweet-irony, three in trec; the others are absent."""
    for part, count in (("train", 60), ("test", 20)):
        write(tmp_path / f"tweet-irony-{part}.csv", sentences(count, seed=len(part)))
        write(tmp_path / f"trec-{part}.csv", [THREE[i % 3] for i in range(count)])
    return tmp_path


@pytest.fixture
def finished(folder: Path, capsys: pytest.CaptureFixture[str]) -> Finished:
    """Runs the benchmark: what it printed, and its last line's JSON."""

    def run(*given: str) -> tuple[str, dict[str, Any]]:
        out = ["--data", str(folder), "--out", str(folder / "runs" / "rows.jsonl")]
        assert accuracy.main([*out, "--threads", "1", *given]) == 0
        *printed, last = capsys.readouterr().out.splitlines()
        return "\n".join(printed), json.loads(last)

    return run


def row_of(cell: accuracy.Cell) -> dict[str, Any]:
    figures = dict.fromkeys(accuracy_report.FIGURES, 0.5)
    return {**cell.key, **figures, "train_texts": len(cell.train), "test_texts": len(cell.test)}


def test_all_installed_peers_run_and_nothing_runs_twice(
    finished: Finished, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--labels", "30,all", "--draws", "2", "--set", "epochs=2")
    text, result = finished(*few, "--pictures", str(folder))
    assert "| TF-IDF + LR " in text and "Accuracy in %, 30 labels" in text
    assert "mr is left out, it is not in the data folder" in result["left_out"]
    assert [(c["set"], c["labels"], c["peer"]) for c in result["cells"]] == [
        (name, labels, peer)
        for name in ("trec", "tweet-irony")
        for labels in ("30", "all")
        for peer in INSTALLED
    ]
    for cell in result["cells"]:
        assert 0 <= cell["accuracy"]["mean"] <= 1 and cell["train_seconds"]["mean"] > 0
        assert cell["bytes"]["mean"] > 100 and cell["texts_per_second"]["mean"] > 1
        assert cell["models"] == (2 if cell["labels"] == "30" else 1)
        assert (cell["accuracy"]["sd"] is None) == (cell["models"] == 1)
    for picture in (accuracy_pictures.TIME, accuracy_pictures.LABELS):
        assert (folder / picture).read_bytes().startswith(PNG)

    rows = folder / "runs" / "rows.jsonl"
    kept = rows.read_bytes()
    repeated: list[accuracy.Cell] = []

    def again(cell: accuracy.Cell) -> dict[str, Any]:
        repeated.append(cell)
        return row_of(cell)

    monkeypatch.setattr(accuracy, "measured", again)
    assert finished(*few)[1]["cells"] == result["cells"]
    assert (repeated, rows.read_bytes()) == ([], kept)
    rows.write_bytes(kept[:-20])  # killed while it wrote
    assert len(finished(*few)[1]["cells"]) == len(result["cells"])
    assert len(repeated) == 1
    assert json.loads(rows.read_text().splitlines()[-1])["accuracy"] == 0.5
    finished(*few, "--validate")
    assert len(repeated) == 1 + kept.count(b"\n")  # its rows are others


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("rows", [sentences(60), THREE * 15])
def test_predictions_are_labels_of_the_set(name: str, rows: list[tuple[str, str]]) -> None:
    texts, labels = [list(column) for column in zip(*rows, strict=True)]
    peer: Any = PEERS[name].make(1, 0)
    json.dumps(peer.settings)
    peer.fit(texts, labels)
    odd = [
        "",
        "\n",
        "__label__0 __label__7",
        "never seen",
        "\ud800 lone",
        texts[0] + "\n" + texts[1],
    ]
    found = peer.predict([*texts, *odd])
    assert isinstance(found, list) and len(found) == len(texts) + len(odd)
    assert {type(label) for label in found} == {str} and set(found) <= set(labels)
    assert peer.size() > 100
    if name in ("tfidf", "nbsvm", "fasttext-tuned"):
        assert found[: len(texts)] == labels
        assert json.loads(json.dumps(peer.chosen))


def test_log_count_ratios_by_hand() -> None:
    """Of good, film and dull in two positive texts (good film; good) and a negative one (dull
    film): with one more on each side p is (3, 2, 1) of 6 and q is (1, 2, 2) of 5."""
    from scipy.sparse import csr_matrix

    x = csr_matrix([[1, 1, 0], [1, 0, 0], [0, 1, 1]])
    positive = np.array([True, True, False])
    expected = np.log([(3 / 6) / (1 / 5), (2 / 6) / (2 / 5), (1 / 6) / (2 / 5)])
    np.testing.assert_allclose(linear_peers.log_count_ratios(x, positive), expected)
    ratios = np.array([1.0, -2.0, 0.5])
    weights, bias = linear_peers.interpolated(np.array([2.0, -1.0, 3.0]), 0.5, ratios, positive)
    # A quarter of (2, -1, 3) and 0.5; three quarters of naive Bayes times their mean size, 2.
    np.testing.assert_allclose(weights, ratios * [0.5 + 1.5, -0.25 + 1.5, 0.75 + 1.5])
    assert bias == pytest.approx(0.125 + 1.5 * np.log(2 / 1))


def test_nbsvm_reads_words_marks_and_pairs_that_are_there() -> None:
    words = linear_peers.NbSvm(1, 0).words.fit(["Don't, don't!"])
    assert sorted(words.vocabulary_) == ["!", ",", ", don't", "don't", "don't !", "don't ,"]
    assert words.transform(["don't don't"]).max() == 1


def test_c_is_the_smallest_of_the_best() -> None:
    y = np.array(["a", "b", "b"] * 4)
    held: list[int] = []

    def solved(train: Any, rows: Any, c: float) -> Any:
        assert sorted([*train, *rows]) == list(range(12))
        assert list(y[rows]).count("b") in (2, 3)
        held.extend(rows if c == 1 else [])
        return y[rows] if c >= 1 else np.full(len(rows), "b")

    assert linear_peers.best_c((0.1, 1.0, 10.0), y, solved, seed=0) == 1
    assert sorted(held) == list(range(12))


class TestSets:
    def test_draws_hold_each_class_and_the_smaller_draw(self) -> None:
        labels = ["common"] * 200 + [f"rare {i}" for i in range(9)]
        for seed in range(5):
            drawn = text_sets.draw(labels, 12, seed)
            assert len(set(drawn)) == 12 and {labels[row] for row in drawn} == set(labels)
            assert text_sets.draw(labels, 40, seed)[:12] == drawn
        assert text_sets.draw(labels, 12, 0) != text_sets.draw(labels, 12, 1)
        assert sorted(text_sets.draw(labels, 999, 0)) == list(range(209))
        assert len(set(text_sets.draw(labels, 3, 0))) == 3  # fewer than there are classes

    def test_validate_looks_at_no_test_part(self, folder: Path) -> None:
        whole = text_sets.read("trec", folder)
        (folder / "trec-test.csv").unlink()
        split = text_sets.read("trec", folder, validate=True)
        assert (len(split.train), len(split.test)) == (48, 12)
        assert sorted([*split.train.texts, *split.test.texts]) == sorted(whole.train.texts)
        assert split.digest != whole.digest

    def test_mr_ends_in_its_test_part(self, tmp_path: Path) -> None:
        write(tmp_path / "mr.csv", [(f"text {i}", "ab"[i % 2]) for i in range(1100)])
        found = text_sets.read("mr", tmp_path)
        assert (len(found.train), found.test.texts[0]) == (34, "text 34")
        assert (len(found.test), found.test.texts[-1]) == (1066, "text 1099")

    def test_imdb_is_the_official_folder_when_it_is_given(self, tmp_path: Path) -> None:
        for part, label in (("train", "neg"), ("train", "pos"), ("test", "neg"), ("test", "pos")):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(5):
                file = tmp_path / part / label / f"{number}_1.txt"
                file.write_text(f"{part} {label} {number}")
        found = text_sets.read("imdb", tmp_path, imdb=tmp_path)
        assert found.train.labels == found.test.labels == ["neg"] * 5 + ["pos"] * 5
        assert found.test.texts[0] == "test neg 0"
        split = text_sets.read("imdb", tmp_path, imdb=tmp_path, validate=True)
        assert {text.split()[0] for text in [*split.train.texts, *split.test.texts]} == {"train"}


def test_a_peer_that_is_not_installed_is_left_out(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = common.installed
    monkeypatch.setattr(common, "installed", lambda name: name != "fasttext" and installed(name))
    monkeypatch.setattr(accuracy, "measured", row_of)
    text, result = finished("--peers", "fasttext,tfidf", "--sets", "trec", "--labels", "all")
    assert [cell["peer"] for cell in result["cells"]] == ["tfidf"]
    assert "fasttext is left out, it needs fasttext-wheel: pip install 'carryline[bench]'" in text


def test_another_setting_is_another_row(folder: Path) -> None:
    def names(*given: str) -> set[str]:
        asked = accuracy.arguments(["--data", str(folder), "--sets", "trec", *given])
        peers = {"carryline": accuracy.changed(asked.set) if asked.set else PEERS["carryline"]}
        return {cell.name for cell in accuracy.cells(asked, peers)}

    assert names() == names() and len(names("--seeds", "3")) == 3
    assert not names() & names("--set", "epochs=2")
    assert not names() & names("--threads", "1")


def test_wrong_options_are_refused(folder: Path, capsys: Any) -> None:
    assert accuracy.main(["--data", str(folder / "nowhere")]) == 2
    assert "there is nothing to compare" in capsys.readouterr().err
    for wrong in ("epochs", "epochs=", "speed=2"):
        with pytest.raises(argparse.ArgumentTypeError, match="KEY=VALUE"):
            accuracy.setting(wrong)
    with pytest.raises(argparse.ArgumentTypeError, match="mr, trec"):
        accuracy.some_of(text_sets.SETS)("mr,sst")
    with pytest.raises(argparse.ArgumentTypeError, match="1 or more"):
        accuracy.counts("all,0")


def test_names_in_pictures_do_not_lie_over_each_other() -> None:
    points = [(0.5, 0.5), (0.5, 0.505), (0.9, 0.506), (0.5, 0.9)]
    found = accuracy_pictures.apart(points)
    assert found[1] - found[0] == pytest.approx(accuracy_pictures.APART, rel=0.01)
    assert found[2:] == [0.506, 0.9]


def test_markdown_is_a_table() -> None:
    assert accuracy_report.markdown([["", "a"], ["x", "1.5"]]).splitlines() == [
        "|   |   a |", "| - | --: |", "| x | 1.5 |",
    ]  # fmt: skip
