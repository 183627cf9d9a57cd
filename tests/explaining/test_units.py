"""A text in its words: nothing is lost, and each has the tokens that the whole text has."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from carryline.explaining.units import Units
from carryline.text.tokens import Tokenizer
from carryline.text.vectors import words_of
from carryline.text.words import encodable

TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from(" \n\t.!?'aé東\ud800\udc00")), max_size=40
)
TOKENIZERS = [
    Tokenizer.train(["the film was good, the night was not"] * 3, 290),
    Tokenizer.train(["the film was good"], 270).with_words(["film", "café", "don", "'t"]),
]


@given(TEXTS)
@example("")
@example("  two  blanks\n\nand lines \n ")
@example("don’t, can't; \ud83d\ude00 \ud800 東京!!")
def test_words_are_the_whole_text_and_have_its_tokens(text: str) -> None:
    for tokenizer in TOKENIZERS:
        units = Units.of(text, tokenizer)
        assert "".join(units.words) == units.text == encodable(text)
        assert units.tokens.values.tolist() == tokenizer.encode(text)
        assert len(units.tokens) == len(units)
        said = [word.removeprefix(" ").lower() for word in units.words if not word.isspace()]
        assert said == words_of(text)


@given(TEXTS)
def test_sentences_have_every_word_once(text: str) -> None:
    units = Units.of(text, TOKENIZERS[0])
    groups = units.sentences()
    assert [number for group in groups for number in group] == list(range(len(units)))
    assert all(len(group) for group in groups)


def test_where_sentences_end() -> None:
    units = Units.of('Good. "Bad!" he said? Yes... no\nA line. 3.5 stars。終', TOKENIZERS[0])
    found = ["".join(units.words[i] for i in group).strip() for group in units.sentences()]
    assert found == ["Good.", '"Bad!"', "he said?", "Yes...", "no", "A line.", "3.5 stars。", "終"]
