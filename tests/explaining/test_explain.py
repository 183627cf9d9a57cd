"""Explanations of whole models."""

from __future__ import annotations

import json
import math

import pytest

from carryline import TextClassifier
from carryline.errors import DataError
from carryline.explaining.page import marked, page
from conftest import Corpus, Maker

SENTENCE = "the old film, good music of the night"


@pytest.fixture(scope="module")
def two_parts(corpus: Corpus) -> TextClassifier:
    """With a linear part, and whole words."""
    settings = {"vocabulary": 300, "hidden": 8, "linear": 500, "epochs": 3}
    return TextClassifier("auto", vectors="none", **settings).fit(*corpus, baseline=False)


@pytest.mark.parametrize("way", ["gradients", "occlusion"])
@pytest.mark.parametrize("text", [SENTENCE, "", " ", "bad", "\ud800!\n\n  x "])
def test_the_score_is_the_log_odds_and_is_shared_out(
    two_parts: TextClassifier, way: str, text: str
) -> None:
    found = two_parts.explain(text, way=way)
    chances = two_parts.predict_proba([text])[0]
    assert found.probabilities == tuple(chances.tolist())
    assert found.label == two_parts.predict([text])[0]
    odds = abs(float(two_parts.trained.logits([text])[0][0, 0]))  # of the more probable label
    assert found.score == pytest.approx(odds, rel=1e-6)
    assert found.probability == pytest.approx(1 / (1 + math.exp(-odds)), rel=1e-6)
    assert sum(span.part for span in found.spans) + found.rest == pytest.approx(found.score)
    assert "".join(map(found.of, found.spans)) == found.text
    assert json.loads(json.dumps(found.to_dict()))["label"] == found.label


def test_the_word_that_gives_the_label_away_has_the_largest_part(
    two_parts: TextClassifier,
) -> None:
    for way in ("gradients", "occlusion"):
        for word in ("good", "bad"):
            found = two_parts.explain(f"the old {word} film and music", way=way)
            assert found.label == word
            assert found.of(found.strongest()[0]) == f" {word}"


def test_another_label_is_explained_on_demand(two_parts: TextClassifier) -> None:
    good, bad = (two_parts.explain(SENTENCE, label) for label in ("good", "bad"))
    assert (good.label, bad.label) == ("good", "bad")
    assert good.score == -bad.score
    for one, other in zip(good.spans, bad.spans, strict=True):
        assert one.part == pytest.approx(-other.part)
    with pytest.raises(DataError, match="the label 'ugly' is none of the model's: bad, good"):
        two_parts.explain(SENTENCE, "ugly")


def test_of_several_labels_the_score_is_above_the_others_mean(make: Maker) -> None:
    classifier = make(4)
    found = classifier.explain(SENTENCE, "class 2")
    logits = classifier.network.logits(classifier.tokenizer.encode_batch([SENTENCE]))[0]
    assert found.score == pytest.approx(logits[2] - logits[[0, 1, 3]].mean(), abs=1e-5)


def test_sentences_have_their_words_parts(two_parts: TextClassifier) -> None:
    text = "The film was good. The night was bad! Rain"
    words, sentences = (two_parts.explain(text, by=by) for by in ("words", "sentences"))
    assert [sentences.of(span) for span in sentences.spans] == [
        "The film was good.", " The night was bad!", " Rain",
    ]  # fmt: skip
    for sentence in sentences.spans:
        own = [s.part for s in words.spans if sentence.begin <= s.begin < sentence.end]
        assert sentence.part == pytest.approx(sum(own))


@pytest.mark.parametrize("mask", [True, False])
def test_after_each_word_of_a_model_that_reads_one_way(make: Maker, mask: bool) -> None:
    classifier = make(3, bidirectional=False, mask=mask)
    assert classifier.explain("").spans == ()
    found = classifier.explain(SENTENCE)
    for span in found.spans:
        alone = classifier.predict_proba([SENTENCE[: span.end]])[0]
        assert span.after == tuple(alone.tolist())
    assert found.spans[-1].after == found.probabilities
    assert all(span.after is None for span in make(3).explain(SENTENCE).spans)


def test_what_is_wrong_is_said(two_parts: TextClassifier) -> None:
    with pytest.raises(DataError, match="way must be one of gradients, occlusion, it is 'lime'"):
        two_parts.explain(SENTENCE, way="lime")
    with pytest.raises(DataError, match="by must be one of words, sentences, it is 'letters'"):
        two_parts.explain(SENTENCE, by="letters")


def test_a_page_shows_texts_and_runs_none(two_parts: TextClassifier) -> None:
    found = two_parts.explain('<script>alert("x")</script> good & <b>bad</b>')
    shown = marked(found)
    assert "<script" not in shown and "<b>" not in shown and "&lt;" in shown
    whole = page([found, two_parts.explain("")], "<what> it reads")
    assert "<script" not in whole and "&lt;what&gt; it reads" in whole
    assert "http" not in whole.replace("http-equiv", "")
    plain = two_parts.explain(SENTENCE)
    assert marked(plain).count("<span ") == len([s for s in plain.spans if plain.of(s).strip()])
