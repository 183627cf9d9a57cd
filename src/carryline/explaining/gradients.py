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
from carryline.recurrence.ragged import Ragged
from carryline.training import model
from carryline.training.stages import Way

Array = NDArray[Any]
POINTS = 12
TOKENS_AT_ONCE = 1 << 15  # a token's gates and states take 6 KB on the way back


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
        along = (scales[:, None, None] * x).reshape(-1, x.shape[1])
        by_x = _gradients(network, along, len(scales), direction, shares[some] / 2, threads)
        found[read] += np.einsum("ptw,tw->t", by_x, x, dtype=np.float64)
    return found


def _gradients(
    network: Network, along: Array, texts: int, direction: Array, shares: Array, threads: int
) -> Array:
    """[texts, tokens, width]: of texts of as many embeddings each, those of the logits in this
    direction, times each text's share."""
    tokens = len(along) // texts
    # Every place is an entry of its own of an embedding of just these rows.
    numbers = np.arange(len(along), dtype=np.int32)
    ragged = Ragged(numbers, np.arange(texts + 1, dtype=np.int64) * tokens)
    weights, way = {**network.weights, model.EMBEDDING: along}, Way()
    model.logits(network.config, weights, ragged, way, threads)
    d = np.float32(shares[ragged.plan.order][:, None] * direction)
    _, gradients = way.back(d)
    rows: Array = gradients[model.EMBEDDING].values
    return rows.reshape(texts, tokens, -1)
