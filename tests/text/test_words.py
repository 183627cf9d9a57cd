"""Words: the library's own ids, whatever was encoded before and in however many threads."""

from __future__ import annotations

import random
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from carryline.text import words
from carryline.text.tokens import Tokenizer

# Blanks of both kinds, what Python alone takes for one (\x1c), letters, digits, signs.
MIXED = (
    "ab1'st .<\u0301é漢🎬" + " \t\n\r\v\f\x85\xa0\u2003\u2028\u3000" + "\x1c\x1f\u180e\u200b\ufeff"
)

# Words of all kinds, so that merges cross whatever the rule leaves together.
CORPUS = ["".join(random.Random(n).choices(MIXED, k=40)) for n in range(300)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CORPUS, 1500)


def of_the_library(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    encodings = tokenizer._tokenizer.encode_batch([words.encodable(text) for text in texts])
    return [each.ids for each in encodings]


def ours(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [row.tolist() for row in tokenizer.encode_batch(texts)]


@given(st.lists(st.text(st.sampled_from(MIXED), max_size=30)))
@example(["it's", "'s", " 's", "a's b'S", "a  b", "a \n b\n", "\xa0  a", "a \xa0b", "a \x1c b"])
@example([])
def test_ids_are_those_of_the_library(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert ours(tokenizer, texts) == of_the_library(tokenizer, texts)


def test_every_blank_and_every_control_character(tokenizer: Tokenizer) -> None:
    odd = [
        c
        for c in map(chr, range(sys.maxunicode + 1))
        if c.isspace() or unicodedata.category(c) in ("Zs", "Zl", "Zp", "Cc", "Cf") or c < "\x80"
    ]
    assert len(odd) > 300
    texts = [f"a{c}b {c}c  {c} {c}  d{c}'s1{c}2 .{c}. \n{c}\n {c}{c} é{c}  é" for c in odd]
    assert ours(tokenizer, texts) == of_the_library(tokenizer, texts)


@pytest.mark.parametrize("few", [0, 10**6])
def test_few_words_and_many(
    tokenizer: Tokenizer, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_FEW", few)
    texts = [f"{few} words, number {n}" for n in range(50)]
    assert ours(tokenizer, texts) == of_the_library(tokenizer, texts)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.train(CORPUS, 1500)
    monkeypatch.setattr(words, "_MOST_KEPT", 1000)
    texts = [f"{n:099}" for n in range(100)]
    for text in texts:
        assert ours(tokenizer, [text]) == of_the_library(tokenizer, [text])
        assert len(tokenizer._words._known) <= 1000 // 99 + 1


def test_another_thread_may_forget_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.train(CORPUS, 1500)
    known, new, others = "b a", "b' c", ["1" * 50, "a 1"]
    expected = of_the_library(tokenizer, [known, new, *others])
    library, cache = tokenizer._tokenizer, tokenizer._words

    class Interrupted:
        """Stands where the library drops the GIL: others encode, and forget, in between."""

        encode_batch_fast = None

        def encode(self, word: str) -> tokenizers.Encoding:
            cache._tokenizer = library
            assert ours(tokenizer, others) + ours(tokenizer, others) == 2 * expected[2:]
            return library.encode(word)

    assert ours(tokenizer, [known]) == expected[:1]
    monkeypatch.setattr(words, "_MOST_KEPT", 20)
    cache._tokenizer = Interrupted()  # type: ignore[assignment]
    assert ours(tokenizer, [known + new]) == of_the_library(tokenizer, [known + new])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: ours(tokenizer, [text]), CORPUS)) == [
            [row] for row in of_the_library(tokenizer, CORPUS)
        ]
