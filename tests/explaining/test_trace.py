"""What is drawn is what the network computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.errors import DataError
from carryline.explaining import trace as module
from carryline.explaining.trace import traced
from carryline.explaining.trace_picture import EQUATIONS, NAMES, plot_trace
from carryline.recurrence.cells import CELLS
from commands import PNG
from conftest import Maker

TEXT = "the old film, and the music of the night"


@pytest.mark.parametrize("cell", list(CELLS))
def test_the_last_states_are_those_that_the_network_pools(make: Maker, cell: str) -> None:
    """Both directions of both layers, by the reference and by the kernels."""
    classifier = make(2, cell=cell, hidden=[8, 4], pooling="last")
    forward, backward = (
        traced(classifier.network, classifier.tokenizer, TEXT, 2, direction)
        for direction in ("forward", "backward")
    )
    pooled = np.concatenate([forward.states[-1], backward.states[0]])
    weights = classifier.network.weights
    logits = weights["head.weight"] @ pooled + weights["head.bias"]
    ragged = classifier.tokenizer.encode_batch([TEXT])
    np.testing.assert_allclose(logits, classifier.network.logits(ragged)[0], rtol=1e-4)
    assert "".join(forward.pieces) == TEXT
    assert (forward.carry is not None) == CELLS[cell].carry
    drawn = {*EQUATIONS[cell]} - {"c", "h"}
    assert drawn == {*forward.gates} - {"rnn": {"n"}, "carry": {"o"}}.get(cell, set())
    assert drawn <= {*NAMES}


def test_gates_and_carry_are_of_the_equations(make: Maker) -> None:
    classifier = make(2, cell="lstm")
    found = traced(classifier.network, classifier.tokenizer, TEXT)
    before = np.concatenate([np.zeros_like(found.states[:1]), found.carry[:-1]])  # type: ignore[index]
    carry = found.gates["f"] * before + found.gates["i"] * found.gates["g"]
    assert (found.carry == carry).all()
    assert (found.states == found.gates["o"] * np.tanh(carry)).all()


def test_the_units_that_vary_most_in_the_order_of_their_peaks(make: Maker) -> None:
    classifier = make(2, cell="gru")
    found = traced(classifier.network, classifier.tokenizer, TEXT)
    chosen = found.liveliest(3)
    spread = found.states.std(axis=0)
    assert {*chosen} == {*np.argsort(-spread)[:3]}
    peaks = np.abs(found.states[:, chosen]).argmax(axis=0).tolist()
    assert peaks == sorted(peaks)
    assert len(found.liveliest(99)) == 8


@pytest.mark.parametrize(
    ("cell", "text"), [*((cell, "x") for cell in CELLS), ("lstm", "a $ 東\n\x00")]
)
def test_pictures(make: Maker, cell: str, text: str, tmp_path: Path) -> None:
    classifier = make(2, cell=cell)
    plot_trace(traced(classifier.network, classifier.tokenizer, text), tmp_path / "trace.png", 4)
    assert (tmp_path / "trace.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("text", ["", TEXT * 20])
def test_what_cannot_be_drawn_is_said(make: Maker, text: str, tmp_path: Path) -> None:
    classifier = make(2)
    with pytest.raises(DataError, match="a text that is drawn has 1 to 150 tokens, it has"):
        plot_trace(traced(classifier.network, classifier.tokenizer, text), tmp_path / "x.png", 4)


@pytest.mark.parametrize(
    ("settings", "how", "message"),
    [
        ({}, {"layer": 2}, "1 <= layer <= 1 of this model, it is 2"),
        ({}, {"layer": 0}, "1 <= layer <= 1"),
        ({}, {"direction": "up"}, "direction must be one of forward, backward, it is 'up'"),
        (
            {"bidirectional": False},
            {"direction": "backward"},
            "direction must be one of forward, it",
        ),
    ],
)
def test_what_there_is_not(
    make: Maker, settings: dict[str, Any], how: dict[str, Any], message: str
) -> None:
    classifier = make(2, **settings)
    with pytest.raises(DataError, match=message):
        traced(classifier.network, classifier.tokenizer, TEXT, **how)


def test_long_texts_are_refused(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = make(2)
    monkeypatch.setattr(module, "MOST_TOKENS", 5)
    with pytest.raises(DataError, match="a text to look into has at most 5 tokens, it has"):
        traced(classifier.network, classifier.tokenizer, TEXT)
