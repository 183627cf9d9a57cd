from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carryline import network
from carryline.config import preset
from carryline.ragged import Ragged

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # as when one of them is run

import common  # noqa: E402
import training  # noqa: E402


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def batches() -> training.Batches:
    return training.prepare(training.synthetic(40), preset("lecture", batch_size=8), 3)


@pytest.fixture(scope="module")
def output() -> list[str]:
    """The lines that training.py prints."""
    sizes = ["--batches", "3", "--rounds", "1", "--texts", "60", "--batch-size", "8"]
    done = run("training.py", *sizes)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class TestCommon:
    def test_contenders_run_in_turn_after_their_warmups(self) -> None:
        calls: list[str] = []
        contenders = [
            common.Contender("a", lambda: calls.append("a"), 10),
            common.Contender("b", lambda: calls.append("b"), 10, warmups=1),
        ]
        rates = common.interleave(contenders, rounds=3)
        assert "".join(calls) == "aab" + "ababab"
        assert {name: len(values) for name, values in rates.items()} == {"a": 3, "b": 3}
        assert min(rates["a"] + rates["b"]) > 0

    def test_ratios_are_taken_round_by_round(self) -> None:
        assert common.ratios([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {
            "median": 3.0,
            "min": 2.0,
            "max": 4.0,
        }

    def test_table_lines_up(self) -> None:
        assert common.table([["", "x"], ["long", "1"], ["b", "22"]]) == (
            "       x\nlong   1\nb     22"
        )

    def test_machine_is_json_and_named(self) -> None:
        about = json.loads(json.dumps(common.machine("torch")))
        assert about["cpu"]
        assert about["versions"]["torch"] == torch.__version__
        assert about["instruction_set"] in common.describe(about)

    @pytest.mark.parametrize("text", ["0", "-1", "1.5", ""])
    def test_a_count_is_positive(self, text: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError, match="1 or more"):
            common.positive(text)


class TestTraining:
    def test_ends_in_json(self, output: list[str]) -> None:
        result: dict[str, Any] = json.loads(output[-1])
        assert result["batches"] == 3
        assert 0 < result["tokens"] <= result["padded_tokens"]
        assert result["flop_a_token"] == 393_216
        assert result["peak_flops"] > 1e8
        assert result["onednn"] == torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        rates = {name: rate["median"] for name, rate in result["tokens_per_second"].items()}
        ratio = rates["carryline"] / rates["torch padded"]
        assert result["ratio"]["torch padded"]["median"] == pytest.approx(ratio)
        share = rates["carryline"] * 393_216 / result["peak_flops"]
        assert result["share_of_peak"]["carryline"] == pytest.approx(share)

    def test_prints_machine_and_table(self, output: list[str]) -> None:
        text = "\n".join(output[:-1])
        for part in ("cores", "torch 2", "393,216 FLOP a token", "carryline", "torch padded"):
            assert part in text

    def test_missing_data_is_said(self) -> None:
        done = run("training.py", "--data", "nowhere.parquet")
        assert done.returncode == 2
        assert "nowhere.parquet" in done.stderr
        assert "Traceback" not in done.stderr

    def test_both_sides_train_the_same_model(self, batches: training.Batches) -> None:
        ours, peer = same_model(batches)
        theirs = sum(p.numel() for name, p in peer.named_parameters() if "bias_hh" not in name)
        shapes = network.parameter_shapes(batches.config, batches.vocabulary, 1)
        assert theirs == network.count_parameters(shapes)
        even = Ragged(batches.ragged[0].values[:60], np.arange(0, 61, 20))
        for ragged, packed in ((even, False), (even, True), (batches.ragged[0], True)):
            one = training.Batches(
                batches.config, batches.vocabulary, [ragged], [np.zeros(len(ragged), np.int64)]
            )
            ids, lengths, _ = one.padded[0]
            expected = ours(ragged)[:, 0][torch.from_numpy(ragged.plan.inverse_order)]
            torch.testing.assert_close(peer(ids, lengths if packed else None), expected)

    def test_both_sides_learn(self, batches: training.Batches) -> None:
        ours = training.Ours(batches.first(1), threads=1)
        theirs = training.Theirs(batches.first(1), packed=False)
        for model, work in ((ours.trainer.model, ours), (theirs.model, theirs)):
            before = [p.detach().clone() for p in model.parameters()]
            work()
            for old, new in zip(before, model.parameters(), strict=True):
                assert not torch.equal(old, new)

    def test_padding_fills_up_to_the_longest(self, batches: training.Batches) -> None:
        for ragged, (ids, lengths, targets) in zip(batches.ragged, batches.padded, strict=True):
            assert ids.shape == (ragged.lengths.max(), len(ragged)) and ids.dtype == torch.int64
            assert len(targets) == len(ragged)
            for text, length, row in zip(ragged, lengths, ids.T, strict=True):
                np.testing.assert_array_equal(row[:length], text)
                assert not row[length:].any()

    def test_synthetic_texts_are_like_reviews(self) -> None:
        texts = training.synthetic(2000)
        assert texts == training.synthetic(2000)
        made = training.prepare(texts, preset("lecture"), 10)
        lengths = np.concatenate([batch.lengths for batch in made.ragged])
        assert made.vocabulary == 8185
        assert 280 < lengths.mean() < 380
        distinct = [len(np.unique(batch.values)) / len(batch.values) for batch in made.ragged]
        assert 0.15 < np.mean(distinct) < 0.3


def same_model(batches: training.Batches) -> tuple[torch.nn.Module, training.Peer]:
    """Ours and the peer, with the same weights."""
    ours = training.Ours(batches, threads=1).trainer.model
    peer = training.Peer(batches.config, batches.vocabulary)
    with torch.no_grad():
        for name, weight in peer.named_parameters():
            weight.copy_(ours.get_parameter(name)) if "bias_hh" not in name else weight.zero_()
    return ours, peer
