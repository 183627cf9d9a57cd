"""Sizes of a hostile model directory: refused before the memory is gone, and paths by name."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from carryline import load
from carryline.errors import DataError, ModelError, OutputError
from carryline.model import checks, storage
from carryline.model.config import Config
from carryline.text.examples import MOST_CLASSES, classes_of
from carryline.text.tokens import Tokenizer, largest_file

Run = Callable[..., subprocess.CompletedProcess[str]]

# What loading may take beyond what the process has: 300 MB of addresses.
LIMITED = """
import resource, sys
from carryline import load
from carryline.errors import ModelError
load(sys.argv[1])
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (300 << 20), now + (300 << 20)))
try:
    load(sys.argv[2])
except ModelError as error:
    print(error)
else:
    raise SystemExit("it was loaded")
"""


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


def grow(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def filled(
    name: str, head: bytes, piece: bytes, tail: bytes, size: int
) -> Callable[[Path], object]:
    """Small pieces: what takes most memory once it is parsed."""

    def change(folder: Path) -> None:
        (folder / name).write_bytes(head + piece * (size // len(piece)) + tail)

    return change


def long_header(folder: Path) -> None:
    """Millions of weights, where the configuration allows a large file."""
    head = json.loads((folder / "config.json").read_text())
    head["config"].update(hidden=[4000])
    (folder / "config.json").write_text(json.dumps(head))
    text = b'{"a":{}' + b',"a":{}' * 8_000_000 + b"}"
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def many_classes(folder: Path) -> None:
    """Figures of as many classes as there may be, as large as those may be."""
    head = json.loads((folder / "config.json").read_text())
    head["classes"] = list(range(MOST_CLASSES))
    del head["made"]
    (folder / "config.json").write_text(json.dumps(head))
    weights = load_tensors((folder / "model.safetensors").read_bytes())
    width = weights["head.weight"].shape[1]
    weights["head.weight"] = np.zeros((MOST_CLASSES, width), np.float32)
    weights["head.bias"] = np.zeros(MOST_CLASSES, np.float32)
    (folder / "model.safetensors").write_bytes(save_tensors(weights))
    filled("metrics.json", b"[", b"{},", b"{}]", 50 << 20)(folder)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (filled("metrics.json", b"[", b"{},", b"{}]", 240 << 20), "at most"),
        (filled("history.jsonl", b"[", b"{},", b"{}]\n", 240 << 20), "at most"),
        (filled("history.jsonl", b"[", b"{},", b"{}]\n", 15 << 20), "line 1"),
        (filled("config.json", b"[", b"{},", b"{}]", 240 << 20), "at most"),
        (filled("tokenizer.json", b"[", b"{},", b"{}]", 240 << 20), "at most"),
        (many_classes, "lists and objects"),
        (grow("model.safetensors", 7 << 30), "at most"),
        (long_header, "length of its header, at most"),
    ],
    ids=["metrics", "history", "line", "config", "tokenizer", "classes", "weights", "header"],
)
def test_a_size_that_does_not_fit_is_refused_before_it_is_read(
    change: Any, rule: str, model: Path, copy: Path, rehash: Any, python: Run
) -> None:
    change(copy)
    if change is many_classes:  # whose weights are right
        rehash(copy)
    done = python(LIMITED, model, copy)
    assert done.returncode == 0, done.stderr[-500:]
    with pytest.raises(ModelError, match=rule):
        load(copy)
    assert str(copy) in done.stdout


# --- what is sound has room


def test_the_limits_leave_room_for_what_is_written(trained: Any, tmp_path: Path, make: Any) -> None:
    """The figures of as many classes as there may be, and each file of an ordinary model."""
    trained.save(tmp_path / "model")
    limits = checks.limits(trained.config, trained.classes)
    for name, most in limits.items():
        assert (tmp_path / "model" / name).stat().st_size < most
    classes = [f"class {i}" for i in range(300)]
    row = {"precision": 0.123456789012345, "recall": 0.1, "f1": 1 / 3, "support": 10**9}
    figures = {
        "confusion": [[10**6] * 300] * 300,
        "per_class": [{"label": label, **row} for label in classes],
        "unmeasured": classes,
    }
    assert len(json.dumps(figures, indent=2)) < checks.limits(Config(), classes)["metrics.json"]


def test_the_longest_tokenizer_that_can_be_learned_can_be_read(tmp_path: Path) -> None:
    """Entries as long as they get, of the bytes whose characters are longest."""
    texts = ["\x00" * 200, "é" * 128, '"\\' * 128, "漢字" * 40]
    tokenizer = Tokenizer.train(texts, 600)
    size = len(tokenizer.to_json().encode())
    assert size < largest_file(tokenizer.size) <= largest_file(600)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    assert Tokenizer.load(tmp_path / "tokenizer.json").size == tokenizer.size


def test_more_classes_than_a_model_can_hold_are_refused_before_training() -> None:
    labels: list[Any] = [*range(MOST_CLASSES), 0]
    assert len(classes_of(labels)) == MOST_CLASSES
    with pytest.raises(DataError, match=rf"at most {MOST_CLASSES} classes, there are 2049"):
        classes_of([*labels, "one more"])


def test_what_could_not_be_loaded_is_not_saved(model: Path, tmp_path: Path) -> None:
    stored = storage.load(model)
    long = [*stored.history[:1], {**stored.history[0], "note": "x" * (17 << 20)}]
    made: dict[str, Any] = {"texts": "many"}
    for broken, rule in [
        (replace(stored, history=long), "history.jsonl would have 17"),
        (replace(stored, made=made), "'made'"),
        (replace(stored, config=stored.config.replace(vocabulary=257)), "embedding.weight must"),
        (replace(stored, metrics=made), "the figures must be"),
        (replace(stored, history=[made]), "line 1 must be"),
    ]:
        with pytest.raises((ModelError, OutputError), match=rule):
            storage.save(tmp_path / "model", broken)
        assert not list(tmp_path.iterdir())


# --- paths that the system refuses

PATHS = [
    ("x" * 5000, "File name too long"),
    ("/".join(["x" * 200] * 30), "File name too long"),
    ("a\x00b", "null"),
    ("loop/model", "symbolic links"),
    ("file/model", "Not a directory"),
]


@pytest.mark.parametrize(("path", "reason"), PATHS, ids=[reason for _, reason in PATHS])
def test_a_path_that_the_system_refuses(
    path: str, reason: str, tmp_path: Path, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    for given in (path, Path(path)):
        with pytest.raises(ModelError, match=reason) as caught:
            load(given)
        assert len(str(caught.value)) < 400
        with pytest.raises(OutputError) as refused:
            trained.save(given)
        assert len(str(refused.value)) < 400


FORBIDDEN = """
import os, sys
from carryline import load
from carryline.errors import ModelError, OutputError
classifier = load(sys.argv[1])
os.setuid(65534)
for work in (load, classifier.save):
    try:
        work(sys.argv[2])
    except (ModelError, OutputError) as error:
        assert "Permission denied" in str(error), error
    else:
        raise SystemExit("nobody minded")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_folder_that_may_not_be_looked_into(model: Path, tmp_path: Path, python: Run) -> None:
    shut = tmp_path / "shut"
    shutil.copytree(model, shut / "model")
    shut.chmod(0o700)
    done = python(FORBIDDEN, model, shut / "model")
    assert done.returncode == 0, done.stderr
