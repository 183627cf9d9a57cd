from __future__ import annotations

import torch

from carryline.nn import biases
from carryline.recurrence import cells


def test_two_biases_become_one() -> None:
    theirs = {name: torch.randn(8) for name in ("m.bias_ih_l0", "m.bias_hh_l0", "n.bias_hh_l0")}
    ours = biases.from_torch(cells.LSTM, theirs, "m.")
    assert ours.keys() == {"m.bias_ih_l0", "n.bias_hh_l0"}
    assert torch.equal(ours["m.bias_ih_l0"], theirs["m.bias_ih_l0"] + theirs["m.bias_hh_l0"])
    assert len(theirs) == 3  # what was given stays as it is


def test_the_candidate_of_gru_keeps_both() -> None:
    first, second = torch.randn(6), torch.randn(6)
    ours = biases.from_torch(cells.GRU, {"bias_ih_l1_reverse": first, "bias_hh_l1_reverse": second})
    assert torch.equal(ours["bias_ih_l1_reverse"][:4], (first + second)[:4])
    assert torch.equal(ours["bias_ih_l1_reverse"][4:], first[4:])
    assert torch.equal(ours["bias_hh_l1_reverse"], second[4:])


def test_our_own_form_stays() -> None:
    gru = {"bias_ih_l0": torch.randn(6), "bias_hh_l0": torch.randn(2)}
    for cell, weights in ((cells.GRU, gru), (cells.LSTM, {"bias_ih_l0": torch.randn(8)})):
        assert biases.from_torch(cell, weights) == weights


def test_there_and_back() -> None:
    bias, candidate = torch.randn(6), torch.randn(2)
    for own in (None, candidate):
        first, second = biases.to_torch(bias, own)
        assert first.shape == second.shape
        cell = cells.LSTM if own is None else cells.GRU
        again = biases.from_torch(cell, {"bias_ih_l0": first, "bias_hh_l0": second})
        assert torch.equal(again["bias_ih_l0"], bias)
        assert own is None or torch.equal(again["bias_hh_l0"], own)
