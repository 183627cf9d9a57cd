"""Whole words in a model directory: the same bits again, little room, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from carryline import TextClassifier, load
from carryline.errors import ModelError
from carryline.model import lexicon, storage
from carryline.model.lexicon import EXPONENTS, ROWS, WEIGHT, packed, rounded, unpacked
from lexicons import KNOWN, WIDTH, vectors_file

FILES = ["model.safetensors", "vectors.safetensors", "words.txt"]


@pytest.fixture(scope="module")
def words_model(
    corpus: Any, tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("words")
    file = vectors_file(folder / "few.vectors")
    classifier = TextClassifier(**tiny, vectors=file)
    classifier.fit(*corpus, valid=0.2, threads=1, out=folder / "model")
    return folder / "model"


@pytest.fixture
def copy(words_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(words_model, tmp_path / "copy"))


@pytest.fixture(scope="module")
def scratch(words_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(words_model, tmp_path_factory.mktemp("scratch") / "copy"))


# --- numbers

finite = st.floats(-(2.0**126), 2.0**126, width=32)


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1))
@example([[0.0, -0.0, 0.0], [1e-45, 0, 0], [1.6e38, 1, -1.7e38]])
@example([[127.0, 1, 0], [127.4, 1, 0], [127.5, -127.6, 3], [63.5, 0.25, 0.1]])
def test_rounding_is_near_and_once_is_enough(rows: list[list[float]]) -> None:
    weight = np.array(rows, np.float32)
    found = rounded(weight)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (rounded(found) == found).all()
    largest = np.abs(weight).max(axis=1, keepdims=True).astype(np.float64)
    assert (np.abs(found.astype(np.float64) - weight) <= largest / 127 + 1e-38).all()


def test_values_beyond_those_that_can_be_kept_become_the_largest() -> None:
    largest = 127 * 2.0**120
    found = rounded(np.array([[3.4e38, -3.4e38, 1, largest]], np.float32))
    assert found.tolist() == [[largest, -largest, 0, largest]]


def test_only_changed_rows_are_kept() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, WIDTH)).astype(np.float32)
    before = rounded(rng.standard_normal((5, WIDTH)).astype(np.float32))
    weight = np.concatenate([before, vectors])
    weight[[7, 30, 54]] = rounded(weight[[7, 30, 54]] + 1)
    kept = packed(weight, vectors)
    assert kept[ROWS].tolist() == [2, 25, 49]
    assert kept[WEIGHT].shape == (8, WIDTH)
    again = unpacked(Path("model"), kept, vectors)
    assert (again == weight).all()
    weight[3] += np.float32(1e-4)
    with pytest.raises(ModelError, match=r"embedding\.weight must be rounded"):
        packed(weight, vectors)


# --- the directory


def test_saved_and_loaded_are_what_was_held(words_model: Path, tmp_path: Path, corpus: Any) -> None:
    held, again = load(words_model), storage.load(words_model)
    held.save(tmp_path / "again")
    for name in [*FILES, "config.json", "tokenizer.json"]:
        assert (tmp_path / "again" / name).read_bytes() == (words_model / name).read_bytes()
    assert again.lexicon is not None
    assert again.lexicon.vectors.words == KNOWN
    assert "music" in again.lexicon.further
    assert again.lexicon.content == (words_model.parent / "few.vectors").read_bytes()
    assert again.config.embedding == WIDTH
    assert again.config.vectors.startswith("few.vectors ")
    assert len(again.weights[WEIGHT]) == held.tokenizer.rows
    ids = held.tokenizer.encode(corpus[0][3])
    assert max(ids) >= held.tokenizer.size - 6 * len(held.tokenizer.words)


def test_a_model_without_vectors_has_none_of_it(model: Path) -> None:
    assert not any((model / name).exists() for name in FILES[1:])
    weights = load_tensors((model / "model.safetensors").read_bytes())
    assert weights[WEIGHT].dtype == np.float32
    assert ROWS not in weights


# --- damage and hostility


def refused(folder: Path, name: str, rule: str) -> None:
    with pytest.raises(ModelError, match=rule) as caught:
        load(folder)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", FILES)
def test_a_file_missing_cut_or_changed(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for spoiled in (b"", content[:-1], content[:-2] + b"zz"):
        (copy / name).write_bytes(spoiled)
        refused(copy, name, "damaged|must have|not a safetensors")
    (copy / name).unlink()
    refused(copy, name, "missing")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"music", "must end each word"),
        (b"", "must end each word"),
        (b"music\n\nrain\n", "1 to 64 characters, one has 0"),
        (b"x" * 65 + b"\n", "1 to 64 characters, one has 65"),
        (b"rain\nrain\n", "no word may be there twice"),
        (b"film\n", "or among those of the vectors"),
        (b"\xff\n", "not UTF-8 at byte 0"),
        (b"a\n" * 30_001, "at most 30000 words, it has 30001"),
        (b"rain\n", r"embedding\.weight must be int8"),
        ("".join(f"w{n}\n" for n in range(7)).encode(), "entries beside 15 words, the embedding"),
    ],
)
def test_hostile_words(copy: Path, rehash: Any, content: bytes, rule: str) -> None:
    (copy / "words.txt").write_bytes(content)
    rehash(copy)
    refused(copy, "" if "embedding" in rule else "words.txt", rule)


def test_files_too_large(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from carryline.model import reading

    for name, limit in (("words.txt", "LARGEST_WORDS"), ("vectors.safetensors", "LARGEST_VECTORS")):
        with monkeypatch.context() as patch:
            patch.setattr(reading, limit, 5)
            refused(copy, name, "at most 5 are read")


def weights(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        arrays = load_tensors(content)
        change(arrays)
        return bytes(save_tensors(arrays))

    return changed


def rows(values: list[int], kind: Any = np.int32) -> Callable[[bytes], bytes]:
    return weights(lambda arrays: arrays.update({ROWS: np.array(values, kind)}))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (rows([0, 1, 2, 3, 4, 8]), r"embedding\.rows must rise from 0 or more to below 8"),
        (rows([-1, 1, 2, 3, 4, 5]), "must rise"),
        (rows([0, 1, 1, 3, 4, 5]), "must rise"),
        (rows([0, 2**31 - 1, -(2**31), -5, 3, 4]), "must rise"),
        (rows([0, 1, 2, 3, 4, 5], np.int64), r"embedding\.rows must be int32 \[6\], it is"),
        (rows(list(range(9))), r"embedding\.rows must be int32 \[8\], it is int32 \[9\]"),
        (weights(lambda arrays: arrays.pop(ROWS)), "do not fit the configuration: embedding.rows"),
        (weights(lambda arrays: arrays.pop(EXPONENTS)), "do not fit the configuration"),
        (
            weights(lambda arrays: arrays.update({EXPONENTS: arrays[EXPONENTS] * 0 + 121})),
            r"-126 <= embedding\.exponents <= 120",
        ),
        (
            weights(lambda arrays: arrays.update({EXPONENTS: arrays[EXPONENTS][1:]})),
            r"embedding\.exponents must be int8",
        ),
        (
            weights(lambda arrays: arrays.update({WEIGHT: arrays[WEIGHT].astype(np.float32)})),
            r"embedding\.weight must be int8",
        ),
        (
            weights(lambda arrays: arrays.update({WEIGHT: arrays[WEIGHT][:6]})),
            r"embedding\.weight must be int8",
        ),
    ],
)
def test_hostile_rows(copy: Path, rehash: Any, change: Any, rule: str) -> None:
    file = copy / "model.safetensors"
    before = load_tensors(file.read_bytes())
    assert before[ROWS].tolist() == [0, 1, 2, 3, 4, 7]  # but "never" and "read"
    file.write_bytes(change(file.read_bytes()))
    rehash(copy)
    refused(copy, "model.safetensors", rule)


def test_vectors_of_another_width(copy: Path, rehash: Any) -> None:
    vectors_file(copy / "vectors.safetensors", width=9)
    rehash(copy)
    refused(copy, "vectors.safetensors", "must have vectors of 8 values, .* it has some of 9")


def test_hashes_of_what_is_not_there(copy: Path, model: Path, tmp_path: Path) -> None:
    def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
        head = json.loads((folder / "config.json").read_text())
        change(head)
        (folder / "config.json").write_text(json.dumps(head))

    plain = Path(shutil.copytree(model, tmp_path / "plain"))
    changed(plain, lambda head: head["sha256"].update({"words.txt": "0" * 64}))
    refused(plain, "config.json", "'sha256' must name tokenizer.json and model.safetensors")
    changed(copy, lambda head: head["sha256"].pop("vectors.safetensors"))
    refused(copy, "config.json", "'sha256' must name .* and vectors.safetensors")


def test_the_files_are_a_models_own() -> None:
    assert {lexicon.WORDS, lexicon.VECTORS} <= set(storage.FILES)


@settings(max_examples=150)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0), st.integers(0, 9), st.binary(max_size=9)), max_size=3),
)
def test_any_change_behind_right_hashes(
    words_model: Path, scratch: Path, rehash: Any, name: str, splices: Any
) -> None:
    """A usable model or a `ModelError`, nothing else."""
    for file in [*FILES, "config.json"]:
        shutil.copy(words_model / file, scratch / file)
    content = (words_model / name).read_bytes()
    for at, out, new in splices:
        place = at % (len(content) + 1)
        content = content[:place] + new + content[place + out :]
    (scratch / name).write_bytes(content)
    rehash(scratch)
    with suppress(ModelError):
        load(scratch).predict_proba(["a good film"])
