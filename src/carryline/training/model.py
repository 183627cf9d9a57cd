"""The network with its gradients: the stages of `network.Network`, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.model.config import Config
from carryline.recurrence import cells, kernels
from carryline.recurrence.ragged import Plan, Ragged
from carryline.training import stages
from carryline.training.stages import Packed, States, Way

Array = NDArray[Any]
EMBEDDING = "embedding.weight"


def logits(
    config: Config,
    weights: Mapping[str, Any],
    ragged: Ragged,
    way: Way,
    threads: int,
    rng: np.random.Generator | None = None,
    shift: Array | None = None,
    layers: Sequence[Packed] | None = None,
) -> Array:
    """[texts, outputs] by rank (see `Ragged.plan`); all stages are passed on the way.

    weights: named and shaped as in `network.parameter_shapes`, float32 or float64; the embedding
    is read as `weight[ids]`. rng: what dropout draws from; None for no dropout. shift: what is
    added to the embeddings of the batch's different ids, rising. layers: `packed` of the same
    weights, if they are at hand.
    """
    plan, layers = ragged.plan, layers or packed(config, weights, threads)

    def dropout(x: Array) -> Array:
        dropped: Array = way(stages.dropout(x, config.dropout, rng, threads))
        return dropped

    ids, row = kernels.distinct(ragged.values, plan, len(weights[EMBEDDING]))
    # Embeddings are dropped by distinct token, so that all its places in the batch agree (Gal &
    # Ghahramani 2016) and each is still projected once.
    x = dropout(way(stages.embedding(weights[EMBEDDING], ids, shift), "embedding"))
    pool = pooled(config, 0)
    states = way(stages.recurrence(layers[0], plan, x, row, threads, pool), "recurrence")
    return above(config, layers, weights, states, plan, way, threads, dropout)


def packed(config: Config, weights: Mapping[str, Any], threads: int) -> list[Packed]:
    """The recurrent layers' weights for the kernels."""
    cell = cells.CELLS[config.cell]
    return [
        stages.packed(cell, network.layer(config, weights, number), config.precision, threads)
        for number in range(len(config.hidden))
    ]


def above(
    config: Config,
    layers: Sequence[Packed],
    weights: Mapping[str, Any],
    states: States,
    plan: Plan,
    way: Way,
    threads: int,
    dropout: Callable[[Array], Array] = lambda x: x,
) -> Array:
    """The logits by the first layer's states: what comes after it."""
    for number in range(1, len(config.hidden)):
        x = dropout(way(stages.every(states)))
        pool = pooled(config, number)
        states = way(stages.recurrence(layers[number], plan, x, None, threads, pool), "recurrence")
    x = dropout(way(stages.pooling(states, config.pooling)))
    if config.dense:
        x = way(stages.dense(x, network.part(weights, "dense"), threads), "dense")
        x = dropout(way(stages.relu(x)))
    made: Array = way(stages.dense(x, network.part(weights, "head"), threads), "head")
    return made


def pooled(config: Config, number: int) -> tuple[str, ...]:
    """What is pooled of a layer's states as they come: of the last one's alone."""
    return network.POOLED[config.pooling] if number == len(config.hidden) - 1 else ()


def initial_weights(
    config: Config, vocabulary: int, outputs: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """As Keras begins: embeddings within 0.05, Glorot uniform, orthogonal recurrent weights, no
    bias but a forget gate's 1. Names and shapes of `network.parameter_shapes`."""
    carry = cells.CELLS[config.cell].carry
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in network.parameter_shapes(config, vocabulary, outputs).items():
        if name == EMBEDDING:
            weight = rng.uniform(-0.05, 0.05, shape)
        elif len(shape) == 1:
            weight = np.zeros(shape)
            if carry and name.startswith("recurrence"):
                weight[shape[0] // 4 : shape[0] // 2] = 1
        elif name.startswith("recurrence") and "_ih_" not in name:
            q, r = np.linalg.qr(rng.standard_normal(shape))
            weight = q * np.sign(np.diag(r))  # or the signs would depend on the algorithm
        else:
            bound = (6 / sum(shape)) ** 0.5
            weight = rng.uniform(-bound, bound, shape)
        weights[name] = weight.astype(np.float32)
    return weights
