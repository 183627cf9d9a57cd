"""The network that predicts: embedding, recurrence, pooling, head.

Every stage gives a text the same bits whatever texts stand beside it and however many threads run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ConfigError, DataError
from carryline.model.config import Config
from carryline.recurrence import cells, kernels, machine
from carryline.recurrence.ragged import Plan, Ragged

Array = NDArray[Any]
PAD = 0  # the id of <pad>
MOST_PADS = 100_000
TOKENS_AT_ONCE, TEXTS_AT_ONCE = 1 << 16, 1 << 14  # a chunk when predicting, at most
# Bytes of the table (17 MB for 8,185 entries and 2 x 64 units), and of all that a chunk needs:
# little beside what training takes. Hostile settings would make a table of a terabyte.
BYTES_AT_ONCE = 1 << 28
# Bytes that the states below the last of several layers may need for one text, which is not cut:
# 1.4 million tokens of `lecture-stacked`, some 6 MB of text.
MOST_BYTES = 1 << 31
# What the last layer makes of its states, while it makes them.
POOLED = {"last": (), "max": ("max",), "mean": ("mean",), "concat": ("max", "mean")}


def outputs(classes: int) -> int:
    """Outputs of the head: two classes need one, the logit of the second."""
    return 1 if classes == 2 else classes


def pooled_width(config: Config) -> int:
    """Width of the vector that stands for a text."""
    directions = 2 if config.bidirectional else 1
    return config.hidden[-1] * directions * (3 if config.pooling == "concat" else 1)


def parameter_shapes(config: Config, vocabulary: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters, in the order of the flow."""
    cell, directions = cells.CELLS[config.cell], 2 if config.bidirectional else 1
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocabulary, config.embedding)}
    recurrence = cells.layer_shapes(cell, config.embedding, config.hidden, directions)
    shapes |= {f"recurrence.{name}": shape for name, shape in recurrence.items()}
    width = pooled_width(config)
    if config.dense:
        shapes |= {"dense.weight": (config.dense, width), "dense.bias": (config.dense,)}
        width = config.dense
    return shapes | {"head.weight": (outputs, width), "head.bias": (outputs,)}


def layer(config: Config, weights: Mapping[str, Any], number: int) -> dict[str, dict[str, Any]]:
    """The weights of recurrent layer `number` (from 0): of each direction, by what their names end
    with, by the rest of their names."""
    suffixes = ("", "_reverse") if config.bidirectional else ("",)
    names = cells.shapes(cells.CELLS[config.cell], 1, 1)
    return {
        ending: {name: weights[f"recurrence.{name}{ending}"] for name in names}
        for ending in (f"_l{number}{suffix}" for suffix in suffixes)
    }


def part(weights: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """The weights of a stage, by the rest of their names."""
    first = f"{stage}."
    return {n.removeprefix(first): value for n, value in weights.items() if n.startswith(first)}


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers the shapes hold together."""
    return sum(int(np.prod(shape)) for shape in shapes.values())


def summary(
    config: Config, outputs: int = 1, vocabulary: int | None = None, linear: int | None = None
) -> str:
    """The layers with their output shapes and parameter counts, as a table.

    vocabulary: entries of the tokenizer; as configured when it is not known yet. linear: parameters
    of a linear part beside them.
    """
    shapes = parameter_shapes(config, vocabulary or config.vocabulary, outputs)
    directions = 2 if config.bidirectional else 1
    cell = f"bidirectional {config.cell}" if config.bidirectional else config.cell
    rows = [("embedding", f"[tokens, {config.embedding}]", r"embedding\.")]
    for layer, size in enumerate(config.hidden):
        shape = f"[tokens, {size * directions}]"
        rows.append((f"{cell} {layer}", shape, rf".*_l{layer}(_reverse)?$"))
    rows.append((f"pooling ({config.pooling})", f"[texts, {pooled_width(config)}]", "$"))
    if config.dense:
        rows.append(("dense (relu)", f"[texts, {config.dense}]", r"dense\."))
    rows.append(("head", f"[texts, {outputs}]", r"head\."))
    lines = [("layer", "output", "parameters")]
    for title, shape, names in rows:
        own = {name: size for name, size in shapes.items() if re.match(names, name)}
        lines.append((title, shape, f"{count_parameters(own):,}"))
    if linear is not None:
        lines.append(("linear part", f"[texts, {outputs}]", f"{linear:,}"))
    lines.append(("total", "", f"{count_parameters(shapes) + (linear or 0):,}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in lines)


class Network:
    """A trained network. weights: float32 arrays named and shaped as in `parameter_shapes`.

    table: whether to do at once, for every token, what depends on the token alone; not worth it for
    a few texts (0.1 s for 46,000 words).

    Predicting needs memory for its texts, not for their tokens (beside some 10 bytes each), except
    that the layers of a stack below the last one must keep their states.
    """

    def __init__(self, config: Config, weights: Mapping[str, Array], *, table: bool = True) -> None:
        self.config, self._directions = config, 2 if config.bidirectional else 1
        self.weights = {name: np.ascontiguousarray(value) for name, value in weights.items()}
        cell = cells.CELLS[config.cell]
        self.layers = [
            kernels.Layer(cell, list(layer(config, self.weights, number).values()))
            for number in range(len(config.hidden))
        ]
        # The first layer's W x + b depends on the token alone: done once, for every token, unless
        # that takes too much; then for the different ones of each batch.
        embedding, self._table = self.weights["embedding.weight"], None
        if table and 4 * len(embedding) * self._projected(0) <= BYTES_AT_ONCE:
            self._table = self.layers[0].project(embedding, machine.default_threads())
        self._dense = self._linear("dense") if config.dense else None
        self._head = self._linear("head")

    def _linear(self, name: str) -> kernels.Dense:
        return kernels.Dense(**part(self.weights, name))

    def logits(self, ragged: Ragged, *, pad_to: int = 0, threads: int | None = None) -> Array:
        """[texts, outputs] of ragged token ids.

        pad_to: fill shorter texts with <pad> first, as a padded batch would. A masked network
        reads past the pads; with `mask=False` they are read as words, and every batch of
        `batch_size` texts is filled up to its longest.
        Raises `DataError` for what is no token id, and when a text needs more than `MOST_BYTES`.
        """
        threads = machine.checked_threads(threads)
        if not 0 <= pad_to <= MOST_PADS:
            raise ConfigError(f"0 <= pad_to <= {MOST_PADS}, it is {pad_to}")
        _check_ids(ragged, len(self.weights["embedding.weight"]))
        tokens, texts = self._at_once
        if self.config.mask:
            # Pads are read past: none need be filled in, and those in the text are taken out.
            ragged, pad_to = ragged.without(PAD), 0
            if len(ragged.values) <= tokens and len(ragged) <= texts:
                return self._batch_logits(ragged, threads)
        self._check_length(max(int(ragged.lengths.max(initial=0)), pad_to))
        width = self.weights["head.bias"].shape[0]
        out = np.empty((len(ragged), width), np.float32)
        for chosen, batch in self._batches(ragged, pad_to):
            out[chosen] = self._batch_logits(batch, threads)
        return out

    def _batches(self, ragged: Ragged, pad_to: int) -> Iterator[tuple[Array, Ragged]]:
        tokens, texts = self._at_once
        lengths = ragged.lengths
        if self.config.mask:
            for chosen in _chunks(lengths, tokens, texts):
                yield chosen, ragged.take(chosen)
            return
        for begin in range(0, len(ragged), self.config.batch_size):
            end = min(begin + self.config.batch_size, len(ragged))
            longest = max(int(lengths[begin:end].max(initial=0)), pad_to)
            step = min(texts, max(1, tokens // max(1, longest)))
            for first in range(begin, end, step):
                chosen = np.arange(first, min(first + step, end))
                yield chosen, ragged.take(chosen).filled(longest, PAD)

    def _batch_logits(self, ragged: Ragged, threads: int) -> Array:
        plan = ragged.plan
        projected, row = self._project(plan, ragged.values, threads)
        for below, layer in pairwise(self.layers):
            states = _walk(below, plan, projected, row, None, threads).states
            assert states is not None
            del projected  # before the next one is made
            projected, row = layer.project(states, threads), None
            del states
        pool = POOLED[self.config.pooling]
        x = self._pooled(_walk(self.layers[-1], plan, projected, row, pool, threads))
        if self._dense is not None:
            x = np.maximum(self._dense(x, threads), 0)
        logits: Array = self._head(x, threads)[plan.inverse_order]
        return logits

    def _project(self, plan: Plan, ids: Array, threads: int) -> tuple[Array, kernels.Rows | None]:
        """The first layer's W x + b, and the row of it that each token reads."""
        if self._table is not None:
            return self._table, plan.time_major(ids)
        embedding = self.weights["embedding.weight"]
        different, row = kernels.distinct(ids, plan, len(embedding))
        return self.layers[0].project(embedding[different], threads), row

    def _pooled(self, trace: kernels.Trace) -> Array:
        directions, texts, hidden = trace.h.shape
        last: Array = np.ascontiguousarray(trace.h.swapaxes(0, 1))
        last = last.reshape(texts, directions * hidden)
        if self.config.pooling == "concat":
            return np.concatenate([last, trace.largest, trace.mean], axis=1)
        choices: dict[str, Any] = {"last": last, "max": trace.largest, "mean": trace.mean}
        pooled: Array = choices[self.config.pooling]
        return pooled

    def _projected(self, layer: int) -> int:
        """Values of a layer's W x + b for a token."""
        gates = self.layers[layer].cell.gates
        return self._directions * gates * self.config.hidden[layer]

    def _bytes(self, tokens: int) -> int:
        """What a text of so many tokens, all different, needs at once: projections and states."""
        vocabulary, inputs = self.weights["embedding.weight"].shape
        rows = 0 if self._table is not None else min(tokens, vocabulary)
        below, most = rows * inputs, 0
        for number, layer in enumerate(self.layers):
            last = number + 1 == len(self.layers)
            states = 0 if last else tokens * self._directions * layer.hidden
            most = max(most, rows * self._projected(number) + max(below, states))
            rows, below = tokens, states
        return 4 * most

    @cached_property
    def _at_once(self) -> tuple[int, int]:
        """Tokens and texts of a chunk: that it needs no more than `BYTES_AT_ONCE`, for either."""
        text = 32 * self._directions * max(self.config.hidden)  # first, final, pooled states
        tokens = min(TOKENS_AT_ONCE, BYTES_AT_ONCE // max(1, self._bytes(1)))
        return max(1, tokens), max(1, min(TEXTS_AT_ONCE, BYTES_AT_ONCE // text))

    def _check_length(self, tokens: int) -> None:
        needed = self._bytes(tokens)
        if needed > MOST_BYTES:
            raise DataError(
                f"a text needs at most {MOST_BYTES:,} bytes in a network, one of {tokens:,} tokens "
                f"needs {needed:,} in this one: cut it into parts"
            )


def _walk(
    layer: kernels.Layer, plan: Plan, projected: Array, row: kernels.Rows | None,
    pool: tuple[str, ...] | None, threads: int,
) -> kernels.Trace:  # fmt: skip
    """One layer from states of zero: all states of the last one are pooled, of others kept."""
    zeros = np.zeros((len(layer.directions), plan.texts, layer.hidden), np.float32)
    return layer.forward(
        plan, projected, row, zeros, zeros,
        states=pool is None, save=False, threads=threads, pool=pool or (),
    )  # fmt: skip


def _check_ids(ragged: Ragged, vocabulary: int) -> None:
    """Raises `DataError` unless all values are whole numbers from 0 to `vocabulary` - 1."""
    ids = np.asarray(ragged.values)
    if ids.dtype == np.int32:  # as a tokenizer gives them: in one pass
        most = np.maximum.reduce(ids.view(np.uint32), axis=None, initial=0)
        if ids.ndim == 1 and most < vocabulary:
            return
    rule = f"a token id is a whole number from 0 to {vocabulary - 1}"
    if ids.ndim != 1 or ids.dtype.kind not in "iuf":
        raise DataError(f"{rule}, not of {ids.ndim} dimensions and type {ids.dtype}")
    fits = ids.max(initial=0) < vocabulary and ids.min(initial=0) >= 0  # of a NaN, neither
    if not fits or (ids.dtype.kind == "f" and (np.floor(ids) != ids).any()):
        wrong = ~((ids >= 0) & (ids < vocabulary) & (np.floor(ids) == ids))
        at = int(np.flatnonzero(wrong)[0])
        text = int(np.searchsorted(ragged.offsets, at, side="right")) - 1
        raise DataError(f"{rule}; text {text} (from 0) has {ids[at]}")


def _chunks(lengths: Array, tokens: int, texts: int) -> Iterator[Array]:
    """Texts of similar length, so many at once that they hold about `tokens`, of `texts` texts."""
    order = np.argsort(lengths, kind="stable")
    before = np.floor(np.cumsum(lengths[order] / tokens + 1 / texts))
    yield from (
        chosen for chosen in np.split(order, np.flatnonzero(np.diff(before)) + 1) if len(chosen)
    )


def probabilities(logits: Array) -> Array:
    """[texts, classes] float32 from logits [texts, outputs]; one output stands for two classes."""
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        second = 0.5 * np.tanh(0.5 * wide) + 0.5
        return np.concatenate([1 - second, second], axis=1).astype(np.float32)
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)
