"""The same network from torch's own layers, to train and to predict by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from batches import Batches, Padded
from carryline.model import network
from carryline.model.config import Config

LAYERS: dict[str, Any] = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


class Peer(torch.nn.Module):
    """A bidirectional network of `config`'s shape, its layers of one size.

    Its dropout stands where Carryline's does, but on each token's embedding by itself; `eval()`
    turns it off.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        hidden, layers = config.hidden[0], len(config.hidden)
        width, between = network.pooled_width(config), config.dropout if layers > 1 else 0.0
        self.pooling, self.dropout = config.pooling, torch.nn.Dropout(config.dropout)
        self.embedding = torch.nn.Embedding(vocabulary, config.embedding)
        self.recurrence = LAYERS[config.cell](
            config.embedding, hidden, layers, dropout=between, bidirectional=True
        )
        self.dense = torch.nn.Linear(width, config.dense) if config.dense else None
        self.head = torch.nn.Linear(config.dense or width, 1)

    def forward(self, ids: Tensor, lengths: Tensor, packed: bool) -> Tensor:
        """ids [steps, texts], lengths [texts] -> logits [texts]; packed: as a PackedSequence."""
        x: Any = self.dropout(self.embedding(ids))
        if packed:
            x = pack_padded_sequence(x, lengths, enforce_sorted=False)
        states, h = self.recurrence(x)
        h = h[0] if isinstance(h, tuple) else h
        x = self.dropout(self._pooled(states, torch.cat([h[-2], h[-1]], dim=1), lengths))
        if self.dense is not None:
            x = self.dropout(torch.relu(self.dense(x)))
        logits: Tensor = self.head(x)
        return logits[:, 0]

    def _pooled(self, states: Any, last: Tensor, lengths: Tensor) -> Tensor:
        """One vector a text, of the states at its real tokens."""
        if self.pooling == "last":
            return last
        if isinstance(states, PackedSequence):
            states, _ = pad_packed_sequence(states)
        real = (torch.arange(len(states))[:, None] < lengths)[:, :, None]
        if self.pooling == "max":
            return largest(states, real)
        if self.pooling == "mean":
            return mean(states, real)
        return torch.cat([last, largest(states, real), mean(states, real)], dim=1)

    def fill(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Take Carryline's weights (see `network.parameter_shapes`).

        torch has a second bias for each gate. Only the candidate of a gru, its last gate, has one
        in Carryline too; the others become 0.
        """
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.zero_()
                if name in weights:
                    parameter[-len(weights[name]) :] = torch.from_numpy(weights[name])

    @torch.inference_mode()
    def logits(self, batch: Padded, packed: bool) -> NDArray[np.float32]:
        """[texts]"""
        ids, lengths = map(torch.from_numpy, batch)
        return self(ids, lengths, packed).numpy()  # type: ignore[no-any-return]


def largest(states: Tensor, real: Tensor) -> Tensor:
    """Over the steps where real [steps, texts, 1]: states [steps, texts, width] -> [texts, width].
    `max` and not `amax`, whose way back takes longer than `max` takes for both ways."""
    return states.masked_fill(~real, -torch.inf).max(dim=0).values


def mean(states: Tensor, real: Tensor) -> Tensor:
    """As `largest`."""
    return (states * real).sum(dim=0) / real.sum(dim=0)


class TrainingSteps:
    """torch's training step over all batches. precision: fp32, or bf16 by its autocast."""

    def __init__(self, batches: Batches, packed: bool = False, precision: str = "fp32") -> None:
        self.batches, self.packed = batches, packed
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
        self.model = Peer(batches.config, batches.vocabulary)
        rate, decay = batches.config.learning_rate, batches.config.weight_decay
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=rate, weight_decay=decay, fused=True
        )

    def __call__(self) -> None:
        for batch, targets in zip(self.batches.padded, self.batches.targets, strict=True):
            ids, lengths = map(torch.from_numpy, batch)
            with self.autocast:
                logits = self.model(ids, lengths, self.packed).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(targets).float()
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.batches.config.clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.batches.config.clip)
            self.optimizer.step()
            loss.item()


def on_onednn() -> bool:
    """Whether torch computes such an LSTM by oneDNN on this machine."""
    states, _ = torch.nn.LSTM(8, 8, bidirectional=True)(torch.zeros(2, 2, 8))
    nodes = [states.grad_fn]
    for node in nodes:
        nodes += [following for following, _ in node.next_functions if following]
    return any("mkldnn" in node.name().lower() for node in nodes)


def takes_bf16() -> bool:
    """Whether torch trains such an LSTM in bf16 here: oneDNN refuses on machines below AVX-512."""
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(8, 8, bidirectional=True)(torch.zeros(2, 2, 8))
    except RuntimeError:
        return False
    return True
