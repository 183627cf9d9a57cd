"""The network on arrays, for predicting: embedding, recurrence, pooling, head. No torch.

Every stage gives a text the same bits whatever texts stand beside it and however many threads run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ConfigError
from carryline.model.config import Config
from carryline.recurrence import cells, kernels, machine
from carryline.recurrence.ragged import Plan, Ragged

Array = NDArray[Any]
PAD = 0  # the id of <pad>
MOST_PADS = 100_000
TOKENS_AT_ONCE = 1 << 16  # tokens a chunk when predicting: some 100 MB of states at 2 x 128 units


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


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers the shapes hold together."""
    return sum(int(np.prod(shape)) for shape in shapes.values())


def summary(config: Config, outputs: int = 1, vocabulary: int | None = None) -> str:
    """The layers with their output shapes and parameter counts, as a table.

    vocabulary: entries of the tokenizer; as configured when it is not known yet.
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
    lines.append(("total", "", f"{count_parameters(shapes):,}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in lines)


class Network:
    """A trained network. weights: float32 arrays named and shaped as in `parameter_shapes`."""

    def __init__(self, config: Config, weights: Mapping[str, Array]) -> None:
        self.config = config
        self.weights = {name: np.ascontiguousarray(value) for name, value in weights.items()}
        cell = cells.CELLS[config.cell]
        self._layers = [
            kernels.Layer(cell, [self._directed(layer, suffix) for suffix in self._suffixes])
            for layer in range(len(config.hidden))
        ]
        # The first layer's W x + b depends on the token alone: done once, for every token.
        embedding = self.weights["embedding.weight"]
        self._table = self._layers[0].project(embedding, machine.default_threads())
        self._dense = self._linear("dense") if config.dense else None
        self._head = self._linear("head")

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.config.bidirectional else ("",)

    def _directed(self, layer: int, suffix: str) -> dict[str, Array]:
        names = cells.shapes(cells.CELLS[self.config.cell], 1, 1)
        return {name: self.weights[f"recurrence.{name}_l{layer}{suffix}"] for name in names}

    def _linear(self, name: str) -> kernels.Dense:
        return kernels.Dense(self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def logits(self, ragged: Ragged, *, pad_to: int = 0, threads: int | None = None) -> Array:
        """[texts, outputs] of ragged token ids.

        pad_to: fill shorter texts with <pad> first, as a padded batch would. A masked network
        reads past the pads; with `mask=False` they are read as words, and every batch of
        `batch_size` texts is filled up to its longest.
        """
        threads = machine.checked_threads(threads)
        if not 0 <= pad_to <= MOST_PADS:
            raise ConfigError(f"0 <= pad_to <= {MOST_PADS}, it is {pad_to}")
        if self.config.mask:
            # Pads are read past: none need be filled in, and those in the text are taken out.
            ragged = ragged.without(PAD)
            if len(ragged.values) <= TOKENS_AT_ONCE:
                return self._batch_logits(ragged, threads)
        width = self.weights["head.bias"].shape[0]
        out = np.empty((len(ragged), width), np.float32)
        for texts, batch in self._batches(ragged, pad_to):
            out[texts] = self._batch_logits(batch, threads)
        return out

    def _batches(self, ragged: Ragged, pad_to: int) -> Iterator[tuple[Array, Ragged]]:
        if self.config.mask:
            for texts in _chunks(ragged.lengths):
                yield texts, ragged.take(texts)
            return
        for begin in range(0, len(ragged), self.config.batch_size):
            texts = np.arange(begin, min(begin + self.config.batch_size, len(ragged)))
            batch = ragged.take(texts)
            longest = int(batch.lengths.max(initial=0))
            yield texts, batch.filled(max(longest, pad_to), PAD)

    def _batch_logits(self, ragged: Ragged, threads: int) -> Array:
        plan = ragged.plan
        row: kernels.Rows | None = np.ascontiguousarray(
            ragged.values[plan.positions], dtype=np.int32
        )
        projected, need_states = self._table, self.config.pooling != "last"
        for index, layer in enumerate(self._layers):
            last = index + 1 == len(self._layers)
            zeros = np.zeros((len(self._suffixes), plan.texts, layer.hidden), np.float32)
            trace = layer.forward(
                plan, projected, row, zeros, zeros,
                states=need_states or not last, save=False, threads=threads,
            )  # fmt: skip
            if not last and trace.states is not None:
                projected, row = self._layers[index + 1].project(trace.states, threads), None
        x = self._pool(plan, trace, threads)
        if self._dense is not None:
            x = np.maximum(self._dense(x, threads), 0)
        logits: Array = self._head(x, threads)[plan.inverse_order]
        return logits

    def _pool(self, plan: Plan, trace: kernels.Trace, threads: int) -> Array:
        directions, texts, hidden = trace.h.shape
        last: Array = trace.h.swapaxes(0, 1).reshape(texts, directions * hidden)
        if trace.states is None or self.config.pooling == "last":
            return last
        largest, _, mean = kernels.pool(plan, trace.states, where=False, threads=threads)
        last[plan.lengths == 0] = 0
        choices = {"max": largest, "mean": mean}
        if self.config.pooling in choices:
            return choices[self.config.pooling]
        return np.concatenate([last, largest, mean], axis=1)


def _chunks(lengths: Array) -> Iterator[Array]:
    """Texts of similar length, so many at once that they hold about `TOKENS_AT_ONCE` tokens."""
    order = np.argsort(lengths, kind="stable")
    before = np.cumsum(lengths[order]) // TOKENS_AT_ONCE
    yield from (
        texts for texts in np.split(order, np.flatnonzero(np.diff(before)) + 1) if len(texts)
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
