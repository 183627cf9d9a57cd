from __future__ import annotations

import os

# OpenMP's threads spin while they wait: with other work on the machine, the tiny steps of these
# tests took a hundred times as long on two threads as on one. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["CARRYLINE_CACHE"] = ""  # no test reads or writes what is somebody's

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from carryline import TextClassifier, load
from carryline.model import network, storage
from carryline.model.config import Config
from carryline.model.history import KEYS
from carryline.model.storage import Stored
from carryline.recurrence import machine, memory
from carryline.text.tokens import Tokenizer

Corpus = tuple[list[str], list[str]]
SOURCE = Path(machine.__file__).parents[2]

hypothesis.settings.register_profile("carryline", deadline=None)  # machines are busy at times
hypothesis.settings.load_profile("carryline")


def tight_block(size: int) -> memory.Block:
    return np.empty(size + memory.LINE, np.uint8), memory.LINE


@pytest.fixture(scope="session", autouse=True)
def tight() -> Iterator[None]:
    """Under the sanitizers every array ends where its block does: a read beyond it is seen."""
    with pytest.MonkeyPatch.context() as patch:
        if "libasan" in os.environ.get("LD_PRELOAD", ""):
            patch.setattr(memory, "LARGE", sys.maxsize)
            patch.setattr(memory, "_fresh", tight_block)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, or at the end of the suite one process would wait for them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, outside the repository; without it a test is skipped."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("CARRYLINE_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"real data is not at {folder}; CARRYLINE_DATA may say where it is")
    return folder


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """60 texts of 0 to 14 words, and labels that one of their words gives away."""
    rng = np.random.default_rng(0)
    words = ["film", "of", "the", "old", "night", "and", "music", "played", "by", "rain"]
    texts, labels = [], []
    for number in range(60):
        label = ("bad", "good")[number % 2]
        sentence = list(rng.choice(words, number % 15))
        texts.append(" ".join([*sentence[:3], label, *sentence[3:]]) if sentence else "")
        labels.append(label)
    return texts, labels


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Settings of a model that trains in a moment."""
    return {
        "preset": "lecture", "vocabulary": 300, "embedding": 8, "hidden": 8, "dense": 8,
        "epochs": 2, "batch_size": 16, "learning_rate": 0.02,
    }  # fmt: skip


@pytest.fixture(scope="session")
def trained(corpus: Corpus, tiny: dict[str, Any]) -> TextClassifier:
    """A small trained classifier, to be read only."""
    return TextClassifier(**tiny).fit(*corpus, valid=0.2, threads=1)


@pytest.fixture(scope="session")
def model(trained: TextClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of `trained`, to be read only."""
    folder = tmp_path_factory.mktemp("models") / "model"
    trained.save(folder)
    return folder


@dataclass
class Maker:
    """Makes classifiers that are saved and loaded, never trained."""

    folder: Path
    tokenizer: Tokenizer
    made: int = 0

    def __call__(self, classes: int = 2, **settings: Any) -> TextClassifier:
        """With random weights, so large that every text gets different probabilities."""
        settings = {"vocabulary": 300, "embedding": 8, "hidden": 8, "dense": 0, **settings}
        config = Config().replace(**settings)
        shapes = network.parameter_shapes(config, self.tokenizer.size, network.outputs(classes))
        rng = np.random.default_rng(1)
        weights = {
            name: rng.uniform(-0.5, 0.5, shape).astype(np.float32) for name, shape in shapes.items()
        }
        names: list[Any] = [f"class {i}" for i in range(classes)]
        self.made += 1
        path, row = self.folder / str(self.made), dict.fromkeys(sorted(KEYS), 1)
        storage.save(path, Stored(config, names, self.tokenizer.to_json(), weights, [row], None))
        return load(path)


@pytest.fixture(scope="session")
def make(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("made"), Tokenizer.train(corpus[0], 300))


@pytest.fixture(scope="session")
def rehash() -> Callable[[Path], None]:
    """Makes the hashes of a damaged model directory right again, as an attacker would."""

    def run(folder: Path) -> None:
        head = json.loads((folder / "config.json").read_text())
        for name in head["sha256"]:
            head["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "config.json").write_text(json.dumps(head))

    return run


@pytest.fixture(params=machine.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set of this machine in turn; make layers and networks after it."""
    before = machine.instruction_set()
    machine.use_instruction_set(request.param)
    yield request.param
    machine.use_instruction_set(before)


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a process of its own: python(script, *arguments, VARIABLE=value)."""

    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])

    def run(script: str, *arguments: object, **variables: str) -> Any:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", **variables},
            check=False,
        )

    return run


@pytest.fixture(autouse=True)
def ctrl_c_as_usual() -> Iterator[None]:
    """Jobs in the background inherit that SIGINT is ignored; tests press Ctrl-C."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)
