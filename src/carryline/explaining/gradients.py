"""Each token's part in the recurrent part's logits, by integrated gradients.

    part_t = x_t · ∫ dz(a x)/dx_t da, a from 0 to 1

(Sundararajan, Taly & Yan 2017, equation 1; the baseline is the text whose embeddings are zeros.)
The parts add up to z(x) - z(0). The integral is Gauss and Legendre's sum over `POINTS` points; all
of them are one batch, forward and back through the stages that training has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model.network import PAD, Network
from carryline.model.network import layer as weights_of
from carryline.recurrence import memory
from carryline.recurrence.ragged import Plan
from carryline.training import model
from carryline.training.stages import Back, Gradients, Packed, States, Way

Array = NDArray[Any]
# As good as 12: of 40 reviews of 300 words the parts add up to 0.51 of a logit at the worst (with
# 8 0.69, 10 1.40, 12 0.47), in the mean to 0.12 (0.14, 0.13, 0.07), and one is off by 0.09 (0.16,
# 0.27, 0.10). What is left is the bends of the largest states. Three tiles of rows by AVX2.
POINTS = 9
TOKENS_AT_ONCE = 1 << 15  # whose gates and states are kept for the way back


def parts(
    network: Network, ids: NDArray[np.int32], direction: Array, threads: int, points: int = POINTS
) -> Array:
    """[tokens] float64: each token's part in direction · logits. ids: rows of the embedding.

    Of a masked network a pad has none, for it is passed over.
    """
    found = np.zeros(len(ids))
    read = ids != PAD if network.config.mask else np.ones(len(ids), bool)
    x = network.weights[model.EMBEDDING][ids[read]]
    if not len(x):
        return found
    places, shares = np.polynomial.legendre.leggauss(points)
    at_once = max(1, TOKENS_AT_ONCE // len(x))
    for begin in range(0, points, at_once):
        some = slice(begin, begin + at_once)
        scales = np.float32((places[some] + 1) / 2)
        d = np.float32(shares[some, None] / 2 * direction)
        with memory.passing():  # 14 MB for a review of 350 tokens, again and again
            found[read] += _along(network, x, scales, d, threads)
    return found


def _along(network: Network, x: Array, scales: Array, d: Array, threads: int) -> Array:
    """[tokens]: x · dz(a x)/dx summed over the scales a, of logits z each time in a direction d.

    x is read through W x alone, made once: W (a x) is a (W x), and x · dz/dx is W x · dz/d(W x).
    That leaves the products with U. The texts are equally long, so a token's places in all of them
    lie side by side.
    """
    texts, tokens = len(scales), len(x)
    layer = network.layers[0]
    bias = layer.project(np.zeros_like(x[:1]), threads)
    own = layer.project(x, threads) - bias
    along = memory.empty((len(own), tokens, texts, own.shape[-1]), np.float32)
    np.multiply(scales[:, None], own[:, :, None], out=along)
    along += bias[:, None]
    plan = Plan(np.arange(texts + 1, dtype=np.int64) * tokens)
    way = Way()
    states = way(_first(network, plan, along.reshape(len(own), plan.tokens, -1), tokens, threads))
    model.above(network.config, _packed(network), network.weights, states, plan, way, threads)
    by_own, _ = way.back(d)
    found: Array = np.einsum("dtg,dtg->t", by_own, own, dtype=np.float64)
    return found


def _packed(network: Network) -> list[Packed]:
    """Its layers as a way back reads them: with what the names of their weights end with."""
    return [
        Packed(own, list(weights_of(network.config, network.weights, number)))
        for number, own in enumerate(network.layers)
    ]


def _first(
    network: Network, plan: Plan, projected: Array, tokens: int, threads: int
) -> tuple[States, Back]:
    """The first layer from its W x + b on, as a stage: its gradient is summed over the texts."""
    layer, pool = network.layers[0], model.pooled(network.config, 0)
    zeros = np.zeros((len(projected), plan.texts, layer.hidden), np.float32)
    trace = layer.forward(
        plan, projected, None, zeros, zeros, states=True, save=True, threads=threads, pool=pool
    )

    def back(d: States) -> tuple[Array, Gradients]:
        token = np.repeat(np.arange(tokens, dtype=np.int32), plan.texts)
        found = layer.walk_back(
            plan, trace, tokens, token, d.all, zeros if d.last is None else d.last, zeros,
            d_largest=d.largest, d_mean=d.mean, by_first=False, by_weights=False, threads=threads,
        )  # fmt: skip
        return found.projected, {}

    return States(trace.states, trace.h, None, trace.largest, trace.mean), back
