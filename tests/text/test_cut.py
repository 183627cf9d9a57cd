"""Texts as numbers of pieces: they are those of `words`, and what they have stays in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.text import cut as cuts
from carryline.text.cut import Cut, cut_of, joined, spread
from carryline.text.words import words

TEXTS = st.lists(
    st.text(st.sampled_from("abB'sé½²日 \t\n\u3000.😀\ud800"), max_size=20), max_size=8
)


def pieces_of(cut: Cut) -> list[list[str]]:
    return [
        [cut.pieces[number] for number in cut.numbers[begin:end]]
        for begin, end in zip(cut.offsets, cut.offsets[1:], strict=False)
    ]


@given(TEXTS, st.integers(1, 4))
def test_pieces(texts: list[str], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "_TEXTS_AT_ONCE", at_once)
        cut = Cut.of(texts)
    assert len(cut) == len(texts)
    assert len(set(cut.pieces)) == len(cut.pieces)
    assert cut.numbers.dtype == np.int32
    assert pieces_of(cut) == [words(text) for text in texts]
    assert cut_of(cut) is cut


@given(TEXTS, st.integers(0, 8), st.integers(0, 8))
def test_part(texts: list[str], begin: int, end: int) -> None:
    begin, end = sorted((min(begin, len(texts)), min(end, len(texts))))
    part = Cut.of(texts).part(begin, end)
    assert pieces_of(part) == [words(text) for text in texts[begin:end]]


def test_what_pieces_have() -> None:
    cut = Cut.of(["a b a", "", " b", "c"])
    assert cut.pieces == ["a", " b", " a", "c"]
    rows = [np.array(row, np.int32).tobytes() for row in ([7], [8, 9], [], [5])]
    values, offsets = spread(cut, rows)
    assert values.tolist() == [7, 8, 9, 8, 9, 5]
    assert offsets.tolist() == [0, 3, 3, 5, 6]
    values, offsets = joined(rows, np.int32)
    assert values.tolist() == [7, 8, 9, 5]
    assert offsets.tolist() == [0, 1, 3, 3, 4]
