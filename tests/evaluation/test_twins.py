"""Near-duplicates: all that are alike enough, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from carryline.evaluation.twins import Twin, twins

WORDS = [f"w{i}" for i in range(3000)]


def drawn(words: int, rng: np.random.Generator) -> list[str]:
    return list(rng.choice(WORDS, words))


def test_by_hand() -> None:
    texts = ["A film of the night, and music by rain in the dark", "other", "", "  ", "other",
             "a film of the night, and music by rain in the dark!", "Other"]  # fmt: skip
    found = twins(texts)
    assert [(one.text, one.first) for one in found] == [(4, 1), (5, 0), (6, 1)]
    assert [found[0].alike, found[2].alike] == [1, 1] and 0.8 <= found[1].alike < 1
    assert twins([]) == twins([""]) == []


def test_texts_with_a_few_words_changed_are_found_and_others_not() -> None:
    """Of 60 words three: some 0.82 to 0.85 alike by words and pairs."""
    rng = np.random.default_rng(0)
    texts, expected = [], {}
    for number in range(400):
        words = drawn(60, rng)
        texts.append(" ".join(words))
        if number % 4 == 0:
            changed = words.copy()
            changed[5:8] = drawn(3, rng)
            expected[len(texts)] = len(texts) - 1
            texts.append(" ".join(changed))
    found = {one.text: one.first for one in twins(texts)}
    assert found.items() <= expected.items()
    assert len(found) >= 0.97 * len(expected)


def test_many_copies_cost_little() -> None:
    found = twins(["the same text again and again"] * 3000)
    assert found == [Twin(i, 0, 1.0) for i in range(1, 3000)]


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_half_alike_is_not_enough(share: float) -> None:
    rng = np.random.default_rng(1)
    words = drawn(100, rng)
    other = words[: int(100 * share)] + drawn(100 - int(100 * share), rng)
    assert twins([" ".join(words), " ".join(other)]) == []
