"""N-grams of texts: keys against a plain form of the same hash, weights against scikit-learn."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from carryline.recurrence import _kernels
from carryline.recurrence.sparse import Sparse
from carryline.text import ngrams
from carryline.text.ngrams import Features, Ngrams
from carryline.text.vectors import words_of

BITS = (1 << 64) - 1
TEXTS = [
    "The film is good.",
    "the film, THE FILM!",
    "a naïve 日本語 film",
    "",
    "of no  use\n",
    "😀😀!",
]
LETTERS = st.text(st.sampled_from("abB'sé½²日 \t\n\u3000.😀\ud800"), max_size=30)


# --- the same in plain Python


def mixed(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & BITS
    x = (x ^ x >> 27) * 0x94D049BB133111EB & BITS
    return x ^ x >> 31


def key_of(text: str, seed: int) -> int:
    raw = text.encode()
    key = seed + len(raw) & BITS
    for byte in raw:
        key = (key ^ byte) * 0x100000001B3 & BITS
    return mixed(key)


def pair_of(one: int, other: int) -> int:
    return mixed((one * 3 + mixed(other) + 1) & BITS)


def word_features(text: str) -> list[int]:
    words = [key_of(word, 0x9E3779B97F4A7C15) for word in words_of(text)]
    pairs = zip([0, *words], [*words, 0], strict=True) if words else []
    return words + [pair_of(one, other) for one, other in pairs]


def character_features(text: str) -> list[int]:
    found = []
    for word in words_of(text):
        padded = f" {word} "
        found += [
            key_of(padded[i : i + n], 0xD1B54A32D192ED03)
            for n in range(2, 6)
            for i in range(len(padded) - n + 1)
        ]
    return found


def row(sparse: Sparse, number: int) -> dict[int, float]:
    part = slice(sparse.offsets[number], sparse.offsets[number + 1])
    ids = sparse.ids[part].tolist()
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, sparse.values[part].tolist(), strict=True))


def expected(features: Features, found: Sequence[int]) -> dict[int, float]:
    number = {int(key): i for i, key in enumerate(features.keys)}
    counts = Counter(number[key] for key in found if key in number)
    weights = {i: (1 + math.log(n)) * float(features.idf[i]) for i, n in counts.items()}
    size = math.sqrt(sum(w * w for w in weights.values()))
    return {i: w / size for i, w in weights.items()}


def check(learned: Ngrams, texts: Sequence[str], threads: int = 1) -> None:
    words, characters = learned(texts, threads)
    for place, text in enumerate(texts):
        for sparse, features, found in (
            (words, learned.words, word_features(text)),
            (characters, learned.characters, character_features(text)),
        ):
            assert row(sparse, place) == pytest.approx(expected(features, found), rel=1e-5)


def same(one: tuple[Sparse, Sparse], other: tuple[Sparse, Sparse]) -> bool:
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for a, b in zip(one, other, strict=True)
        for name in ("values", "ids", "offsets")
    )


def test_by_hand() -> None:
    check(Ngrams.learn(TEXTS, 1000), [*TEXTS, "unknown wörter of a film film film", "\ud800x"])


@given(st.lists(LETTERS, max_size=6), st.lists(LETTERS, max_size=4), st.integers(0, 20))
def test_any_texts(learned_from: list[str], texts: list[str], most: int) -> None:
    learned = Ngrams.learn(learned_from, most)
    assert max(len(learned.words.keys), len(learned.characters.keys)) <= most
    check(learned, texts + learned_from, 2)


def test_all_features_and_how_rare_they_are() -> None:
    learned = Ngrams.learn(TEXTS, 1000)
    for features, of in (
        (learned.words, word_features), (learned.characters, character_features)
    ):  # fmt: skip
        counts = Counter(key for text in TEXTS for key in set(of(text)))
        assert features.keys.tolist() == sorted(counts)
        idf = [1 + math.log((1 + len(TEXTS)) / (1 + counts[int(key)])) for key in features.keys]
        np.testing.assert_allclose(features.idf, idf, rtol=1e-6)


def test_weights_are_those_of_scikit_learn() -> None:
    """Of words and pairs it has none at a text's ends; so a word stands there that is its own."""
    texts = ["the film is good", "the film film was bad", "good good good", "a bad the film"]
    peer = TfidfVectorizer(analyzer=lambda text: _peer_features(text.split()), sublinear_tf=True)
    by_peer = np.sort(peer.fit_transform(texts).toarray(), axis=1)
    words, _ = Ngrams.learn(texts, 1000)(texts, 1)
    for place, wanted in enumerate(by_peer):
        found = sorted(row(words, place).values())
        np.testing.assert_allclose(found, wanted[len(wanted) - len(found) :], rtol=1e-5)


def _peer_features(words: list[str]) -> list[str]:
    return words + [f"{a} {b}" for a, b in zip(["^", *words], [*words, "^"], strict=True)]


def test_character_weights_are_those_of_scikit_learn() -> None:
    texts = ["film films filming", "a good film", "naïve naïveté", "日本語 films"]
    peer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    by_peer = peer.fit_transform(texts).toarray()
    _, characters = Ngrams.learn(texts, 10_000)(texts, 1)
    for place, wanted in enumerate(by_peer):
        np.testing.assert_allclose(
            sorted(row(characters, place).values()), np.sort(wanted[wanted > 0]), rtol=1e-5
        )


def test_the_most_frequent_are_kept_and_of_equals_the_lowest_keys() -> None:
    texts = ["a b", "a c", "a d"]  # `a` in three texts, beside it at the beginning, too
    counts = Counter(key for text in texts for key in set(word_features(text)))
    ranked = sorted(counts, key=lambda key: (-counts[key], key))
    for most in (0, 1, 2, 3, 5):
        assert Ngrams.learn(texts, most).words.keys.tolist() == sorted(ranked[:most])


def test_learning_in_chunks_is_learning_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{TEXTS[i % 6]} {i % 17}" for i in range(50)]
    at_once = Ngrams.learn(texts, 60)
    monkeypatch.setattr(ngrams, "_TEXTS_AT_ONCE", 7)
    in_chunks = Ngrams.learn(texts, 60)
    for one, other in (
        (at_once.words, in_chunks.words), (at_once.characters, in_chunks.characters)
    ):  # fmt: skip
        assert one.keys.tolist() == other.keys.tolist()
        assert one.idf.tolist() == other.idf.tolist()


def test_learning_forgets_no_piece_when_it_keeps_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "_MOST_KEPT", 3)
    learned = Ngrams.learn(TEXTS, 1000)
    for text in TEXTS:
        check(learned, [text])


def test_a_text_alone_is_the_text_in_company_on_any_number_of_threads() -> None:
    draw = np.random.default_rng(0)
    texts = [
        " ".join(draw.choice(["the", "film", "of", "a", "naïve", "night"], 60)) for _ in range(400)
    ]
    learned = Ngrams.learn(texts, 500)
    together = learned(texts, 1)
    assert same(learned(texts, 3), together)
    for place in (0, 63, 64, 399):
        alone = learned([texts[place]], 1)
        assert [row(s, 0) for s in alone] == [row(s, place) for s in together]


@pytest.mark.parametrize("text", ["", " \n\t", "unknownword"])
def test_a_text_without_a_known_feature_has_none(text: str) -> None:
    learned = Ngrams.learn(["zzz yyy"], 100)
    for sparse in learned([text], 1):
        assert sparse.offsets.tolist() == [0, 0]


def test_no_texts() -> None:
    learned = Ngrams.learn([], 10)
    assert [len(s) for s in learned([], 2)] == [0, 0]
    assert [s.offsets.tolist() for s in learned(["a b"], 2)] == [[0, 0], [0, 0]]


def test_a_lone_surrogate_is_a_replacement_character() -> None:
    learned = Ngrams.learn(["x\ufffd \ufffd", "y"], 100)
    assert same(learned(["x\ud800 \udfff"], 1), learned(["x\ufffd \ufffd"], 1))


@pytest.mark.parametrize("letter", ["a", "é", "日"])
def test_a_megabyte_of_one_word(letter: str) -> None:
    text = letter * (1_000_000 // len(letter.encode()))
    begin = time.perf_counter()
    learned = Ngrams.learn([text, "short"], 100)
    words, characters = learned([text], 2)
    # A tenth of a second, five under sanitizers; with the square of the letters it would be hours.
    assert time.perf_counter() - begin < 60
    assert len(row(words, 0)) == 3  # it, and it with either end
    strings = row(characters, 0)
    assert len(strings) == 12  # of 2 to 5: at the beginning, within, at the end
    assert math.isclose(sum(w * w for w in strings.values()), 1, rel_tol=1e-5)


ENDS = np.array([0, 1])
ONE = np.zeros(1, np.int32), ENDS  # one text of one piece


def test_doors_refuse() -> None:
    keys, text = np.array([5, 7], np.uint64), np.zeros(3, np.uint8)
    with pytest.raises(ValueError, match="no key may be there twice"):
        _kernels.slots(np.array([5, 7, 5], np.uint64))
    with pytest.raises(ValueError, match="slots must be those of the keys"):
        _kernels.find(keys, np.zeros(3, np.int32), keys)
    with pytest.raises(ValueError, match="slots must be those of the keys"):
        _kernels.find(keys, np.full(2, -1, np.int32), keys)
    with pytest.raises(ValueError, match="1 <= shortest <= longest"):
        _kernels.character_keys(text, np.array([0, 3]), 3, 2)
    with pytest.raises(ValueError, match="an id must be below"):
        _kernels.weigh(*ONE, np.array([2], np.int32), ENDS, np.ones(2, np.float32), 1)
    with pytest.raises(ValueError, match="every key needs its scale"):
        _kernels.weigh_pairs(
            *ONE, keys[:1], ENDS, keys, _kernels.slots(keys), np.ones(3, np.float32), 1
        )
    with pytest.raises(ValueError, match="out of range"):
        _kernels.text_counts(*ONE, np.array([2], np.int32), ENDS, 2)
    for offsets in ([1, 3], [0, 2], [0, 4], [0, 3, 2, 3], []):
        odd = np.array(offsets, np.int64)
        with pytest.raises(ValueError, match="offsets must"):
            _kernels.word_keys(text, odd)
        with pytest.raises(ValueError, match="offsets must"):
            _kernels.pair_keys(*ONE, np.zeros(3, np.uint64), odd)
        with pytest.raises(ValueError, match="offsets must"):
            _kernels.spread(*ONE, np.zeros(3, np.int32), odd)
    for number in (-1, 1):
        with pytest.raises(ValueError, match="out of range"):
            _kernels.spread(np.array([number], np.int32), ENDS, np.zeros(1, np.int32), ENDS)
