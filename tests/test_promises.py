"""The seven promises of the design, each at the level of what a user holds: `TextClassifier`."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryline import TextClassifier, load
from carryline.errors import ConfigError, ModelError, OutputError
from carryline.model import network
from carryline.model.config import CELLS, POOLINGS
from carryline.recurrence import cells, kernels
from carryline.training.progress import Callback

FILES = ("config.json", "tokenizer.json", "model.safetensors", "history.jsonl", "metrics.json")
Run = Callable[..., subprocess.CompletedProcess[str]]
TEXTS = [
    "", "film", "the old film", "a", "rain and music and the night of the old actor",
    "Ünïcode 電影 🎬 <pad>", "played by the rain " * 9, "  ", "film", "an actor's \n night", "\x00",
    "of the film of the film",
]  # fmt: skip
SHAPES: list[dict[str, Any]] = [
    {"hidden": [20], "bidirectional": True, "dense": 9},  # whole vectors and a rest
    {"hidden": [20, 9], "bidirectional": True},
    {"hidden": [17, 33, 4], "bidirectional": False},
]


# --- 1. Padding cannot change a result. Nor can the texts beside it


@pytest.mark.parametrize(("cell", "pooling"), list(product(CELLS, POOLINGS)))
def test_promise_1_a_text_gets_the_same_bits_in_any_company(
    instruction_set: str, cell: str, pooling: str, make: Any
) -> None:
    for shape, classes in zip(SHAPES, (2, 3, 11), strict=True):
        classifier = make(classes, cell=cell, pooling=pooling, **shape)
        alone = np.concatenate([classifier.predict_proba([text], threads=1) for text in TEXTS])
        assert len(np.unique(alone, axis=0)) > len(TEXTS) // 2  # nothing is constant
        for threads in (1, 2, 3, 5):
            for order in (list(range(11)), list(range(11))[::-1], [3, 4, 5, 6], [5, 5, 2, 10, 0]):
                some = classifier.predict_proba([TEXTS[i] for i in order], threads=threads)
                assert (some == alone[order]).all()
        for pads in (1, 30, 200):
            assert (classifier.predict_proba(TEXTS, pad_to=pads, threads=1) == alone).all()


@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=20), data=st.data())
def test_promise_1_for_any_texts(make: Any, texts: list[str], data: st.DataObject) -> None:
    classifier = make(pooling="concat", hidden=[20, 9])
    together = classifier.predict_proba(texts, threads=data.draw(st.integers(1, 4)))
    order, pads = data.draw(st.permutations(range(len(texts)))), data.draw(st.integers(0, 50))
    again = classifier.predict_proba([texts[i] for i in order], pad_to=pads)
    assert (again == together[order]).all()
    assert (classifier.predict_proba([texts[order[0]]])[0] == together[order[0]]).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_promise_1_is_broken_by_the_textbook(pooling: str, make: Any) -> None:
    """With mask=False pads and neighbours change a result: the flaw the promise is about."""
    predict = make(pooling=pooling, mask=False).predict_proba
    assert (predict(["the old film"], pad_to=40) != predict(["the old film"])).all()
    assert (predict(["the old film", TEXTS[6]])[:1] != predict(["the old film"])).all()
    right = make(pooling=pooling)
    assert (
        right.predict_proba(["the old film"], pad_to=40) == right.predict_proba(["the old film"])
    ).all()


# --- 2. Same seed, same model, to the bit


def test_promise_2_same_seed_same_model(corpus: Any, tiny: dict[str, Any], tmp_path: Path) -> None:
    """To the last byte of the files. A run killed at any moment: test_classifier.py."""
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        classifier = TextClassifier(**tiny, dropout=0.2, seed=seed)
        classifier.fit(*corpus, valid=0.2, threads=1).save(tmp_path / name)
    for file, alike in (("tokenizer.json", True), ("model.safetensors", False)):
        one, same, other = ((tmp_path / n / file).read_bytes() for n in ("one", "same", "other"))
        assert one == same and (alike or one != other)


class CtrlC(Callback):
    def step(self, *_: Any) -> None:
        raise KeyboardInterrupt


def test_promise_2_nothing_old_gets_into_a_run(
    corpus: Any, tiny: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever a run on other texts left in the folder before this one was killed and resumed."""

    def fit(texts: Any, labels: Any, **how: Any) -> bytes:
        model = TextClassifier(**tiny).fit(texts, labels, valid=None, threads=1, **how)
        return b"".join(value.tobytes() for _, value in sorted(model.network.weights.items()))

    other = (["one of the others", "another"] * 9, ["good", "bad"] * 9)
    with pytest.raises(KeyboardInterrupt):  # leaves a vocabulary at most
        fit(*other, checkpoint=tmp_path, callbacks=[CtrlC()])
    assert fit(*corpus, checkpoint=tmp_path, resume=True) == fit(*corpus)
    with pytest.raises(OutputError, match="holds the epochs of a run"):
        fit(*other, checkpoint=tmp_path)
    with pytest.raises(ConfigError, match="made with other training data"):
        fit(*other, checkpoint=tmp_path, resume=True)


# --- 3. Forward, backward and the plain reference agree


@pytest.mark.parametrize("cell", CELLS)
def test_promise_3_a_trained_classifier_is_what_the_reference_computes(
    cell: str, corpus: Any, tiny: dict[str, Any]
) -> None:
    """Single precision against double: 2e-5 is argued in test_network.py."""
    classifier = TextClassifier(**tiny, cell=cell).fit(*corpus, valid=None, threads=1)
    w = {name: value.astype(np.float64) for name, value in classifier.network.weights.items()}
    ragged = classifier.tokenizer.encode_batch(TEXTS)
    names, zeros = cells.shapes(cells.CELLS[cell], 1, 1), np.zeros((2, len(TEXTS), 8))
    directions = [{n: w[f"recurrence.{n}_l0{s}"] for n in names} for s in ("", "_reverse")]
    x = w["embedding.weight"][ragged.values]
    _, h, _ = cells.forward(cells.CELLS[cell], directions, x, ragged.offsets, zeros, zeros)
    hidden = np.maximum(np.concatenate(list(h), 1) @ w["dense.weight"].T + w["dense.bias"], 0)
    expected = network.probabilities(hidden @ w["head.weight"].T + w["head.bias"])
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), expected, rtol=0, atol=2e-5)


# --- 4. Cost is linear in tokens


def test_promise_4_no_work_on_tokens_that_do_not_exist(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One long text beside many short ones: every layer works on the tokens, not on a rectangle."""
    classifier, counted = make(hidden=[20, 9], pooling="concat"), list[int]()
    forward, project = kernels.Layer.forward, kernels.Layer.project

    def counting(function: Any, tokens: Callable[[Any], int]) -> Callable[..., Any]:
        def call(self: Any, first: Any, *given: Any, **named: Any) -> Any:
            counted.append(tokens(first))
            return function(self, first, *given, **named)

        return call

    monkeypatch.setattr(kernels.Layer, "forward", counting(forward, lambda plan: plan.tokens))
    monkeypatch.setattr(kernels.Layer, "project", counting(project, len))
    texts = ["film " * 5000, *["film"] * 500]
    tokens = len(classifier.tokenizer.encode_batch(texts).values)
    classifier.predict_proba(texts)
    assert counted == [tokens] * 3  # layer 0, and layer 1 with its input; layer 0's is a table


def test_promise_4_a_text_of_four_times_the_length_takes_four_times_as_long(make: Any) -> None:
    """Linear is 4, quadratic 16; the best of five runs, and room for a busy machine."""
    classifier, seconds = make(hidden=[20, 9], pooling="concat"), []
    for words in (20_000, 80_000):
        runs = []
        for _ in range(5):
            began = time.perf_counter()
            classifier.predict_proba(["film the " * words], threads=1)
            runs.append(time.perf_counter() - began)
        seconds.append(min(runs))
    assert seconds[1] < 9 * seconds[0]


# --- 5. A model file is data

AUDIT = """
import sys
from carryline import load
from carryline.errors import ConfigError, ModelError, OutputError
load(sys.argv[1])  # everything is imported now
events = []
sys.addaudithook(lambda event, given: events.append(event))
for folder in sys.argv[2:]:
    try:
        load(folder)
    except ModelError:
        pass
bad = {"exec", "compile", "import", "marshal.loads", "pickle.find_class", "ctypes.dlopen",
       "os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
ran = bad.intersection(events)
assert "open" in events and not ran, ran
"""


class Payload:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self) -> Any:
        return os.system, ("touch code-was-run",)


def test_promise_5_loading_runs_no_code(
    model: Path, tmp_path: Path, rehash: Any, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        folder = Path(shutil.copytree(model, tmp_path / name))
        (folder / name).write_bytes(pickle.dumps(Payload()))
        if name != "config.json":
            rehash(folder)
        with pytest.raises(ModelError, match=name):
            load(folder)
    done = python(AUDIT, model, *FILES)
    assert done.returncode == 0, done.stderr
    assert not Path("code-was-run").exists()


SPECIAL = """
import resource, signal, sys
from carryline import load
from carryline.errors import ConfigError, ModelError, OutputError
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for name in sys.argv[2:]:
    signal.alarm(10)
    try:
        load(f"{sys.argv[1]}/{name}")
    except ModelError as error:
        assert name in str(error), error
    else:
        raise SystemExit(f"{name} was loaded")
"""


@pytest.mark.parametrize("kind", ["folder", "dangling", "loop", "device", "pipe", "sparse"])
def test_promise_5_what_is_no_ordinary_file_is_refused(
    kind: str, model: Path, tmp_path: Path, python: Run
) -> None:
    """Not waited for, and not read until the memory is full."""
    for name in FILES:
        file = Path(shutil.copytree(model, tmp_path / name)) / name
        file.unlink()
        makers: dict[str, Callable[[], object]] = {
            "folder": file.mkdir,
            "dangling": partial(file.symlink_to, "nowhere"),
            "loop": partial(file.symlink_to, name),
            "device": partial(file.symlink_to, "/dev/zero"),
            "pipe": partial(os.mkfifo, file),
            "sparse": partial(subprocess.run, ["truncate", "-s", "1T", file], check=True),
        }
        makers[kind]()
    done = python(SPECIAL, tmp_path, *FILES)
    assert done.returncode == 0, done.stderr[-500:]


# --- 6. The runtime is small

SMALL = """
import importlib.abc, sys
class Forbidden(importlib.abc.MetaPathFinder):
    names = {"torch", "sklearn", "scipy", "matplotlib", "pyarrow", "rich", "pandas"}
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Forbidden())
from carryline import load
classifier = load(sys.argv[1])
print(classifier.predict(["a good film", ""]), classifier.predict_proba(["a good film"], pad_to=50))
print(classifier.summary(), classifier.tokenizer.pieces(classifier.tokenizer.encode("a film")))
ours = [name for name in sys.modules if name.startswith("carryline.")]
assert not [name for name in ours if "training" in name or name == "carryline.nn.modules"], ours
assert not Forbidden.names & {name.partition(".")[0] for name in sys.modules}
"""


def test_promise_6_predicting_imports_nothing_of_training(model: Path, python: Run) -> None:
    done = python(SMALL, model)
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout


TRAINED = """
import sys
for name in ("torch", "sklearn", "scipy", "matplotlib", "pyarrow", "pandas"):
    sys.modules[name] = None  # cannot be imported
from carryline import TextClassifier
texts, labels = ["good film", "bad film", "no film", "good"] * 10, ["a", "b", "b", "a"] * 10
settings = dict(vocabulary=260, hidden=[8, 6], epochs=2, clip=1.0, average=0.9, dropout=0.1)
for preset in ("lecture", "base", "auto"):
    classifier = TextClassifier(preset, **settings).fit(texts, labels, valid=0.2, out=sys.argv[1])
    print(classifier.evaluate(texts, labels)["accuracy"])
    del sys.argv[1]
"""


def test_promise_6_training_needs_neither_torch_nor_what_measures_and_paints(
    python: Run, tmp_path: Path
) -> None:
    done = python(TRAINED, tmp_path / "one", tmp_path / "other", tmp_path / "third")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3


# --- 7. Each of these has a defined result


@pytest.mark.parametrize("pooling", POOLINGS)
def test_promise_7_odd_texts_have_defined_results(pooling: str, make: Any) -> None:
    classifier = make(3, pooling=pooling)
    bias = classifier.network.weights["head.bias"].astype(np.float64)
    empty = np.exp(bias) / np.exp(bias).sum()
    np.testing.assert_allclose(classifier.predict_proba([""])[0], empty, rtol=1e-6)
    word, spaces, nul = "a" * (1 << 20), " " * 1000, "good\x00film"
    chances = classifier.predict_proba([word, spaces, nul, "good", "\ud800", "good \udfff film"])
    assert np.isfinite(chances).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
    assert (chances[2] != chances[3]).any()  # a NUL ends nothing
    replaced = classifier.predict_proba(["\ufffd", "good \ufffd film"])
    assert (chances[4:] == replaced).all()
