"""The language model: its loss beside the definition, its way back, stretches, threads."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from carryline.recurrence.ragged import Ragged, offsets_of
from carryline.training import language, skipgram
from carryline.training.language import LanguageModel, followers, stretches, told, towards
from carryline.training.skipgram import Settings
from carryline.training.stages import States
from gradients import assert_derivatives, assert_way_back, dense


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def ragged_of(lengths: list[int], rng: np.random.Generator, words: int = 9) -> Ragged:
    offsets = offsets_of(lengths)
    return Ragged(rng.integers(0, words, offsets[-1]).astype(np.int32), offsets)


@pytest.mark.parametrize("lengths", [[4, 1, 0, 3], [2], [1], [0, 5, 0], []])
def test_the_words_beside_each_place(lengths: list[int], rng: np.random.Generator) -> None:
    offsets = ragged_of(lengths, rng).offsets
    later = followers(offsets)
    inside = [(i, i + 1) for a, b in itertools.pairwise(offsets)
              for i in range(a, b - 1)]  # fmt: skip
    assert [(place - 1, place) for place in later] == inside


def test_each_direction_tells_the_side_that_it_has_not_read(rng: np.random.Generator) -> None:
    texts = ragged_of([4, 1, 3], rng)
    plan, later = texts.plan, followers(texts.offsets)
    of = np.arange(8)[plan.positions]  # the text-major place of each row of the states
    states = np.stack([of, of, of + 100, of + 100], axis=1).astype(float)
    x, back = towards(States(all=states), plan, later)
    assert x[:, 0].tolist() == [*(later - 1), *(later + 100)]
    given = rng.standard_normal(states.shape)
    factor = rng.standard_normal(x.shape)

    def value(changed: Any) -> float:
        own = towards(States(all=changed["all"]), plan, later)[0]
        return float((own * factor).sum())

    assert_derivatives(value, {"all": given}, {"all": back(factor)[0].all}, rng)


def plain(x: Any, weight: Any, bias: Any, right: Any, others: Any, chances: Any) -> float:
    """The definition, a place after the other."""
    losses = []
    for state, word in zip(x, right, strict=True):
        score = state @ weight[word] + bias[word]
        total = np.exp(score)
        for other, chance in zip(others, chances, strict=True):
            if other != word:
                total += np.exp(state @ weight[other] + bias[other]) / (len(others) * chance)
        losses.append(np.log(total) - score)
    return float(np.mean(losses))


def test_the_loss_is_the_definition_and_so_is_its_way_back(rng: np.random.Generator) -> None:
    """Words that are drawn twice, that are to be told twice, that are both and neither."""
    right, others = np.array([2, 5, 2, 0, 7], np.int32), np.array([2, 4, 4, 7, 1])
    chances = rng.uniform(0.05, 0.3, 9)[others]
    given = {"x": rng.standard_normal((5, 3)), "weight": rng.standard_normal((9, 3)),
             "bias": rng.standard_normal((9, 1))}  # fmt: skip

    def stage(of: Any) -> Any:
        weights = {f"words.{name}": of[name] for name in ("weight", "bias")}
        return told(weights, of["x"], right, others, chances, 1)

    wanted = plain(given["x"], given["weight"], given["bias"][:, 0], right, others, chances)
    assert stage(given)[0] == pytest.approx(wanted, rel=1e-12)
    assert_way_back(stage, given, rng)
    by_bias = dense(stage(given)[1](1.0)[1]["bias"], (9, 1))
    assert set(np.flatnonzero(by_bias)) == {0, 1, 2, 4, 5, 7}


def test_all_words_drawn_by_even_chances_are_the_softmax(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((6, 3)), rng.standard_normal((8, 3))
    right, zeros = rng.integers(0, 8, 6).astype(np.int32), np.zeros((8, 1))
    weights = {"words.weight": weight, "words.bias": zeros}
    scores = x @ weight.T
    wanted = np.log(np.exp(scores).sum(1)) - scores[np.arange(6), right]
    found, _ = told(weights, x, right, np.arange(8), np.full(8, 1 / 8), 1)
    assert found == pytest.approx(wanted.mean(), rel=1e-12)


def test_stretches_are_all_words_once_and_never_of_two_texts(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "TOGETHER", 300)
    ids = rng.integers(0, 9, 5000).astype(np.int32)
    ids[rng.integers(0, 5000, 60)] = -1
    ids[[7, 9, 4998]] = -1  # a text of one word; one more at the end
    begin, end, firsts = stretches(ids, 0, 0)
    seen = np.zeros(len(ids), int)
    for first, last in zip(begin, end, strict=True):
        assert (ids[first:last] >= 0).all()
        assert 2 <= last - first <= language.LONGEST
        seen[first:last] += 1
    left = (seen == 0) & (ids >= 0)
    assert seen.max() == 1
    assert left[8] and left[4999]
    alone = np.convolve(ids >= 0, [1, 1, 1], "same")[left]  # a word with its neighbours
    assert (alone <= 2).all()  # cut off by the end of a text on one side or both
    assert firsts[0] == 0 and firsts[-1] == len(begin)
    words = [int((end - begin)[a:b].sum()) for a, b in itertools.pairwise(firsts)]
    assert all(300 - 127 < count < 300 + 127 for count in words[:-1])
    assert not np.array_equal(begin, stretches(ids, 0, 1)[0])
    assert np.array_equal(begin, stretches(ids, 0, 0)[0])


def trained(threads: int, seed: int = 0) -> tuple[LanguageModel, list[float]]:
    """Of texts that go on from word to word, 0, 1, …, 29, 0, …"""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 12)).astype(np.float32)
    settings = Settings(width=12, hidden=16, seed=seed)
    model, losses = LanguageModel(settings, np.full(30, 50), vectors, threads), []
    for step in range(60):
        starts = rng.integers(0, 30, 20)
        words = (starts[:, None] + np.arange(12)) % 30
        texts = Ragged(words.ravel().astype(np.int32), np.arange(21) * 12)
        loss, terms = model.step(texts, (0, step), step / 60)
        assert terms == 2 * 20 * 11
        losses.append(loss / terms)
    return model, losses


def test_it_learns_what_comes_next_with_the_same_bits_on_any_number_of_threads(
    instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "RATE", 0.05)
    (one, losses), (two, same) = trained(1), trained(2)
    assert losses[0] == pytest.approx(np.log(30), rel=0.05)
    assert losses[-1] < 1.5
    assert same == losses
    assert all(np.array_equal(value, two.layer[name]) for name, value in one.layer.items())
    assert trained(1, seed=1)[1] != losses


def test_texts_of_one_word_change_nothing() -> None:
    model, _ = trained(1)
    before = {name: value.copy() for name, value in model.layer.items()}
    assert model.step(Ragged(np.zeros(3, np.int32), np.arange(4)), (0, 0), 0.5) == (0.0, 0)
    assert all(np.array_equal(value, before[name]) for name, value in model.layer.items())


def test_the_rate_rises_and_falls() -> None:
    rates = [language.rate(share) for share in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert 0 < rates[0] < 0.1 * language.RATE
    assert rates[top] > 0.99 * language.RATE
    assert top == round(100 * language.WARMUP)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == 0


def test_drawn_words_follow_their_chances() -> None:
    counts = np.array([1000, 100, 10])
    chances = skipgram.drawn_by(counts)
    np.testing.assert_allclose(chances, counts**0.75 / (counts**0.75).sum())
