"""The recurrent part's words: integrated gradients add up, occlusion is what a text loses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carryline.errors import DataError
from carryline.explaining import explain, gradients, occlusion
from carryline.explaining.units import Units
from carryline.model.network import PAD, Network
from carryline.recurrence.ragged import Ragged
from conftest import Maker

CELLS = [
    {"cell": "rnn", "pooling": "last", "bidirectional": False},
    {"cell": "lstm", "pooling": "concat"},
    {"cell": "lstm", "pooling": "mean", "dense": 8},
    {"cell": "gru", "pooling": "max"},
    {"cell": "gru", "pooling": "mean", "hidden": [8, 4]},
    {"cell": "carry", "pooling": "concat", "mask": False},
]


def network_of(make: Maker, classes: int, **settings: Any) -> Network:
    return make(classes, **settings).network


def logits(network: Network, ids: Any) -> Any:
    return network.logits(Ragged.from_lists([list(ids)]))[0].astype(np.float64)


@pytest.mark.parametrize("settings", CELLS)
@pytest.mark.parametrize("length", [1, 2, 17, 60])
def test_parts_add_up_to_the_change_from_embeddings_of_zeros(
    make: Maker, settings: dict[str, Any], length: int
) -> None:
    """By 400 points: what is left is the maxima's, and a dense layer's, bends (of an error like
    1 / points), and float32's."""
    network = network_of(make, 3, **settings)
    ids = np.random.default_rng(length).integers(1, 290, length).astype(np.int32)
    direction = np.array([1.0, -0.5, 0.25])
    found = gradients.parts(network, ids, direction, 1, points=400)
    embeddings = np.zeros_like(network.weights["embedding.weight"])
    empty = Network(network.config, {**network.weights, "embedding.weight": embeddings})
    change = (logits(network, ids) - logits(empty, ids)) @ direction
    assert found.sum() == pytest.approx(change, abs=2e-3)
    usual = gradients.parts(network, ids, direction, 1)
    assert usual.sum() == pytest.approx(change, abs=0.05)
    np.testing.assert_allclose(usual, found, atol=0.05)


def test_pads_have_no_part(make: Maker) -> None:
    network = network_of(make, 2, cell="lstm", pooling="mean")
    ids = np.array([5, PAD, 9, 60], np.int32)
    found = gradients.parts(network, ids, np.ones(1), 1)
    assert found[1] == 0
    without = gradients.parts(network, ids[ids != PAD], np.ones(1), 1)
    assert (found[[0, 2, 3]] == without).all()
    nothing = gradients.parts(network, np.array([PAD, PAD], np.int32), np.ones(1), 1)
    assert (nothing == 0).all()
    assert gradients.parts(network, np.array([], np.int32), np.ones(1), 1).shape == (0,)


def test_threads_and_pieces_change_no_bit(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many points are read together, as it is for long texts."""
    network = network_of(make, 2, cell="lstm", pooling="concat")
    ids = np.random.default_rng(0).integers(1, 290, 40).astype(np.int32)
    found = gradients.parts(network, ids, np.ones(1), 1)
    assert (gradients.parts(network, ids, np.ones(1), 2) == found).all()
    monkeypatch.setattr(gradients, "TOKENS_AT_ONCE", 90)
    np.testing.assert_allclose(gradients.parts(network, ids, np.ones(1), 1), found, atol=1e-6)


@pytest.mark.parametrize("settings", CELLS)
def test_occlusion_is_what_a_text_without_the_words_lacks(
    make: Maker, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = make(3, **settings)
    text = "the old film, and the music of the night"
    units = Units.of(text, classifier.tokenizer)
    groups = [range(0, 1), range(2, 5), range(0, len(units))]
    direction = np.array([1.0, -0.5, 0.25])
    monkeypatch.setattr(occlusion, "TOKENS_AT_ONCE", 30)  # some groups at a time
    found = occlusion.parts(classifier.network, units.tokens, groups, direction, 1)
    whole = logits(classifier.network, units.tokens.values)
    for group, part in zip(groups, found, strict=True):
        kept = [i for i in range(len(units)) if i not in group]
        ids = [token for i in kept for token in units.tokens[i].tolist()]
        expected = (whole - logits(classifier.network, ids)) @ direction
        assert part == pytest.approx(expected, abs=1e-6)


def test_what_costs_too_much_is_refused(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = make(2, bidirectional=False)
    monkeypatch.setattr(explain, "MOST_TOKENS", 50)
    text = "the old film and the music of the night"
    with pytest.raises(DataError, match="reads a text once for each of its spans, at most 50"):
        classifier.explain(text, way="occlusion")
    assert classifier.explain(text).spans[0].after is None
    monkeypatch.setattr(explain, "MOST_WORDS", 8)
    with pytest.raises(DataError, match="has at most 8 words, it has 9"):
        classifier.explain(text)
