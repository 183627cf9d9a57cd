"""Whole words: one token where how they are written can be told back, pieces where not."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from carryline.errors import InputError
from carryline.text import cache
from carryline.text.tokens import PAD, Tokenizer
from carryline.text.vectors import words_of
from carryline.text.whole import FORMS, Whole

# Words whose letters do not go up and down alike: no capital, several, one of two letters, none.
ODD = [
    "straße",
    "i̇stanbul",
    "ǆungla",
    "ŉ",
    "ﬁlm",
    "ας",
    "ß",
    "'s",
    "don",
    "a",
    "é",
    "1984",
    "…",
    "漢",
]
WORDS = ["film", "the", "good", *ODD, "x" * 300]
PIECES = Tokenizer.train(["a good film of the night, it isn't"] * 3, 300)
WHOLE = PIECES.with_words(WORDS)
FIRST = PIECES.size

written = st.sampled_from(WORDS).flatmap(
    lambda word: st.sampled_from([word, word.upper(), word.title(), word.capitalize(), word[::-1]])
)
texts = st.lists(written | st.sampled_from([" ", "  ", "\n", "'", "’", ","]) | st.text()).map(
    "".join
)


def whole(text: str) -> list[int]:
    return [i for i in WHOLE.encode(text) if i >= FIRST]


@given(texts)
@example("Straße STRASSE STRAßE straße")
@example("İSTANBUL i̇stanbul İstanbul I\u0307stanbul")
@example("ǅungla ǆungla Ǆungla ΑΣ ας Ας ŉ ʼN ﬁlm FIlm FILM ﬀ SS ß ẞ")
@example("don't DON'T Don't A a 'S 's ’s É é 1984 … 漢 fiLm")
@example("<pad> good<pad>film")
def test_every_string_comes_back(text: str) -> None:
    ids = WHOLE.encode(text)
    expected = PIECES.decode(PIECES.encode(text))  # with surrogates paired or replaced
    assert WHOLE.decode(ids) == expected
    assert all(0 < i < WHOLE.size for i in ids)
    assert PAD not in ids


@given(st.text())
def test_any_string_may_be_a_word(text: str) -> None:
    words = list(dict.fromkeys(filter(None, words_of(text))))
    tokenizer = PIECES.with_words(words)
    for other in (text, text.upper(), text.title(), text.lower()):
        assert tokenizer.decode(tokenizer.encode(other)) == PIECES.decode(PIECES.encode(other))


def test_six_forms_share_a_row() -> None:
    ids = [i for text in ("film", "Film", "FILM", " film", " Film", " FILM") for i in whole(text)]
    assert ids == list(range(FIRST, FIRST + FORMS))
    assert WHOLE.size == FIRST + FORMS * len(WORDS)
    assert WHOLE.rows == FIRST + len(WORDS)
    every = np.arange(WHOLE.size)
    rows = WHOLE.rows_of(every)
    assert rows.dtype == np.int32
    assert (rows[:FIRST] == every[:FIRST]).all()
    assert (rows[FIRST:] == FIRST + (every[FIRST:] - FIRST) // FORMS).all()
    assert PIECES.rows_of(every) is every


@pytest.mark.parametrize("text", ["fILM", "filmS", "FiLm", "films", "STRASSE", "ẞ", "ǅungla", "ʼN"])
def test_what_could_not_be_told_back_is_cut_into_pieces(text: str) -> None:
    assert not whole(text)
    assert WHOLE.encode(text) == PIECES.encode(text)


def test_words_stand_beside_other_characters() -> None:
    """Around a character that is not ASCII the library cuts the text."""
    shown = WHOLE.pieces(whole("the film’s don…Film,é 漢"))
    assert shown == ["the", " film", " don", "…", "Film", "é", " 漢"]


def test_a_letter_has_one_capital() -> None:
    assert [(i - FIRST) % FORMS for i in whole("a A")] == [0, 4]


def test_without_words_nothing_is_otherwise() -> None:
    assert PIECES.with_words([]).encode("the Film") == PIECES.encode("the Film")
    assert (PIECES.rows, PIECES.words) == (PIECES.size, ())


def test_ids_beyond_the_last_form() -> None:
    with pytest.raises(InputError, match=f"0 to {WHOLE.size - 1}, one is {WHOLE.size}"):
        WHOLE.decode([WHOLE.size])


@pytest.mark.parametrize("unit", ["film", "FILM ", "film’", "漢"])
def test_a_megabyte_of_one_word(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    ids = WHOLE.encode(text)
    assert time.process_time() - began < 5
    assert WHOLE.decode(ids) == text


def test_many_threads() -> None:
    lines = [f"the Film {n} of GOOD film’{n % 7}" for n in range(400)]
    fresh = PIECES.with_words(WORDS)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fresh.encode, lines)) == [WHOLE.encode(line) for line in lines]


def test_the_first_of_two_words_alike_counts_for_nobody_else() -> None:
    words = Whole(["film", "good"], 10)
    assert (words.id("good"), words.id(" GOOD"), words.id("bad")) == (16, 21, None)
    assert words.text(21) == " GOOD"


def test_the_cache_tells_words_apart(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST", 0)
    monkeypatch.setenv("CARRYLINE_CACHE", str(tmp_path))
    lines = ["the film", "a night"]
    for tokenizer in (PIECES, WHOLE, PIECES.with_words(["night"]), WHOLE):
        found = cache.ids(tokenizer, lines)
        assert [row.tolist() for row in found] == [tokenizer.encode(line) for line in lines]
    for _ in range(2):
        assert cache.frequent_words(["b b a", "a B c"], 2) == ["b", "a"]
    assert cache.frequent_words([""], 2) == []
