"""The network under autograd: what it begins with, and what dropout draws from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from carryline.model import network
from carryline.model.config import CELLS
from carryline.recurrence.ragged import Ragged
from carryline.training.model import Model, generator, initial_weights
from runs import config_of


@pytest.mark.parametrize("cell", CELLS)
def test_first_weights_are_keras(cell: str) -> None:
    config = config_of(cell=cell, embedding=60, hidden=[40, 30], dense=50)
    weights = initial_weights(config, 500, 3, generator(config, 0))
    shapes = {name: weight.shape for name, weight in weights.items()}
    assert shapes == network.parameter_shapes(config, 500, 3)
    for name, weight in weights.items():
        assert weight.dtype == np.float32
        if name == "embedding.weight":
            assert 0.0499 < abs(weight).max() <= 0.05
        elif weight.ndim == 1:
            forget = np.zeros(len(weight))
            if cell in ("lstm", "carry") and name.startswith("recurrence"):
                forget.reshape(4, -1)[1] = 1
            assert (weight == forget).all()
        elif "_hh_" in name or "_ch_" in name:
            square = weight.T.astype(np.float64) @ weight
            np.testing.assert_allclose(square, np.eye(len(square)), rtol=0, atol=1e-6)
        else:
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.95 * bound < abs(weight).max() <= bound
            assert abs(weight.mean()) < 4 * bound / (3 * weight.size) ** 0.5


def test_nothing_is_drawn_from_generators_of_the_process() -> None:
    config = config_of(dropout=0.5, hidden=[8, 6])
    ragged = Ragged.from_lists([[1, 2, 3], [4, 5]])

    def logits(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()
        out: torch.Tensor = Model(config, 20, 2, threads=1)(ragged)
        assert torch.equal(before[0], torch.get_rng_state())
        assert str(before[1]) == str(np.random.get_state())
        return out

    assert torch.equal(logits(1), logits(2))


def test_dropout_keeps_its_share_and_the_mean() -> None:
    model = Model(config_of(dropout=0.3), 20, 2, threads=1)
    dropped = model._dropout(torch.ones(400, 500))
    assert set(dropped.flatten().tolist()) == {0.0, float(np.float32(1 / 0.7))}
    assert abs(dropped.mean().item() - 1) < 0.01
    assert not torch.equal(dropped, model._dropout(torch.ones(400, 500)))
    assert torch.equal(model.eval()._dropout(torch.ones(4, 5)), torch.ones(4, 5))
