"""The cache: another run gets what the first one made, and nothing else, whatever lies there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carryline import TextClassifier
from carryline.text import cache
from carryline.text.tokens import Tokenizer

TEXTS = ["a film of the night", "", "rain, and the \ud800 film", "a night of rain é"] * 5
TRAINED = Tokenizer.train(TEXTS, 280)

TOKENIZE = """
import hashlib, sys
from carryline.text import cache
cache.LEAST = 0
texts = [f"a film of {n} nights" for n in range(3000)]
tokenizer = cache.vocabulary(texts, 300, lambda text: None)
ids = cache.ids(tokenizer, texts)
print(hashlib.sha256(ids.values.tobytes() + tokenizer.to_json().encode()).hexdigest())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "LEAST", 0)
    monkeypatch.setenv("CARRYLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def learn(texts: list[str] = TEXTS, size: int = 280) -> tuple[str, list[str]]:
    """The tokenizer, and what was announced."""
    said: list[str] = []
    return cache.vocabulary(texts, size, said.append).to_json(), said


def encode(texts: list[str] = TEXTS, tokenizer: Tokenizer = TRAINED) -> list[list[int]]:
    return [row.tolist() for row in cache.ids(tokenizer, texts)]


def plainly(texts: list[str], tokenizer: Tokenizer = TRAINED) -> list[list[int]]:
    return [row.tolist() for row in tokenizer.encode_batch(texts)]


# --- hit and miss


def test_a_second_run_neither_learns_nor_encodes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = learn(), encode()
    assert first == ((TRAINED.to_json(), ["learning a vocabulary of 280 subwords"]), plainly(TEXTS))
    monkeypatch.delattr(Tokenizer, "train")
    monkeypatch.delattr(Tokenizer, "encode_batch")
    assert learn() == (first[0][0], [])
    assert encode() == first[1]
    assert len(entries(folder)) == 2


def test_arrays_are_the_same_and_may_be_written_to(folder: Path) -> None:
    for _ in range(2):
        ragged = cache.ids(TRAINED, TEXTS)
        assert ragged.values.dtype == np.int32
        assert ragged.offsets.dtype == np.int64
        ragged.values[0] += 1  # torch warns of arrays that cannot be written to
    assert encode() == plainly(TEXTS)


@pytest.mark.parametrize(
    "other",
    [
        TEXTS[:-1],
        TEXTS[::-1],
        [*TEXTS[:-1], TEXTS[-1] + " "],
        [TEXTS[0][:-1], TEXTS[0][-1] + TEXTS[1], *TEXTS[2:]],  # the same characters in all
        [text.replace("\ud800", "\ufffd") for text in TEXTS],
    ],
)
def test_other_texts_are_another_entry(folder: Path, other: list[str]) -> None:
    learn(), encode()
    assert learn(other) == (
        Tokenizer.train(other, 280).to_json(),
        ["learning a vocabulary of 280 subwords"],
    )
    assert encode(other) == plainly(other)


def test_another_tokenizer_or_size_is_another_entry(folder: Path) -> None:
    small = Tokenizer.train(TEXTS, 260)
    learn(), encode()
    assert learn(size=260) == (small.to_json(), ["learning a vocabulary of 260 subwords"])
    assert encode(tokenizer=small) == plainly(TEXTS, small)
    assert len(entries(folder)) == 4


@pytest.mark.parametrize("changed", ["carryline.text.cache.RULES", "tokenizers.__version__"])
def test_other_rules_are_another_entry(
    folder: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(), encode()
    monkeypatch.setattr(changed, "99")
    assert learn()[1]
    encode()
    assert len(entries(folder)) == 4


def test_few_texts_leave_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST", sum(map(len, TEXTS)) + 1)
    assert learn()[1]
    assert encode() == plainly(TEXTS)
    assert entries(folder) == []


def test_the_model_is_the_same_to_the_bit(
    folder: Path, corpus: tuple[list[str], list[str]], tiny: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def bits() -> dict[str, bytes]:
        classifier = TextClassifier(**{**tiny, "epochs": 1}).fit(*corpus, valid=0.2, threads=1)
        weights = classifier.network.weights.items()
        return {name: value.tobytes() for name, value in weights}

    missed = bits()
    assert len(entries(folder)) == 3  # the vocabulary; ids to train on, ids to validate on
    with monkeypatch.context() as patch:
        patch.delattr(Tokenizer, "encode_batch")
        assert bits() == missed
    monkeypatch.setenv("CARRYLINE_CACHE", "")
    assert bits() == missed


# --- damage


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_damaged_entry_is_made_again(folder: Path, data: st.DataObject) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    learn(), encode()
    for file in entries(folder):
        whole = file.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        cut = data.draw(st.booleans())
        flip = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
        file.write_bytes(whole[:at] if cut else whole[:at] + flip + whole[at + 1 :])
    damaged = [file.read_bytes() for file in entries(folder)]
    assert learn()[0] == TRAINED.to_json()
    assert encode() == plainly(TEXTS)
    assert [file.read_bytes() for file in entries(folder)] != damaged
    assert learn()[1] == []


def test_an_entry_under_another_name_is_not_taken(folder: Path) -> None:
    encode()
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    encode(TEXTS[1:])
    for file in entries(folder):
        file.write_bytes(whole)
    assert encode(TEXTS[1:]) == plainly(TEXTS[1:])
    assert encode() == plainly(TEXTS)


def test_a_folder_where_an_entry_should_be(folder: Path) -> None:
    encode()
    (entry,) = entries(folder)
    entry.unlink()
    (entry / "mine").mkdir(parents=True)
    assert encode() == plainly(TEXTS)
    assert (entry / "mine").is_dir()


# --- bounds and neighbours


def test_what_was_not_read_for_the_longest_time_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def aged() -> None:
        for file in entries(folder):
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 1000))

    encode(TEXTS)
    (first,) = entries(folder)
    size = first.stat().st_size
    left = folder / f".{first.name}.killed"
    left.write_bytes(bytes(size))
    others = [folder / "notes.txt", folder / "tokens-mine.safetensors"]
    for file in others:
        file.write_bytes(bytes(size))
    aged()
    encode(TEXTS[::-1])
    second = next(f for f in entries(folder) if f not in (first, left, *others))
    aged()
    encode(TEXTS)  # read again: the second is now the older one
    monkeypatch.setattr(cache, "LIMIT", int(2.5 * size))
    encode(TEXTS[1:] + TEXTS[:1])
    assert first.exists()
    assert not second.exists()
    assert not left.exists()
    assert all(file.exists() for file in others)
    assert len(entries(folder)) == 4


def test_an_entry_beyond_the_bound_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LIMIT", 10)
    assert encode() == encode() == plainly(TEXTS)
    assert entries(folder) == []


def test_processes_at_once(folder: Path, python: Callable[..., Any]) -> None:
    with ThreadPoolExecutor(3) as pool:
        runs = [*pool.map(lambda _: python(TOKENIZE), range(3)), python(TOKENIZE)]
    assert {(run.returncode, run.stderr) for run in runs} == {(0, "")}
    assert len({run.stdout for run in runs}) == 1
    assert len(entries(folder)) == 2


# --- where it lies


def failing(number: int) -> Callable[..., None]:
    """A function of the system that fails."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_where_nothing_can_be_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CARRYLINE_CACHE", str(tmp_path / "file" / "cache"))
    assert encode() == encode() == plainly(TEXTS)
    monkeypatch.setenv("CARRYLINE_CACHE", str(folder))
    monkeypatch.setattr(cache, "write_whole", failing(errno.ENOSPC))
    assert encode() == encode() == plainly(TEXTS)
    assert entries(folder) == []


def test_an_entry_that_may_be_read_but_not_touched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode()
    monkeypatch.setattr(os, "utime", failing(errno.EPERM))
    monkeypatch.delattr(Tokenizer, "encode_batch")
    encode()


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST", 0)
    home, xdg = tmp_path / "home", tmp_path / "xdg"
    monkeypatch.setenv("HOME", str(home))
    for named, variable, expected in [
        (None, "", home / ".cache" / "carryline"),
        (None, "not/absolute", home / ".cache" / "carryline"),
        (None, str(xdg), xdg / "carryline"),
        (str(tmp_path / "named"), str(xdg), tmp_path / "named"),
    ]:
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
        monkeypatch.delenv("CARRYLINE_CACHE", raising=False)
        if named is not None:
            monkeypatch.setenv("CARRYLINE_CACHE", named)
        encode()
        assert len(entries(expected)) == 1
        assert expected.stat().st_mode & 0o077 == 0  # texts are somebody's, their ids too
        shutil.rmtree(expected)
    monkeypatch.setenv("CARRYLINE_CACHE", "")
    encode()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache, "LEAST", 0)
    monkeypatch.delenv("CARRYLINE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert encode() == plainly(TEXTS)
