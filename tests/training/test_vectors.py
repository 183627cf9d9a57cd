"""Word vectors: the kernel beside plain NumPy, bits that do not depend on threads or stops, topics.

Tolerances of the kernel: some hundred steps, each of which rounds sums of 20 products of order 1
by about 1e-7: 1e-5 leaves room, and what is held against it moves by more than 0.05.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.errors import ConfigError, DataError, ModelError, OutputError, TrainingError
from carryline.recurrence import _kernels
from carryline.text.table import Reading
from carryline.text.vectors import Vectors, words_of
from carryline.training import corpus, language, passes, skipgram
from carryline.training.corpus import Numbers
from carryline.training.progress import Callback
from carryline.training.skipgram import Settings, SkipGram, kept, negatives, rounds
from carryline.training.vectors import Task, deliver, learn

MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15
Array = Any


# --- the kernel in plain NumPy


def mixed(x: int) -> int:
    x &= MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def below(bits: int, count: int) -> int:
    return (bits & 0xFFFFFFFF) * count >> 32


def texts_in(how: dict[str, Any], first: int, end: int) -> Iterator[list[Any]]:
    """(place, word, reach, negatives) of each word that is kept, text by text."""
    text: list[Any] = []
    for at in range(first, end):
        word = int(how["ids"][at])
        if word < 0:
            yield text
            text = []
            continue
        drawn = mixed(how["key"] + (how["place"] + at) * GOLDEN)
        if drawn >> 32 <= how["keep"][word]:
            others = []
            for j in range(1, how["negatives"] + 1):
                number = mixed(drawn + j * GOLDEN)
                other = below(number >> 32, len(how["keep"]))
                if number & 0xFFFFFFFF >= how["chance"][other]:
                    other = how["other"][other]
                others += [other] if other != word else []
            text.append((at, word, 1 + below(drawn, how["window"]), others))
    yield text


def stretch(x: Array, y: Array, how: dict[str, Any], first: int, end: int) -> tuple[float, int]:
    """Learns from a stretch, in place. The loss of every 32nd centre, and the terms of it."""
    number, loss, terms = 0, 0.0, 0
    for text in texts_in(how, first, end):
        for i, (at, word, reach, others) in enumerate(text):
            around = text[max(0, i - reach) : i] + text[i + 1 : i + reach + 1]
            context, target = [c[1] for c in around], [word, *others]
            label = np.eye(1, len(target))
            scores = x[context] @ y[target].T
            if number % 32 == 0:
                loss += np.log1p(np.exp(np.where(label == 1, -scores, scores))).sum()
                terms += len(context)
            rate = max(how["least"], how["rate"] - how["fall"] * (how["place"] + at))
            errors = rate * (label - 1 / (1 + np.exp(-scores)))
            of_x, of_y = errors @ y[target], errors.T @ x[context]
            np.add.at(x, context, of_x)
            np.add.at(y, target, of_y)
            number += 1
    return loss, terms


def reference(x: Array, y: Array, how: dict[str, Any]) -> tuple[Array, Array, float, int]:
    x, y, loss, terms, length = x.astype(float), y.astype(float), 0.0, 0, how["stretch"]
    for first in range(0, len(how["ids"]), how["shards"] * length):
        of_x, of_y = [], []
        for shard in range(how["shards"]):
            begin = min(len(how["ids"]), first + shard * length)
            end = min(len(how["ids"]), begin + length)
            of_x.append(x.copy())
            of_y.append(y.copy())
            each_loss, each_terms = stretch(of_x[-1], of_y[-1], how, begin, end)
            loss, terms = loss + each_loss, terms + each_terms
        x = x + sum(changed - x for changed in of_x)
        y = y + sum(changed - y for changed in of_y)
    return x, y, loss, terms


def problem(words: int, width: int, **changes: Any) -> tuple[Array, Array, dict[str, Any]]:
    rng = np.random.default_rng(words + width)
    counts = np.sort(rng.integers(1, 500, words))[::-1].astype(np.int64)
    ids = rng.integers(-1, words, 400).astype(np.int32)
    ids[rng.random(400) < 0.05] = -1
    chance, other = negatives(counts)
    how = {
        "ids": ids, "place": 40_000, "key": 0xFEDCBA9876543210, "keep": kept(counts, 0.01),
        "chance": chance, "other": other, "window": 4, "negatives": 5, "rate": 40.2, "fall": 1e-3,
        "least": 0.05, "shards": 3, "stretch": 47,
    } | changes  # fmt: skip
    x, y = (rng.standard_normal((words, width)).astype(np.float32) * 0.3 for _ in range(2))
    return x, y, how


@pytest.mark.parametrize(
    ("words", "width", "changes"),
    [
        (30, 21, {}),
        (30, 200, {"shards": 1, "stretch": 400}),
        (2, 3, {"window": 9, "negatives": 1}),  # rows that are there several times
        (40, 16, {"shards": 8, "stretch": 13, "window": 1, "negatives": 17}),
        (5, 1, {"keep": np.zeros(5, np.uint32)}),  # no word is kept
    ],
)
def test_the_kernel_is_the_reference(
    words: int, width: int, changes: dict[str, Any], instruction_set: str
) -> None:
    x, y, how = problem(words, width, **changes)
    wanted_x, wanted_y, wanted_loss, wanted_terms = reference(x, y, how)
    before = x.copy(), y.copy()
    loss, terms = _kernels.skip_gram(x, y, **how, threads=1)
    assert terms == wanted_terms
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    assert abs(x - wanted_x).max() < 1e-5
    assert abs(y - wanted_y).max() < 1e-5
    if how["keep"].any():
        assert min(abs(x - before[0]).max(), abs(y - before[1]).max()) > 0.05


def test_the_kernel_refuses_what_does_not_fit() -> None:
    for wrong in ({"ids": np.array([30], np.int32)}, {"other": np.full(30, 30, np.int32)},
                  {"window": 0}, {"stretch": 0}, {"keep": np.zeros(29, np.uint32)}):  # fmt: skip
        x, y, how = problem(30, 4, **wrong)
        with pytest.raises(ValueError, match="must|every|are"):
            _kernels.skip_gram(x, y, **how, threads=1)


def test_the_same_bits_on_any_number_of_threads(instruction_set: str) -> None:
    counts = np.array([400 - i for i in range(300)])
    ids = np.random.default_rng(0).integers(-1, 300, 6000).astype(np.int32)
    found = []
    for threads in (1, 2, 3):
        model = SkipGram(Settings(width=20), counts)
        loss = model.step(ids, 0, 0, len(ids), threads)
        found.append((model.inputs.tobytes(), model.outputs.tobytes(), loss))
    assert found[0] == found[1] == found[2]


def test_blocks_go_on_to_the_same_bits_as_all_at_once() -> None:
    counts = np.array([400 - i for i in range(300)])
    ids = np.random.default_rng(0).integers(-1, 300, 6000).astype(np.int32)
    assert SkipGram(Settings(width=8), counts).round == 4000
    whole, parts = (SkipGram(Settings(width=8, epochs=2), counts) for _ in range(2))
    for epoch in range(2):
        whole.step(ids, epoch, 0, len(ids), 1)
        for place in (0, 4000):
            parts.step(ids[place : place + 4000], epoch, place, len(ids), 1)
    assert parts.inputs.tobytes() == whole.inputs.tobytes()
    assert parts.outputs.tobytes() == whole.outputs.tobytes()
    assert abs(whole.outputs).max() > 0.01
    other = SkipGram(Settings(width=8, epochs=2, seed=1), counts)
    assert (other.inputs != SkipGram(Settings(width=8, epochs=2), counts).inputs).any()


def test_every_seed_and_epoch_draws_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    def kernel(*given: Any) -> tuple[float, int]:
        keys.append(given[4])
        return 0.0, 0

    monkeypatch.setattr(_kernels, "skip_gram", kernel)
    for seed in (0, 1):
        model = SkipGram(Settings(seed=seed), np.array([3, 2]))
        for epoch in (0, 1, 0):
            model.step(np.zeros(4, np.int32), epoch, 0, 4, 1)
    assert keys[0] == keys[2] and keys[3] == keys[5]
    assert len(set(keys)) == 4


def test_chances() -> None:
    counts = np.array([1000, 300, 300, 20, 1])
    chance, other = negatives(counts)
    share = np.zeros(5)
    for word in range(5):  # what both numbers together draw
        own = chance[word] / 2**32
        share[word] += own / 5
        share[other[word]] += (1 - own) / 5
    np.testing.assert_allclose(share, counts**0.75 / (counts**0.75).sum(), atol=1e-8)
    f = counts / counts.sum()
    wanted = np.minimum(1, np.sqrt(0.01 / f) + 0.01 / f)
    np.testing.assert_allclose(kept(counts, 0.01) / 2**32, wanted, atol=1e-8)
    assert (kept(counts, 0) == 2**32 - 1).all()


def test_stretches_are_short_enough_for_their_sum() -> None:
    zipf = (1e6 / np.arange(1, 50_001)).astype(np.int64)
    assert rounds(Settings(), zipf) == (4, 537)
    assert rounds(Settings(rate=0.1), zipf) == (4, 134)
    assert rounds(Settings(rate=0.001), zipf) == (4, 1000)
    assert rounds(Settings(sample=0), zipf[:5]) == (1, 1000)


# --- counting


def test_texts_become_numbers_of_their_words(tmp_path: Path) -> None:
    texts = ["A b a\nc  B b", "", "It's a b, c; a", "Straße STRASSE straße"]
    counted = corpus.written([texts[:2], texts[2:]], Numbers(), tmp_path / "ids", most=4, least=2)
    count = Counter(word for text in texts for word in words_of(text))
    wanted = sorted((w for w in count if count[w] >= 2), key=lambda w: (-count[w], w))[:4]
    assert counted.words == wanted == ["a", "b", "c", "straße"]
    assert counted.counts.tolist() == [count[word] for word in wanted]
    assert (counted.texts, counted.total, counted.pruned) == (4, sum(count.values()), 0)
    number = {word: i for i, word in enumerate(wanted)}
    ids = [i for t in texts for i in (*(number.get(w, -2) for w in words_of(t)), -1) if i != -2]
    assert np.fromfile(tmp_path / "ids", np.int32).tolist() == ids
    assert [p.name for p in tmp_path.iterdir()] == ["ids"]


def test_nothing_is_left_where_no_word_is_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 times at least.*most frequent one is there 2 times"):
        corpus.written([["a b a"]], Numbers(), tmp_path / "ids", most=10, least=5)
    with pytest.raises(DataError, match="none is"):
        corpus.written([[" "]], Numbers(), tmp_path / "ids", most=10, least=1)
    assert not list(tmp_path.iterdir())


def test_rare_words_go_when_there_are_too_many() -> None:
    numbers = Numbers(most=20)
    for part in range(10):
        rare = [3 * chr(97 + part) + chr(97 + i) for i in range(5)]
        ids = numbers.add([f"the end {word}" for word in rare])
    counted, new = numbers.kept(100, 1)
    assert counted.words[:2] == ["end", "the"]
    assert counted.counts[:2].tolist() == [50, 50]
    assert counted.pruned == 1
    assert set(counted.words[2:]) > set(rare)
    assert len(counted.words) <= 25
    assert new[ids].tolist() == [i for word in rare for i in (1, 0, counted.words.index(word), -1)]
    assert counted.total == 150
    again = numbers.add(["aaaa aaaa"])  # one that went
    counted, new = numbers.kept(100, 2)
    assert counted.words == ["end", "the", "aaaa"]
    assert new[again].tolist() == [2, 2, -1]


# --- runs


class Stop(Callback):
    """Ends a run at a step, by Ctrl-C or a failure, and keeps what was said."""

    def __init__(self, at: int = -1, fail: bool = False) -> None:
        self.steps, self.at, self.fail, self.said = 0, at, fail, list[str]()

    def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
        self.steps += 1
        if self.steps == self.at and self.fail:
            raise OSError
        if self.steps == self.at:
            signal.raise_signal(signal.SIGINT)

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skipgram, "STRETCH", 50)
    monkeypatch.setattr(passes, "_BLOCK", 400)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Texts of two topics, each with words of its own; some words are in both."""
    rng = np.random.default_rng(0)
    file = tmp_path / "texts.txt"
    with file.open("w") as to:
        for number in range(400):
            topic = "abcdefgh" if number % 2 else "ijklmnop"
            words = [f"{letter}{letter}" for letter in rng.choice(list(topic + "yz"), 12)]
            to.write(" ".join(words) + "\n")
    return file


@pytest.fixture
def task_of(texts: Path, tmp_path: Path) -> Callable[..., Task]:
    def make(name: str = "out", resume: bool = False, **settings: Any) -> Task:
        chosen = Settings(**{"width": 12, "epochs": 3, "sample": 0, "rate": 0.002} | settings)
        how = Reading(labelled=False)
        return Task([str(texts)], how, chosen, tmp_path / name, resume)

    return make


def test_vectors_tell_topics_apart(task_of: Callable[..., Task]) -> None:
    found = learn(task_of(epochs=8, rate=0.1), Stop(), 1)
    unit = found.matrix / np.linalg.norm(found.matrix, axis=1, keepdims=True)
    of = {t: unit[[found.by_word[2 * w] for w in t]] for t in ("abcdefgh", "ijklmnop")}
    first, second = of.values()
    assert min((first @ first.T).mean(), (second @ second.T).mean()) > 0.7
    assert (first @ second.T).mean() < 0.3
    assert len(found.words) == 18
    assert found.about["texts"] == 400
    assert found.about["words"] == 4800 == found.counts.sum()
    assert found.about["loss"][-1] < found.about["loss"][0]
    assert found.about["sources"][0].items() >= {"texts": 400, "words": 4800}.items()


def bits(found: Vectors) -> tuple[Any, ...]:
    return found.words, found.counts.tolist(), found.matrix.tobytes(), found.about


KILLED = """
import os, sys
from pathlib import Path
from carryline.text.table import Reading
from carryline.training import progress, vectors
from carryline.training.skipgram import Settings

class Killed(progress.Callback):
    def step(self, epoch, epochs, done, total, loss):
        if epoch == 3:
            os._exit(9)

settings = Settings(width=12, epochs=3, sample=0, rate=0.002)
task = vectors.Task([sys.argv[1]], Reading(labelled=False), settings, Path(sys.argv[2]))
vectors.learn(task, Killed(), 1)
"""


def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    task_of: Callable[..., Task], python: Callable[..., Any]
) -> None:
    task = task_of(resume=True)
    assert python(KILLED, task.sources[0], task.out).returncode == 9
    assert {path.name for path in task.folder.iterdir()} == {
        "checkpoint.safetensors", "ids.int32", "training.lock", "words.safetensors",
    }  # fmt: skip
    found = learn(task, again := Stop(), 1)
    assert bits(found) == bits(learn(task_of("whole"), Stop(), 1))
    assert again.steps == 1
    deliver(task, found, 32)
    assert not task.folder.exists()
    assert Vectors.load(task.out).matrix.tobytes() == found.matrix.tobytes()


def test_two_runs_do_not_share_a_folder(task_of: Callable[..., Task]) -> None:
    class Another(Callback):
        def step(self, epoch: int, epochs: int, done: int, total: int, loss: float) -> None:
            with pytest.raises(OutputError, match="another process is training"):
                learn(task_of(resume=True), Callback(), 1)

    learn(task_of(), Another(), 1)


@pytest.mark.parametrize("name", ["ids.int32", "words.safetensors", "checkpoint.safetensors"])
def test_a_damaged_folder_is_told(task_of: Callable[..., Task], name: str) -> None:
    task = task_of(resume=True)
    learn(task, Stop(), 1)
    (task.folder / name).write_bytes((task.folder / name).read_bytes()[:-4])
    with pytest.raises(ModelError, match=name):
        learn(task, Stop(), 1)


def test_another_run_is_not_gone_on_with(task_of: Callable[..., Task], texts: Path) -> None:
    learn(task_of(), Stop(), 1)
    with pytest.raises(ConfigError, match="other settings: width 12, now 13; seed 0, now 1$"):
        learn(task_of(resume=True, width=13, seed=1), Stop(), 1)
    texts.write_text(texts.read_text() + "more\n")
    with pytest.raises(ConfigError, match="other sources"):
        learn(task_of(resume=True), Stop(), 1)
    with pytest.raises(OutputError, match="--resume"):
        learn(task_of(), Stop(), 1)


def test_rates_that_run_away_are_an_error(task_of: Callable[..., Task]) -> None:
    with (
        np.errstate(all="ignore"),
        pytest.raises(TrainingError, match=r"not finite any more.*smaller rate than 1"),
    ):
        learn(task_of(rate=1, epochs=300, negatives=50), Stop(), 1)


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("at", [1, 13, 14, 20, 26, 39])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    task_of: Callable[..., Task], at: int, fail: bool
) -> None:
    """13 blocks are an epoch. After a failure the last whole epoch is there, else the block."""
    whole = learn(task_of("whole"), every := Stop(), 1)
    assert every.steps == 39
    with pytest.raises(OSError if fail else KeyboardInterrupt):
        learn(task_of(), Stop(at, fail), 1)
    assert bits(learn(task_of(resume=True), again := Stop(), 1)) == bits(whole)
    assert again.steps == 39 - ((at - 1) // 13 * 13 if fail else at)


def test_a_layer_learns_to_read_the_vectors(
    task_of: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is stopped and gone on with, in the vectors' epochs and in its own."""
    monkeypatch.setattr(language, "TOGETHER", 500)
    settings = {"hidden": 5, "passes": 2}
    whole = learn(task_of("whole", **settings), every := Stop(), 1)
    assert whole.layer is not None
    assert {value.shape for value in whole.layer.values()} == {(20, 12), (20, 5), (20,)}
    assert whole.about["layer_loss"][1] < whole.about["layer_loss"][0] < np.log(18)
    assert any("reading, pass 2: loss" in text for text in every.said)
    assert bits(learn(task_of("alone"), Stop(), 1))[:3] == bits(whole)[:3]
    for at in (2, 5, every.steps - 1, every.steps):
        with pytest.raises(KeyboardInterrupt):
            learn(task_of(f"at{at}", **settings), Stop(at), 1)
        again = learn(task_of(f"at{at}", resume=True, **settings), Stop(), 2)
        assert bits(again) == bits(whole)
        assert again.layer is not None
        for name, value in whole.layer.items():
            assert np.array_equal(again.layer[name], value), (at, name)


def test_a_layer_needs_two_words_to_learn(texts: Path, task_of: Callable[..., Task]) -> None:
    texts.write_text("aa\n" * 9)
    with pytest.raises(DataError, match="no text has two words.*--hidden 0"):
        learn(task_of(hidden=5), Stop(), 1)
