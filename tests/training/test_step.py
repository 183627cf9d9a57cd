"""A step's gradients: of the loss, and with `adversarial` the mean with those of worse texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carryline.model import network
from carryline.model.config import Config
from carryline.recurrence.ragged import Ragged
from carryline.training import losses, model, stages
from carryline.training.draws import DROPOUT, generator
from carryline.training.stages import Rows, Way
from carryline.training.step import step
from runs import config_of

PLACE = (2, 5)
TEXTS = Ragged.from_lists([[3, 1, 4], [], [1, 5, 6, 6, 2], [7]])
TARGETS = np.array([0, 1, 1, 0])
IDS = np.unique(TEXTS.values)


def weights_of(config: Config) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    shapes = network.parameter_shapes(config, 9, 1)
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def of_batch(config: Config, weights: Any, shift: Any = None) -> tuple[float, Any, Any]:
    """The loss, its gradient by the rows that are read, and by the weights; texts by rank."""
    way, rng = Way(), generator(config.seed, DROPOUT, *PLACE) if config.dropout else None
    logits = model.logits(config, weights, TEXTS, way, 1, rng, shift)
    loss = way(losses.loss(logits, TARGETS[TEXTS.plan.order], None))
    by_rows, gradients = way.back(1.0)
    return loss, by_rows, gradients


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("size", [0.0, 0.3])
def test_the_gradients_of_a_step(size: float, dropout: float) -> None:
    config = config_of(adversarial=size, dropout=dropout, pooling="concat")
    weights = weights_of(config)
    found = step(config, weights, TEXTS, TARGETS, None, PLACE, 1)
    loss, by_rows, gradients = of_batch(config, weights)
    assert found.loss == loss
    parts = [gradients]
    if size:
        shift = stages.worst(weights[model.EMBEDDING][IDS], by_rows, size)
        worse, _, changed = of_batch(config, weights, shift)
        assert worse > loss + 0.01
        parts.append(changed)
    assert found.gradients.keys() == weights.keys()
    for name, by in found.gradients.items():
        if isinstance(by, Rows):
            assert by.ids.tolist() == IDS.tolist()
        values = [part[name].values if isinstance(by, Rows) else part[name] for part in parts]
        own = by.values if isinstance(by, Rows) else by
        np.testing.assert_allclose(own, np.mean(values, axis=0), rtol=1e-12, atol=1e-15)


def test_shares_and_dtype_are_kept() -> None:
    config = config_of(adversarial=0.2)
    weights = {name: value.astype(np.float32) for name, value in weights_of(config).items()}
    shares = np.array([1, 0, 2, 0], np.float32)
    found = step(config, weights, TEXTS, TARGETS, shares, PLACE, 1)
    few = TEXTS.take(np.array([0, 2]))
    same = step(config, weights, few, TARGETS[[0, 2]], shares[[0, 2]], PLACE, 1)
    assert found.loss == pytest.approx(same.loss, rel=1e-6)
    for by in found.gradients.values():
        assert (by.values if isinstance(by, Rows) else by).dtype == np.float32
