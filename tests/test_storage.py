"""Model directories: written whole or not at all; damaged and hostile ones refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from carryline import TextClassifier, load, storage
from carryline.errors import CarrylineError, ModelError, OutputError
from carryline.storage import HASHED, Stored

FILES = [*HASHED, "config.json", "history.jsonl", "metrics.json"]
Change = Callable[[Any], object]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


@pytest.fixture(scope="module")
def scratch(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all examples of a Hypothesis test, which put every file back first."""
    return Path(shutil.copytree(model, tmp_path_factory.mktemp("scratch") / "copy"))


def rehash(folder: Path) -> None:
    """Make the hashes right again, as an attacker would."""
    head = json.loads((folder / "config.json").read_text())
    for name in HASHED:
        head["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(head))


def refused(folder: Path, name: str, rule: str = "") -> None:
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


def test_a_model_saved_again_is_the_same_bytes(model: Path, tmp_path: Path) -> None:
    load(model).save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes()


def test_anyone_may_read_it(model: Path) -> None:
    assert model.stat().st_mode & 0o777 == 0o755
    assert {(model / name).stat().st_mode & 0o777 for name in FILES} == {0o644}


def test_what_stands_there_already_is_left_alone(copy: Path, tmp_path: Path) -> None:
    stored, before = storage.load(copy), (copy / "config.json").read_bytes()
    with pytest.raises(OutputError, match="already holds a model"):
        storage.save(copy, stored)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "dangling"):
        for replace in (False, True):
            with pytest.raises(OutputError, match="exists and is not an empty folder"):
                storage.save(tmp_path / name, stored, replace=replace)
    with pytest.raises(OutputError, match="is not a folder that can be written to"):
        storage.save(tmp_path / "file" / "model", stored)
    assert (copy / "config.json").read_bytes() == before
    assert (tmp_path / "file").read_text() == "mine"


def test_an_older_model_gives_way_when_asked(copy: Path, model: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"broken")
    storage.save(copy, storage.load(model), replace=True)
    assert storage.load(copy).classes == storage.load(model).classes
    (tmp_path / "empty").mkdir()
    storage.save(tmp_path / "empty", storage.load(model))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "empty"]


# --- whole or not at all


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_at_any_step_leaves_all_as_it_was(
    error: BaseException, replace: bool, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, out = storage.load(copy), copy if replace else tmp_path / "out"
    before, calls = contents(tmp_path), []

    def failing(function: Callable[..., Any], step: int) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            calls.append(function)
            if len(calls) == step:
                raise error
            return function(*given, **named)

        return call

    for step in range(1, 100):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(os.fsync, step))
            patch.setattr(Path, "replace", failing(Path.replace, step))
            extras = failing(lambda folder: None, step)
            if len(calls) < step and step > 1 + 2 * len(FILES) + 1 + replace:
                break
            with pytest.raises(type(error)):
                storage.save(out, stored, extras=extras, replace=replace)
        assert contents(tmp_path) == before, step
    storage.save(out, stored, replace=replace)
    load(out)


FULL = """
import resource, sys
from pathlib import Path
from carryline import load, storage
stored, out, unlimited = storage.load(sys.argv[1]), Path(sys.argv[2]), resource.RLIM_INFINITY
load(sys.argv[1]).save(out / "first")  # matplotlib writes its list of fonts
for limit in (0, 1, 700, 5000, 20000):
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
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
load(sys.argv[1]).save(out / "model")
load(out / "model")
"""


def test_a_disk_that_is_really_full(model: Path, tmp_path: Path, python: Run) -> None:
    """The system itself refuses to write more than so many bytes to a file."""
    largest = max((model / name).stat().st_size for name in FILES)
    assert largest > 20000, "the limits below would not be reached"
    done = python(FULL, model, tmp_path)
    assert done.returncode == 0, done.stderr


# --- damage


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "there is no such folder")
    refused(tmp_path, str(tmp_path), r"the folder has no config\.json")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "file", "no model at")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, name, "missing|has no")


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 3):
        (copy / name).write_bytes(content[:length])
        refused(copy, name)


@pytest.mark.parametrize("name", HASHED)
def test_a_file_of_another_model(copy: Path, name: str, make: Any, tmp_path: Path) -> None:
    make(hidden=[9]).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / name, copy / name)
    refused(copy, name, "damaged or belongs to another model")


def test_the_configuration_of_another_model(copy: Path, make: Any, tmp_path: Path) -> None:
    make(hidden=[9]).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "config.json", copy / "config.json")
    refused(copy, "", "damaged or belongs to another model")


mutations = st.one_of(
    st.tuples(st.just("flip"), st.integers(0), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.integers(0), st.integers(1, 50)),
    st.tuples(st.just("insert"), st.integers(0), st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("write"), st.integers(0), st.binary(min_size=1, max_size=9)),
)


def mutated(content: bytes, mutation: tuple[str, int, Any]) -> bytes:
    kind, place, value = mutation
    place %= len(content)
    if kind == "flip":
        value, kind = bytes([content[place] ^ 1 << value]), "write"
    elif kind == "cut":
        return content[:place] + content[place + value :]
    return content[:place] + value + content[place + len(value) * (kind == "write") :]


@settings(max_examples=150)
@given(name=st.sampled_from(HASHED), mutation=mutations)
def test_any_change_of_a_hashed_file(
    model: Path, scratch: Path, name: str, mutation: tuple[str, int, Any]
) -> None:
    content = (model / name).read_bytes()
    for file in FILES:
        shutil.copy(model / file, scratch / file)
    (scratch / name).write_bytes(mutated(content, mutation))
    if mutated(content, mutation) != content:
        refused(scratch, name)


@settings(max_examples=300)
@given(name=st.sampled_from(FILES), changes=st.lists(mutations, min_size=1, max_size=3))
def test_any_change_behind_right_hashes(
    model: Path, scratch: Path, name: str, changes: list[tuple[str, int, Any]]
) -> None:
    """The checks below the hashes: a usable model or a `ModelError`, nothing else."""
    for file in FILES:
        shutil.copy(model / file, scratch / file)
    for change in changes:
        (scratch / name).write_bytes(mutated((scratch / name).read_bytes() or b" ", change))
    if name in HASHED:
        rehash(scratch)
    try:
        load(scratch).predict_proba(["a good film"])
    except ModelError as error:
        named = str(error)
        assert name in named or name == "config.json"  # noqa: PT017
