"""Model directories: written whole or not at all; damaged and hostile ones refused by name."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from carryline import TextClassifier, load
from carryline.errors import ModelError, OutputError
from carryline.model import storage
from carryline.model.checks import HASHED

FILES = [*HASHED, "config.json", "history.jsonl", "metrics.json"]


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


@pytest.fixture(scope="module")
def scratch(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all examples of a Hypothesis test, which put every file back first."""
    return Path(shutil.copytree(model, tmp_path_factory.mktemp("scratch") / "copy"))


def refused(folder: Path, name: str, rule: str | None = None) -> None:
    with pytest.raises(ModelError, match=rule) as caught:
        load(folder)
    assert name in str(caught.value)


# --- the round trip


def test_round_trip(trained: TextClassifier, model: Path, corpus: Any) -> None:
    stored, again = storage.load(model), load(model)
    assert stored.config == again.config == trained.config
    assert stored.classes == again.classes == trained.classes
    assert stored.tokenizer == trained.tokenizer.to_json()
    assert (stored.history, stored.metrics) == (trained.history, trained.metrics)
    assert list(stored.weights) == list(trained.network.weights)
    for name, value in trained.network.weights.items():
        assert stored.weights[name].dtype == np.float32
        assert (stored.weights[name] == value).all()
    assert (again.predict_proba(corpus[0]) == trained.predict_proba(corpus[0])).all()


def test_a_model_saved_again_is_the_same_and_anyone_may_read_it(
    model: Path, tmp_path: Path
) -> None:
    load(model).save(tmp_path / "again")
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o755
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes()
        assert (tmp_path / "again" / name).stat().st_mode & 0o777 == 0o644


def test_what_stands_there_already_is_left_alone(copy: Path, tmp_path: Path) -> None:
    stored = storage.load(copy)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="already holds a model"):
        storage.save(copy, stored)
    for name in ("file", "folder", "dangling"):
        for replace in (False, True):
            with pytest.raises(OutputError, match="exists and is not an empty folder"):
                storage.save(tmp_path / name, stored, replace=replace)
    with pytest.raises(OutputError, match="is not a folder that can be written to"):
        storage.save(tmp_path / "file" / "model", stored)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", ["model", "link to a model", "folder", "link to a folder"])
def test_what_may_give_way_does(kind: str, copy: Path, model: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"broken")
    (tmp_path / "new").mkdir()
    out = tmp_path / "new" if "folder" in kind else copy
    if "link" in kind:
        (tmp_path / "link").symlink_to(out)
        out = tmp_path / "link"
        try:
            storage.check_output(out, replace="model" in kind)
        except OutputError:  # before anyone has trained for it
            return
    storage.save(out, storage.load(model), replace="model" in kind)
    load(out)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_not_the_models_own_does_not_give_way(copy: Path, model: Path) -> None:
    (copy / "my notes.txt").write_text("mine")
    before = contents(copy)
    with pytest.raises(OutputError, match=r"not Carryline's \('my notes.txt'\)"):
        storage.check_output(copy, replace=True)
    with pytest.raises(OutputError, match="would be deleted with the model"):
        load(model).save(copy, replace=True)
    assert contents(copy) == before


# --- whole or not at all


def contents(folder: Path) -> dict[str, bytes]:
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return {name: p.read_bytes() if p.is_file() else b"" for name, p in paths.items()}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_at_any_step_leaves_all_as_it_was(
    error: BaseException, replace: bool, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, out = storage.load(copy), copy if replace else tmp_path / "out"
    before, calls = contents(tmp_path), list[str]()
    steps = 2 * len(FILES) + 2 + replace  # sync and move each file, extras, move the folders

    def counted(function: Any, step: int) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            calls.append(function.__name__)
            if len(calls) == step:
                raise error
            return function(*given, **named)

        return call

    def save(step: int) -> None:
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", counted(os.fsync, step))
            patch.setattr(Path, "replace", counted(Path.replace, step))
            extras = counted(lambda folder: None, step)
            storage.save(out, stored, extras=extras, replace=replace)

    for step in range(1, steps + 1):
        with pytest.raises(type(error)):
            save(step)
        assert contents(tmp_path) == before, f"after {calls}"
    save(0)
    assert len(calls) == steps
    load(out)


FULL = """
import resource, sys
from pathlib import Path
from carryline import load
from carryline.model import storage
stored, out, unlimited = storage.load(sys.argv[1]), Path(sys.argv[2]), resource.RLIM_INFINITY
load(sys.argv[1]).save(out / "first")  # now matplotlib has written its list of fonts
for limit in (0, 1, 700, 5000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited))
    for save in (load(sys.argv[1]).save, lambda path: storage.save(path, stored)):
        try:
            save(out / "model")
        except OSError as error:
            assert error.errno == 27, error
        else:
            raise SystemExit(f"a limit of {limit} bytes went unnoticed")
    left = sorted(path.name for path in out.iterdir())
    assert left == ["first"], left
"""


def test_a_disk_that_is_really_full(
    model: Path, tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The system itself refuses to write more than so many bytes to a file."""
    assert (model / "model.safetensors").stat().st_size > 5000, "no limit would be reached"
    done = python(FULL, model, tmp_path)
    assert done.returncode == 0, done.stderr


# --- damage


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no model at", "nowhere: there is no such folder")
    refused(tmp_path, "no model at", "the folder has no config")


@pytest.mark.parametrize("name", FILES)
def test_a_file_missing_or_cut_short(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for length in (0, 1, 7, 8, 100, len(content) // 2 + 9, len(content) - 3):
        (copy / name).write_bytes(content[:length])
        refused(copy, name)
    (copy / name).unlink()
    refused(copy, name, "missing|has no")


@pytest.mark.parametrize("name", [*HASHED, "config.json"])
def test_a_file_of_another_model(copy: Path, name: str, make: Any, tmp_path: Path) -> None:
    make(hidden=[9]).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / name, copy / name)
    rule = "do not fit" if name == "model.safetensors" else "damaged or belongs to another model"
    refused(copy, name.replace("config", "tokenizer"), rule)


def test_other_weights_of_the_same_shapes(copy: Path) -> None:
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(copy, "model.safetensors", "damaged or belongs to another model")


def test_a_tokenizer_of_another_size(copy: Path, make: Any, rehash: Callable[[Path], None]) -> None:
    tokenizer = type(make.tokenizer).train(["another text, another text"], 280)
    (copy / "tokenizer.json").write_text(tokenizer.to_json())
    rehash(copy)
    refused(copy, "tokenizer.json", f"has {tokenizer.size} entries, the embedding")


bits, splices = st.integers(0), st.tuples(st.integers(0), st.integers(0, 40), st.binary(max_size=9))


def changed(content: bytes, change: int | tuple[int, int, bytes]) -> bytes:
    """A bit flipped, or some bytes taken out and others put in."""
    if isinstance(change, int):
        place, bit = divmod(change % (8 * len(content)), 8)
        change = (place, 1, bytes([content[place] ^ 1 << bit]))
    place = change[0] % (len(content) + 1)
    return content[:place] + change[2] + content[place + change[1] :]


@settings(max_examples=400)
@given(
    st.sampled_from(FILES), st.lists(splices | st.integers(0), min_size=1, max_size=3), st.data()
)
def test_any_change_of_any_file(
    model: Path, scratch: Path, rehash: Callable[[Path], None], name: str, changes: Any, data: Any
) -> None:
    """A usable model or a `ModelError`, nothing else; behind right hashes too."""
    for file in FILES:
        shutil.copy(model / file, scratch / file)
    content = before = (model / name).read_bytes()
    for change in changes:
        content = changed(content or b" ", change)
    (scratch / name).write_bytes(content)
    if name not in HASHED or data.draw(st.booleans()):
        if name in HASHED:
            rehash(scratch)
        with suppress(ModelError):
            load(scratch).predict_proba(["a good film"])
    elif content != before:
        refused(scratch, name)


# --- hostility


def bias(value: Any) -> Callable[[bytes], bytes]:
    """Changes the weights: another head.bias, none at all if None."""

    def changed(content: bytes) -> bytes:
        weights = {**load_tensors(content), "head.bias": value}
        return bytes(save_tensors({n: v for n, v in weights.items() if v is not None}))

    return changed


def head(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Changes what the header says of the weights, not the weights."""

    def changed(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        entries = json.loads(content[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    return changed


def entry(**changes: Any) -> Callable[[bytes], bytes]:
    """The header's word on head.bias."""
    return head(lambda entries: entries["head.bias"].update(changes))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda content: pickle.dumps({"head.bias": [0.0]}), "is not a safetensors file"),
        (lambda content: b"\xff" * 8 + content[8:], "is not a safetensors file"),
        (entry(dtype="F8_E5M2"), r"float32 \[1\], it is F8_E5M2"),
        (entry(shape=[1 << 40, 1 << 40]), r"head.bias must be float32 \[1\]"),
        (entry(shape=["1"]), r"head.bias must be float32 \[1\]"),
        (
            head(lambda entries: entries["embedding.weight"].update(shape=["1", 8])),
            r"embedding.weight must be float32 \[\d+, 8\]",
        ),
        (entry(shape=1), "the header must name dtype and shape"),
        (entry(data_offsets=[0, 1 << 60]), "is not a safetensors file"),
        (entry(data_offsets=[4, 8]), "is not a safetensors file"),
        (head(lambda entries: entries.pop("dense.bias")), "do not fit the configuration: dense.b"),
        (head(lambda entries: entries.update({"x": 1})), "the header must name dtype and shape"),
        (lambda content: content + b"1234", "model.safetensors cannot|is not a safetensors"),
        (bias(None), "do not fit the configuration: head.bias"),
        (bias(np.zeros(1)), r"head.bias must be float32 \[1\], it is float64 \[1\]"),
        (bias(np.zeros((1, 1), np.float32)), r"float32 \[1\], it is float32 \[1, 1\]"),
        (bias(np.zeros((), np.float32)), r"float32 \[1\], it is float32 \[\]"),
        (bias(np.array([np.nan], np.float32)), "head.bias holds a value that is not finite"),
        (bias(np.array([-np.inf], np.float32)), "head.bias holds a value that is not finite"),
    ],
)
def test_hostile_weights(copy: Path, rehash: Any, change: Any, rule: str) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    rehash(copy)
    refused(copy, "model.safetensors", rule)


# --- where a model comes from

MADE: dict[str, Any] = {
    "carryline": "0.1.0",
    "date": "2026-11-25T16:00:00Z",
    "texts": 48,
    "validation_texts": 12,
    "class_counts": [24, 24],
    "sources": [{"name": "reviews.csv", "sha256": "0" * 64}],
}


@pytest.mark.parametrize(
    "made", [None, MADE, {**MADE, "sources": [], "date": "2026-11-25T16:00:00.25+00:00"}]
)
def test_where_it_comes_from_is_kept(made: Any, model: Path, tmp_path: Path) -> None:
    classifier = load(model)
    classifier.trained.made = made
    classifier.save(tmp_path / "model")
    head = json.loads((tmp_path / "model" / "config.json").read_text())
    assert head.get("made") == made
    assert ("made" in head) == (made is not None)  # as in model directories of 0.1.0
    assert load(tmp_path / "model").made == storage.load(tmp_path / "model").made == made


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        ("yes", "'made' must be an object with carryline, date, "),
        ({}, "'made' must be an object with carryline, date, "),
        ({**MADE, "more": 1}, r"'made' has unknown entries \['more'\]"),
        ({**MADE, "carryline": "<b>"}, "'carryline' of 'made' must be a version, it is '<b>'"),
        ({**MADE, "date": "yesterday"}, "'date' of 'made' must be a time in UTC such as"),
        ({**MADE, "date": "2026-11-25T16:00:00+01:00"}, "must be a time in UTC"),
        ({**MADE, "texts": -1}, "'texts' of 'made' must be a count, it is -1"),
        ({**MADE, "validation_texts": True}, "'validation_texts' of 'made' must be a count"),
        (
            {**MADE, "class_counts": [48]},
            "'class_counts' of 'made' must be 2 counts",
        ),
        ({**MADE, "sources": [{"name": "x"}]}, "must be a list of objects with name and sha256"),
        ({**MADE, "sources": [{"name": 1, "sha256": "0" * 64}]}, "must be a list of objects"),
        ({**MADE, "sources": [{"name": "x", "sha256": "`"}]}, "must be a list of objects"),
    ],
)
def test_what_else_it_may_not_be(made: Any, rule: str, copy: Path) -> None:
    head = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**head, "made": made}))
    refused(copy, "config.json", rule)


# --- figures and epochs

ODD_FIGURES: list[tuple[dict[str, Any], str]] = [
    ({"accuracy": "high"}, "'accuracy' of the figures must be a number, it is 'high'"),
    ({"loss": float("nan")}, "'loss' of the figures must be a number"),
    ({"texts": 10**400}, "'texts' of the figures must be a number"),
    ({"texts": 0}, "'texts' of the figures must be 1 or more"),
    ({"roc_auc": []}, "'roc_auc' of the figures must be a number or null"),
    ({"confusion": [[1]]}, "'confusion' of the figures must be 2 rows of 2 counts"),
    ({"confusion": [[1, 2], [3, -4]]}, "'confusion' of the figures must be 2 rows of 2 counts"),
    ({"per_class": [1, 2]}, "'per_class' of the figures must be a list of objects"),
    ({"per_class": [{}, {}]}, "a class must be an object with label, precision"),
    ({"baseline": 1}, "'baseline' must be an object with majority, linear, why"),
    ({"baseline": {"majority": {}, "linear": None, "why": ""}}, "'majority' must be an object"),
]


@pytest.mark.parametrize(("changes", "rule"), ODD_FIGURES, ids=[rule for _, rule in ODD_FIGURES])
def test_figures_that_are_none(changes: dict[str, Any], rule: str, copy: Path) -> None:
    figures = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps({**figures, **changes}))
    refused(copy, "metrics.json", rule)


def test_figures_of_older_models(copy: Path) -> None:
    figures = json.loads((copy / "metrics.json").read_text())
    del figures["unmeasured"]
    (copy / "metrics.json").write_text(json.dumps(figures))
    load(copy).save(copy.parent / "again")


@pytest.mark.parametrize(("key", "value"), [("loss", None), ("epoch", "1"), ("seconds", [])])
def test_an_epoch_that_is_none(key: str, value: Any, copy: Path) -> None:
    row = json.loads((copy / "history.jsonl").read_text().splitlines()[0])
    (copy / "history.jsonl").write_text(json.dumps({**row, key: value}))
    refused(copy, "history.jsonl", f"'{key}' of line 1 must be a number")
