"""Adam with decoupled weight decay, clipping and a running average of the weights.

Kingma & Ba 2015, Loshchilov & Hutter 2019; the constants are everybody's. At step t, with the
gradient g (scaled down so that all gradients together have at most the norm `clip`):

    m = 0.9 m + 0.1 g            v = 0.999 v + 0.001 g^2
    w = (1 - rate decay) w - rate m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) + 1e-8)
    a = s a + (1 - s) w          s = min(average, (1 + t) / (10 + t))

Embedding matrices are large, and a batch reads few of their rows. Without a gradient m and v
still shrink, and w still moves along m. For the rows that a batch does not read these steps are
postponed until they are read again (`csrc/adam.h`), which gives the same bits (with the same factor
of clipping: the norm of a few rows is added up in other pieces than that of a matrix with zeros).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels
from carryline.recurrence.memory import empty
from carryline.training.stages import Gradients, Rows

Array = NDArray[Any]
BETAS, EPSILON = (0.9, 0.999), 1e-8
RULE = np.array([*BETAS, EPSILON])
MOST_POSTPONED = 4096  # steps; then all rows are brought up to date


class Adam:
    """weights: arrays by name, float32 or float64, which are changed in place.

    rows: the names of matrices whose gradients are `Rows`. average: the share that is kept of the
    old average, 0 for none. `first` and `second` hold the moments, `averages` the averages.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        *,
        weight_decay: float = 0.0,
        clip: float = 0.0,
        average: float = 0.0,
        rows: Collection[str] = (),
        threads: int = 1,
    ) -> None:
        self.weights, self.threads, self.steps = dict(weights), threads, 0
        self.weight_decay, self.clip, self.average = weight_decay, clip, average
        self.first = {name: np.zeros_like(value) for name, value in weights.items()}
        self.second = {name: np.zeros_like(value) for name, value in weights.items()}
        self.averages = {n: w.copy() for n, w in weights.items()} if average else {}
        self._done = {name: np.zeros(len(weights[name]), np.int32) for name in rows}
        dtype = next(iter(weights.values())).dtype
        self._table = np.empty((MOST_POSTPONED, 4), dtype)  # steps since all rows were up to date
        self._since = 0

    def readable(self) -> dict[str, Any]:
        """The weights to compute with: of those by rows `weight[ids]` gives rows up to date."""
        return self.weights | {name: Table(self, name) for name in self._done}

    def step(self, gradients: Gradients, rate: float) -> None:
        """A step along the gradients; weights without one stay as they are, but rows without one
        have a gradient of zeros."""
        arrays = [d.values if isinstance(d, Rows) else d for d in gradients.values()]
        scale = 1.0
        if self.clip:
            norm = _kernels.squares(arrays, self.threads) ** 0.5
            scale = min(1.0, self.clip / (norm + 1e-6))  # as torch clips
        if self._since == MOST_POSTPONED:
            self.settle()
        self.steps += 1
        self._table[self._since] = self._numbers(rate)
        self._since += 1
        whole = {name: d for name, d in gradients.items() if name not in self._done}
        weights, first, second = (
            [of[name] for name in whole] for of in (self.weights, self.first, self.second)
        )
        averages = [self.averages[name] for name in whole] if self.average else None
        _kernels.adam(
            weights, first, second, averages, list(whole.values()), scale,
            self._table[self._since - 1 : self._since], RULE, self.threads,
        )  # fmt: skip
        for name in self._done.keys() & gradients.keys():
            d = gradients[name]
            ids, values = d if isinstance(d, Rows) else (None, d)
            self._rows(name, ids, values, scale)

    def state(self) -> dict[str, dict[str, Array]]:
        """All that a step changes, but for the number of `steps`: arrays to be kept or filled."""
        self.settle()
        found = {"weights": self.weights, "first": self.first, "second": self.second}
        return found | ({"average": self.averages} if self.average else {})

    def settle(self) -> None:
        """Makes all steps that were postponed; until then `weights` are not what they shall be."""
        for name, done in self._done.items():
            self._rows(name)
            done[:] = 0
        self._since = 0

    def take(self, name: str, ids: NDArray[np.int64]) -> Array:
        """Rows `ids` (rising, none twice) of a matrix, up to date."""
        matrix = self.weights[name]
        taken = empty((len(ids), matrix.shape[1]), matrix.dtype)
        self._rows(name, ids, taken=taken)
        return taken

    def _rows(
        self,
        name: str,
        ids: NDArray[np.int64] | None = None,
        gradient: Array | None = None,
        scale: float = 1.0,
        taken: Array | None = None,
    ) -> None:
        _kernels.adam_rows(
            self.weights[name], self.first[name], self.second[name], self.averages.get(name),
            ids, gradient, scale, self._done[name], self._since, self._table, RULE,
            not (self.weight_decay or self.average), taken, self.threads,
        )  # fmt: skip

    def _numbers(self, rate: float) -> tuple[float, float, float, float]:
        """Of this step, as `AdamStep` in csrc/kernels.h has them."""
        t = self.steps
        root = (1 - BETAS[1] ** t) ** -0.5
        share = min(self.average, (1 + t) / (10 + t))
        return rate / (1 - BETAS[0] ** t), root, 1 - rate * self.weight_decay, share


class Table:
    """A matrix of an optimiser that is read by rows: `table[ids]`."""

    def __init__(self, optimizer: Adam, name: str) -> None:
        self._optimizer, self._name = optimizer, name

    def __len__(self) -> int:
        return len(self._optimizer.weights[self._name])

    def __getitem__(self, ids: NDArray[np.int64]) -> Array:
        return self._optimizer.take(self._name, ids)
