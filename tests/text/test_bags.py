"""Bags of word vectors against the same in NumPy, word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.recurrence import _kernels
from carryline.text.bags import RARE, Bags
from carryline.text.vectors import Vectors, words_of

WORDS = ["the", "film", "naïve", "日本", "'s", "."]


def vectors(width: int = 5) -> Vectors:
    matrix = np.random.default_rng(0).standard_normal((len(WORDS), width)).astype(np.float32)
    return Vectors(WORDS, np.array([900, 60, 30, 9, 1, 0]), matrix, {})


def expected(known: Vectors, text: str) -> np.ndarray:
    rows = [WORDS.index(word) for word in words_of(text) if word in WORDS]
    if not rows:
        return np.zeros(4 * known.matrix.shape[1])
    own = known.matrix[rows].astype(np.float64)
    share = RARE / (RARE + known.counts[rows] / 1000)
    weighted = (share[:, None] * own).sum(axis=0) / share.sum()
    return np.concatenate([weighted, own.mean(axis=0), own.max(axis=0), own.min(axis=0)])


TEXTS = [
    "The film's naïve.", "the the the", "日本 film", "unknown words alone", "", "  \n", "\ud800",
    "film " * 500,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_by_hand(text: str) -> None:
    known = vectors()
    found = Bags(known)([text], 1)
    assert found.shape == (1, 20)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected(known, text), rtol=1e-5, atol=1e-6)


@given(st.lists(st.text(st.sampled_from("the film.日本'sx \n"), max_size=30), max_size=6))
def test_any_texts(texts: list[str]) -> None:
    known = vectors()
    found = Bags(known)(texts, 2)
    wanted = np.array([expected(known, text) for text in texts]).reshape(len(texts), 20)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_text_alone_is_the_text_in_company_on_any_number_of_threads() -> None:
    texts = [" ".join(np.random.default_rng(i).choice(WORDS, 40)) for i in range(3_000)]
    bags = Bags(vectors(24))
    one = bags(texts, 1)
    assert bags(texts, 3).tobytes() == one.tobytes()
    for place in (0, 15, 16, 2_999):
        assert Bags(vectors(24))([texts[place]], 1).tobytes() == one[place].tobytes()


def test_counts_of_zeros_count_every_word_the_same() -> None:
    known = vectors()
    even = Vectors(known.words, np.zeros(6, np.int64), known.matrix, {})
    found = Bags(even)(["the film ."], 1)[0]
    np.testing.assert_allclose(found[:5], found[5:10], rtol=1e-6)


def test_no_texts() -> None:
    assert Bags(vectors())([], 2).shape == (0, 20)


def test_the_door_refuses() -> None:
    matrix, weight = np.ones((3, 2), np.float32), np.ones(3, np.float32)
    ids, offsets, out = np.zeros(2, np.int32), np.array([0, 2]), np.empty((1, 8), np.float32)
    for arguments, rule in (
        ((matrix, weight, ids + 3, offsets, out, 1), "out of range"),
        ((matrix, weight, ids - 1, offsets, out, 1), "out of range"),
        ((matrix, weight[:2].copy(), ids, offsets, out, 1), "every row needs its weight"),
        ((matrix, weight, ids, offsets + 1, out, 1), "offsets must begin with 0"),
        ((matrix, weight, ids, offsets * 2, out, 1), "offsets must end"),
        ((matrix, weight, ids, offsets, np.empty((1, 6), np.float32), 1), "out must be"),
    ):
        with pytest.raises(ValueError, match=rule):
            _kernels.bags(*arguments)
