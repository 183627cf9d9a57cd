from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import carryline
from carryline.bench import Contender, made_weights
from carryline.errors import CarrylineError
from carryline.model import network
from carryline.model.config import POOLINGS, preset
from carryline.model.network import Network
from carryline.recurrence import _kernels, kernels
from carryline.recurrence.ragged import Ragged

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # as when one of them is run

import batches as texts_and_batches  # noqa: E402
import beside  # noqa: E402
import cells  # noqa: E402
import common  # noqa: E402
import inference  # noqa: E402
import latency  # noqa: E402
import results  # noqa: E402
import roofline  # noqa: E402
import scaling  # noqa: E402
import short  # noqa: E402
import steps  # noqa: E402
import torch_peer  # noqa: E402
import training  # noqa: E402
from batches import Batches, ours, padded, prepare, synthetic  # noqa: E402

SMALL = ["--rounds", "1", "--texts", "60", "--threads", "1"]
FEW = [*SMALL, "--batches", "3", "--batch-size", "8"]
SITE = str(Path(carryline.__file__).resolve().parent.parent)  # as if it were another version's
Runner = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def batches() -> Batches:
    return prepare(synthetic(40), preset("lecture", batch_size=8), 3)


@pytest.fixture(scope="module")
def output() -> list[str]:
    """The lines that training.py prints."""
    command = [sys.executable, "-W", "error", str(BENCHMARKS / "training.py"), *FEW]
    done = subprocess.run(
        [*command, "--net", "lecture,2x8", "--packed", "1", "--keras", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def finished(capsys: pytest.CaptureFixture[str]) -> Iterator[Runner]:
    """Runs a benchmark's main in this process: what it printed, and its last line's JSON."""
    threads = torch.get_num_threads()

    def run(main: Callable[[list[str]], int], *arguments: str) -> tuple[str, dict[str, Any]]:
        assert main(list(arguments)) == 0
        *printed, last = capsys.readouterr().out.splitlines()
        return "\n".join(printed), json.loads(last)

    yield run
    torch.set_num_threads(threads)


class TestCommon:
    def test_rounds_are_timed_as_by_carryline_bench(self, capsys: Any) -> None:
        rates = common.interleave([Contender("a", lambda: 0.5, 10)], rounds=2)
        assert rates == {"a": [20.0, 20.0]}
        assert "round 2, a: 20 a second" in capsys.readouterr().err

    def test_ratios_are_taken_round_by_round(self) -> None:
        assert common.ratios([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {
            "median": 3.0,
            "min": 2.0,
            "max": 4.0,
        }

    def test_all_are_compared_with_the_first(self) -> None:
        found = common.compared({"ours": [40.0], "theirs": [10.0]}, flop=5, peak=400)
        assert found["ratio"] == {"theirs": {"median": 4.0, "min": 4.0, "max": 4.0}}
        assert found["share_of_peak"] == {"ours": 0.5, "theirs": 0.125}
        rows = [line.split() for line in common.speeds(found, 400).splitlines()]
        assert rows[1] == ["ours", "40", "40", "40", "50.0%"]
        assert rows[2] == ["theirs", "10", "10", "10", "12.5%", "4.00", "(4.00", "to", "4.00)"]
        assert rows[3] == ["fp32", "peak", "80", "100.0%"]

    def test_table_lines_up(self) -> None:
        assert common.table([["", "x"], ["long", "1"], ["b", "22"]]) == (
            "       x\nlong   1\nb     22"
        )

    def test_machine_is_json_and_named(self) -> None:
        about = json.loads(json.dumps(common.machine()))
        assert about["cpu"]
        assert about["versions"]["torch"] == torch.__version__
        assert about["instruction_set"] in common.describe(about)
        about["versions"]["keras"] = None
        assert "keras" not in common.describe(about)

    def test_what_is_not_installed_is_said(self) -> None:
        assert common.missing("torch", "no_such_peer") == [
            "no_such_peer is not installed: left out"
        ]
        assert common.installed("torch", "numpy")
        assert not common.installed("torch", "no_such_peer")

    @pytest.mark.parametrize("text", ["0", "-1", "1.5", ""])
    def test_a_count_is_positive(self, text: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError, match="1 or more"):
            common.positive(text)

    @pytest.mark.parametrize("benchmark", [training, short, inference, latency, scaling, cells])
    def test_missing_data_is_said(self, benchmark: Any, capsys: Any) -> None:
        assert benchmark.main(["--data", "nowhere.parquet", "--threads", "1"]) == 2
        assert "nowhere.parquet" in capsys.readouterr().err


class TestBatches:
    def test_padding_fills_up_to_the_longest(self, batches: Batches) -> None:
        for ragged, (ids, lengths) in zip(batches.ragged, batches.padded, strict=True):
            assert ids.shape == (ragged.lengths.max(), len(ragged)) and ids.dtype == np.int64
            for text, length, row in zip(ragged, lengths, ids.T, strict=True):
                np.testing.assert_array_equal(row[:length], text)
                assert not row[length:].any()
        assert batches.sizes["padded_tokens"] >= batches.sizes["tokens"] == batches.tokens

    def test_synthetic_texts_are_like_reviews(self) -> None:
        texts = synthetic(1000)
        assert texts == synthetic(1000)
        made = prepare(texts, preset("lecture"), 10)
        lengths = np.concatenate([batch.lengths for batch in made.ragged])
        assert made.vocabulary == 8185
        assert 280 < lengths.mean() < 380
        distinct = [len(np.unique(batch.values)) / len(batch.values) for batch in made.ragged]
        assert 0.15 < np.mean(distinct) < 0.3

    def test_synthetic_texts_can_be_short(self) -> None:
        texts = synthetic(1000, words_a_text=texts_and_batches.SHORT)
        words = np.array([len(text.split()) for text in texts])
        assert 19 < words.mean() < 22 and words.min() >= 2

    def test_data_are_read_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("review,label\na film,x\n,y\n", encoding="utf-8")
        asked = common.options(None).parse_args(
            ["--data", str(tmp_path / "a.csv"), "--text", "review"]
        )
        assert texts_and_batches.read(asked) == ["a film"]


class TestTorchPeer:
    @pytest.mark.parametrize("cell", list(torch_peer.LAYERS))
    @pytest.mark.parametrize("hidden", [[8], [8, 8]])
    def test_is_the_same_network(self, batches: Batches, cell: str, hidden: list[int]) -> None:
        config = batches.config.replace(cell=cell, hidden=hidden, embedding=8)
        weights = made_weights(config, batches.vocabulary)
        peer = torch_peer.Peer(config, batches.vocabulary)
        seconds = sum(p.numel() for name, p in peer.named_parameters() if "bias_hh" in name)
        numbers = sum(p.numel() for p in peer.parameters()) - seconds
        own = {name: value.shape for name, value in weights.items() if "bias_hh" not in name}
        assert numbers == network.count_parameters(own)
        peer.fill(weights)
        ours = Network(config, weights)
        even = Ragged(batches.ragged[0].values[:60], np.arange(0, 61, 20))
        for ragged, packed in ((even, False), (even, True), (batches.ragged[0], True)):
            expected = ours.logits(ragged, threads=1)[:, 0]
            np.testing.assert_allclose(peer.logits(padded(ragged), packed), expected, atol=1e-5)

    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("dense", [0, 8])
    def test_pools_real_tokens_only(self, batches: Batches, pooling: str, dense: int) -> None:
        sizes = {"embedding": 8, "hidden": 8, "dense": dense}
        config = preset("base", **sizes, pooling=pooling)
        weights = made_weights(config, batches.vocabulary)
        peer, ours = torch_peer.Peer(config, batches.vocabulary).eval(), Network(config, weights)
        peer.fill(weights)
        ragged = batches.ragged[0]
        assert len(set(ragged.lengths)) > 1
        expected = ours.logits(ragged, threads=1)[:, 0]
        np.testing.assert_allclose(peer.logits(padded(ragged), True), expected, atol=1e-5)

    def test_padded_states_do_not_count(self) -> None:
        states = torch.tensor([[1.0, -3.0], [3.0, -1.0], [9.0, 9.0]])[:, :, None]
        real = torch.tensor([[1, 1], [1, 1], [0, 1]], dtype=torch.bool)[:, :, None]
        assert torch_peer.largest(states, real)[:, 0].tolist() == [3, 9]
        assert torch_peer.mean(states, real)[:, 0].tolist() == [2, pytest.approx(5 / 3)]

    def test_drops_and_clips_as_the_preset_does(self, batches: Batches) -> None:
        config = preset("base", embedding=8, hidden=8, clip=1e-6)
        work = torch_peer.TrainingSteps(batches.first(1).of(config))
        batch = batches.padded[0]
        assert not np.array_equal(work.model.logits(batch, False), work.model.logits(batch, False))
        work()
        norms = [p.grad.norm() for p in work.model.parameters() if p.grad is not None]
        assert torch.stack(norms).norm() <= 1.01e-6

    def test_both_sides_learn(self, batches: Batches) -> None:
        us, them = ours(batches.first(1), 1), torch_peer.TrainingSteps(batches.first(1))
        sides: list[tuple[Any, Callable[[], list[Any]]]] = [
            (us, lambda: list(us.trainer.weights().values())),
            (them, lambda: [p.detach().numpy().copy() for p in them.model.parameters()]),
        ]
        for work, weights in sides:
            before = weights()
            work()
            for old, new in zip(before, weights(), strict=True):
                assert not np.array_equal(old, new)

    def test_bf16_is_asked_for_only_where_it_is(self, batches: Batches) -> None:
        steps = torch_peer.TrainingSteps(batches.first(1), precision="bf16")
        if torch_peer.takes_bf16():
            steps()
        else:
            with pytest.raises(RuntimeError):
                steps()


class TestTraining:
    def test_ends_in_json(self, output: list[str]) -> None:
        result: dict[str, Any] = json.loads(output[-1])
        assert result["batches"] == 3
        assert 0 < result["tokens"] <= result["padded_tokens"]
        assert result["peak_flops"] > 1e8
        assert result["onednn"] == torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        assert list(result["nets"]) == ["lecture", "2x8"]
        found = result["nets"]["lecture"]
        assert found["flop_a_token"] == 393_216
        rates = {name: rate["median"] for name, rate in found["tokens_per_second"].items()}
        assert set(rates) - {"keras masked"} == {"carryline", "torch padded", "torch packed"}
        ratio = rates["carryline"] / rates["torch padded"]
        assert found["ratio"]["torch padded"]["median"] == pytest.approx(ratio)
        assert 0 < found["step"]["outside_recurrence"] < found["step"]["milliseconds"]
        assert "step" not in result["nets"]["2x8"]
        share = rates["carryline"] * 393_216 / result["peak_flops"]
        assert found["share_of_peak"]["carryline"] == pytest.approx(share)
        assert ("keras masked" in rates) == (result["left_out"] == [])

    def test_prints_machine_and_tables(self, output: list[str]) -> None:
        text = "\n".join(output[:-1])
        for part in (
            "cores",
            "torch 2",
            "393,216 FLOP a token",
            "2x8, ",
            "torch padded",
            "outside",
        ):
            assert part in text

    def test_bf16_stands_beside_fp32(self, finished: Runner) -> None:
        text, result = finished(training.main, *FEW, "--precision", "bf16")
        rates = result["nets"]["lecture"]["tokens_per_second"]
        assert training.OURS in rates
        for name, there in (
            (training.OURS_BF16, True),
            (training.PADDED_BF16, torch_peer.takes_bf16()),
        ):
            assert (name in rates) == there
            assert (f"{name} is left out" in text) == (not there)

    def test_networks_by_name(self) -> None:
        lecture = preset("lecture")
        assert training.network("lecture", lecture) is lecture
        large = training.network("2x256", lecture)
        assert (large.embedding, large.hidden) == (128, (256, 256))
        assert training.network("512", lecture).hidden == (512,)
        assert training.names("lecture,128,2x256") == ["lecture", "128", "2x256"]
        for wrong in ("", "x8", "0", "lecture,", "base", "2x", "-1"):
            with pytest.raises(argparse.ArgumentTypeError, match="networks are"):
                training.names(wrong)


class TestShort:
    def test_presets_stand_beside_torch(self, finished: Runner) -> None:
        text, result = finished(short.main, *FEW)
        found = {one["net"]: one for one in result["sections"]}
        assert {name: one["flop_a_token"] for name, one in found.items()} == {
            "base": 1_572_864,
            "lecture": 393_216,
        }
        for one in found.values():
            assert one["data"] == "made up" and (one["batches"], one["texts"]) == (3, 24)
            assert list(one["tokens_per_second"]) == [short.OURS, short.PADDED]
        for part in ("base on made up", "torch padded", "ms a step", steps.ELSE, "outside the rec"):
            assert part in text

    def test_files_and_another_version(self, finished: Runner, tmp_path: Path) -> None:
        files = [tmp_path / "a.csv", tmp_path / "b.csv"]
        for file in files:
            lines = [f"{text},x" for text in synthetic(20, words_a_text=texts_and_batches.SHORT)]
            file.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
        given = [part for file in files for part in ("--data", str(file))]
        text, result = finished(short.main, *FEW, *given, "--net", "small", "--beside", SITE)
        assert result["data"] == "a.csv, b.csv"
        assert [one["data"] for one in result["sections"]] == ["a.csv", "b.csv"]
        for one in result["sections"]:
            assert list(one["ratio"]) == [short.PADDED, short.BESIDE]
        assert SITE not in text

    def test_networks_by_name(self) -> None:
        assert short.names("base,lecture") == ["base", "lecture"]
        for wrong in ("", "base,", "2x8", "lecture-stacked"):
            with pytest.raises(argparse.ArgumentTypeError, match="networks are"):
                short.names(wrong)


class TestBeside:
    def test_answers_as_often_as_asked(self, batches: Batches) -> None:
        with beside.training_steps(SITE, batches.first(1), 1) as work:
            assert all(0 < work() < 60 for _ in range(3))

    def test_a_folder_without_carryline_is_refused(self, batches: Batches, tmp_path: Path) -> None:
        refused = pytest.raises(CarrylineError, match="cannot take the steps")
        with refused, beside.training_steps(str(tmp_path), batches.first(1), 1):
            pass


class TestSteps:
    def test_parts_add_up_to_the_step(self, batches: Batches) -> None:
        before = dict(vars(_kernels))
        found = steps.split(batches, threads=1, rounds=2)
        assert vars(_kernels) == before
        parts = {part["part"]: part for part in found["parts"]}
        assert sum(part["share"] for part in parts.values()) == pytest.approx(1)
        whole = sum(part["milliseconds"] for part in parts.values())
        assert whole == pytest.approx(found["milliseconds"])
        assert list(parts)[-1] == steps.ELSE and parts[steps.ELSE]["milliseconds"] > 0
        for name in ("forward", "backward", "weight gradients"):
            assert parts[f"recurrence, {name}"]["calls"] == 1
        inside = sum(p["milliseconds"] for n, p in parts.items() if n.startswith("recurrence, "))
        assert found["outside_recurrence"] == pytest.approx(whole - inside)
        assert "whole step" in steps.table(found)
        assert 0 < found["without_recurrence"] < found["milliseconds"]

    def test_only_the_recurrence_is_left_out(self) -> None:
        gates, others = np.zeros((4, 12), np.float32), np.zeros((4, 3), np.float32)

        def kernel(*given: Any) -> str:
            return "done"

        def gives(name: str, *given: Any) -> Any:
            return steps.left_out({12}, name, kernel)(*given)

        assert gives("recurrence_forward", others) is gives("recurrence_backward") is None
        assert gives("matmul", others, gates) is gives("outer", gates) is None
        assert gives("matmul", others, others) == gives("adam_rows", gates) == "done"

    def test_products_are_told_apart_by_their_width(self) -> None:
        def part(name: str, given: Any) -> str:
            return steps.part_of(name, given, {12})

        gates, others = np.zeros((4, 12), np.float32), np.zeros((4, 3), np.float32)
        assert part("matmul", (others, None, None, gates)) == "recurrence, products"
        assert part("outer", (gates, others)) == "recurrence, weight gradients"
        assert part("matmul", (others, np.zeros(12), None, others)) == "products"
        assert part("squares", (gates,)) == "clipping"
        assert part("yet_to_come", ()) == "yet_to_come"

    def test_kernels_are_themselves_again_after_an_error(self) -> None:
        before, clock = dict(vars(_kernels)), steps.Clock({12})
        dense = kernels.Dense(np.zeros((2, 3), np.float32), np.zeros(2, np.float32))
        with pytest.raises(TypeError), steps.replaced(clock.timed):
            dense(np.zeros((1, 3), np.float16), threads=1)
        assert vars(_kernels) == before


class TestInference:
    def test_all_that_is_installed_agrees_and_is_timed(self, finished: Runner) -> None:
        text, result = finished(inference.main, *FEW)
        assert result["flop_a_token"] == 131_072
        installed = {inference.OURS, inference.PADDED, inference.PACKED}
        if common.installed("onnx", "onnxruntime"):
            installed.add(inference.ONNX)
        assert set(result["tokens_per_second"]) == installed
        assert set(result["largest_difference"]) == installed - {inference.OURS, inference.PADDED}
        assert "carryline is faster by" in text

    def test_one_that_computes_something_else_is_refused(self) -> None:
        logits = np.zeros(3, np.float32)
        found: dict[str, inference.Work] = {
            "carryline": lambda: [logits],
            "torch padded": lambda: [logits + 1],  # known not to be exact
            "onnxruntime": lambda: [logits + 9e-5],
        }
        assert inference.differences(found)["onnxruntime"] == pytest.approx(9e-5)
        for wrong in (2e-4, np.nan):
            found["onnxruntime"] = lambda by=wrong: [logits + by]  # type: ignore[misc]
            with pytest.raises(SystemExit, match="logits of onnxruntime must be within"):
                inference.differences(found)


class TestOnnxPeer:
    @pytest.fixture
    def onnx_peer(self) -> Any:
        pytest.importorskip("onnx", reason="onnx is not installed; `make bench` installs it")
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        import onnx_peer

        return onnx_peer

    def test_is_the_same_network(self, onnx_peer: Any, batches: Batches) -> None:
        weights = made_weights(batches.config, batches.vocabulary)
        peer, ours = onnx_peer.Peer(weights, 1), Network(batches.config, weights)
        for ragged in (*batches.ragged, batches.ragged[0].take([0])):
            expected = ours.logits(ragged, threads=1)[:, 0]
            assert np.abs(expected).max() > 0.01
            np.testing.assert_allclose(peer.logits(padded(ragged)), expected, atol=1e-5)

    def test_threads_are_those_asked_for(self, onnx_peer: Any) -> None:
        peer = onnx_peer.Peer(made_weights(preset("lecture", hidden=4), 300), 3)
        options = peer.session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


class TestLatency:
    def test_both_ways_are_timed(self, finished: Runner) -> None:
        text, result = finished(latency.main, *SMALL, "--count", "3")
        assert result["texts"] == 3
        for part in ("network", "end_to_end"):
            for found in result[part].values():
                assert 0 < found["median"] <= found["p90"] <= found["p99"]
            assert result[part]["carryline"]["share"] == 1
        if common.installed("onnx", "onnxruntime"):
            assert list(result["network"]) == ["carryline", "onnxruntime", "torch"]
            assert list(result["end_to_end"]) == ["carryline", "tokenizers, onnxruntime"]
        assert "from a string to a label" in text

    def test_texts_nearest_to_the_median_are_chosen(self) -> None:
        texts = [" a" * count for count in (1, 200, 50, 48, 52)]
        chosen = latency.choose(texts, preset("lecture", vocabulary=257), 3)
        assert sorted(len(ids.values) for ids in chosen.ids) == [96, 100, 104]
        for text, ids in zip(chosen.strings, chosen.ids, strict=True):
            assert chosen.tokenizer.encode(text) == ids[0].tolist()

    def test_contenders_run_in_turn(self) -> None:
        calls: list[str] = []
        works: dict[str, latency.Work] = {
            name: lambda i, name=name: calls.append(f"{name}{i}")  # type: ignore[misc]
            for name in ("a", "b")
        }
        taken = latency.in_turn(works, count=2, rounds=2)
        assert "".join(calls) == "a0a1a0a1b0b1b0b1" * 2
        assert taken["a"].shape == (2, 2)

    def test_figures(self) -> None:
        taken = {"carryline": np.array([[1.0, 3.0], [5.0, 7.0]]), "torch": np.full((2, 2), 8.0)}
        found = latency.figures(taken)
        assert found["carryline"]["median"] == 4
        assert (found["carryline"]["min"], found["carryline"]["max"]) == (2, 6)
        assert found["torch"]["share"] == 0.5

    @pytest.mark.parametrize(("right", "wrong"), [("pos", "neg"), (0.5, 0.5002), (0.5, np.nan)])
    def test_other_answers_are_refused(self, right: Any, wrong: Any) -> None:
        latency.check({"carryline": lambda i: right, "torch": lambda i: right}, 1)
        with pytest.raises(SystemExit, match="torch gives"):
            latency.check({"carryline": lambda i: right, "torch": lambda i: wrong}, 1)


class TestScaling:
    def test_all_questions_are_answered(
        self, finished: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fake(name: str, config: Any, tokens: int, threads: int) -> int:
            return 10**6 + tokens * {"carryline": 100, "torch padded": 200}[name]

        monkeypatch.setattr(scaling, "in_fresh_process", fake)
        sizes = ["--tokens", "256", "--lengths", "16,128", "--longest", "300"]
        text, result = finished(scaling.main, *FEW, *sizes, "--sizes", "64,128,512")
        assert list(result["lengths"]) == ["16", "128"]
        if scaling.STATUS.exists():
            assert result["bytes_a_token"] == {"carryline": [100] * 2, "torch padded": [200] * 2}
            assert "128 to 512" in text
        assert result["one_long_text"]["tokens"] == 300
        assert np.isfinite(result["one_long_text"]["losses"]).all()
        rates = result["by_threads"]["tokens_per_second"]
        pools = ["1, torch's pool awake", "1, NumPy's pool awake"]
        assert list(rates) == ["1 thread", "2 threads", "4 threads", *pools]

    def test_batches_have_the_same_tokens(self) -> None:
        for length in (16, 128):
            batch = scaling.even(preset("lecture"), length, 256)
            assert batch.tokens == 256
            assert set(batch.ragged[0].lengths) == {length}

    def test_memory_of_a_step_is_seen_in_a_fresh_process(self) -> None:
        if not scaling.STATUS.exists():
            pytest.skip("there is no /proc")
        config = preset("lecture", hidden=8, embedding=8)
        grown = scaling.in_fresh_process("carryline", config, 1 << 15, 1)
        least = 10 * 2 * 8 * 4  # bytes a token: docs/kernels.md, two directions of 8 units
        assert 0.5 * least < grown / (1 << 15) < 10 * least

    def test_pools_are_not_timed(self, batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
        def product() -> None:
            done.append("product")
            time.sleep(0.2)

        done: list[str] = []
        beside = scaling.BesidePool(batches.first(1), torch.get_num_threads(), product)
        monkeypatch.setattr(beside.steps, "step", lambda *_: done.append("step"))
        assert 0 < beside() < 0.2
        assert done == ["product", "step"]


def test_cells_stand_beside_their_peers(finished: Runner) -> None:
    text, result = finished(cells.main, *FEW)
    peers = {cell: list(found["tokens_per_second"]) for cell, found in result["cells"].items()}
    assert peers == {
        "rnn": ["carryline rnn", "torch RNN padded"],
        "lstm": ["carryline lstm", "torch LSTM padded"],
        "gru": ["carryline gru", "torch GRU padded"],
        "carry": ["carryline carry"],
    }
    flop = {cell: found["flop_a_token"] for cell, found in result["cells"].items()}
    assert flop == {"rnn": 98_304, "lstm": 393_216, "gru": 294_912, "carry": 442_368}
    rates = {cell: result["cells"][cell]["tokens_per_second"] for cell in ("lstm", "carry")}
    slower = rates["lstm"]["carryline lstm"]["median"] / rates["carry"]["carryline carry"]["median"]
    assert result["time_of_carry_by_lstm"]["median"] == pytest.approx(slower)
    assert "times as long as lstm" in text


class TestResults:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Benchmarks of which one prints its arguments and one fails."""
        script = "import sys\nprint('table of', *sys.argv[1:])\nprint()\nprint('{\"a\": 1}')\n"
        (tmp_path / "good.py").write_text(script, encoding="utf-8")
        (tmp_path / "bad.py").write_text("raise SystemExit(2)\n", encoding="utf-8")
        monkeypatch.setattr(results, "HERE", tmp_path)
        monkeypatch.setattr(results, "FILE", tmp_path / "RESULTS.md")
        monkeypatch.setattr(results, "COMMANDS", (["good.py", "--net", "8"],))
        monkeypatch.setenv("CARRYLINE_DATA", str(tmp_path))
        return tmp_path

    def test_are_what_the_benchmarks_printed(self, folder: Path) -> None:
        assert results.main(["--rounds", "3"]) == 0
        text = (folder / "RESULTS.md").read_text(encoding="utf-8")
        assert "$ python benchmarks/good.py --net 8 --rounds 3\n\ntable of --net 8" in text
        assert "cores" in text
        assert '"a"' not in text

    def test_name_the_data_without_their_folder(self, folder: Path) -> None:
        for name in ("imdb-train.parquet", "mr.csv", "trec-train.csv"):
            (folder / name).touch()
        (folder / "short.py").write_bytes((folder / "good.py").read_bytes())
        section = results.section(["good.py"], [])
        assert "$ python benchmarks/good.py --data imdb-train.parquet\n" in section
        assert f"table of --data {folder / 'imdb-train.parquet'}\n" in section
        section = results.section(["short.py"], [])
        assert "$ python benchmarks/short.py --data mr.csv --data trec-train.csv\n" in section

    def test_are_not_written_when_one_fails(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(results, "COMMANDS", (["good.py"], ["bad.py"]))
        assert results.main([]) == 1
        assert not (folder / "RESULTS.md").exists()

    def test_every_benchmark_is_run(self) -> None:
        named = {command[0] for command in results.COMMANDS}
        questions = {f.name for f in BENCHMARKS.glob("*.py") if "common.run(" in f.read_text()}
        assert named == questions
        for name, *arguments in results.COMMANDS:  # they are understood
            benchmark = importlib.import_module(name.removesuffix(".py"))
            assert benchmark.main([*arguments, "--data", "nowhere.parquet"]) == 2


def test_the_parts_of_a_step_add_up(finished: Runner) -> None:
    text, result = finished(roofline.main, *FEW)
    *parts, whole = [part["nanoseconds_a_token"] for part in result["parts"]]
    assert sum(parts) == pytest.approx(whole)
    products = {
        part["part"]: part["limit"] * result["peak_flops"] * 1e-9 for part in result["parts"]
    }
    assert products["forward: U h"] == pytest.approx(2 * 2 * 64 * 256)
    assert "whole step" in text
