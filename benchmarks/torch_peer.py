"""The same network from torch's own layers, to train and to predict by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from batches import Batches, Padded
from carryline.model.config import Config

LAYERS: dict[str, Any] = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


class Peer(torch.nn.Module):
    """A bidirectional network of `config`'s shape, its layers of one size, without dropout."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        hidden, layers = config.hidden[0], len(config.hidden)
        self.embedding = torch.nn.Embedding(vocabulary, config.embedding)
        self.recurrence = LAYERS[config.cell](config.embedding, hidden, layers, bidirectional=True)
        self.dense = torch.nn.Linear(2 * hidden, config.dense)
        self.head = torch.nn.Linear(config.dense, 1)

    def forward(self, ids: Tensor, lengths: Tensor | None) -> Tensor:
        """ids [steps, texts] -> logits [texts]; lengths [texts]: pack by them (None: do not)."""
        x: Any = self.embedding(ids)
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, enforce_sorted=False)
        _, h = self.recurrence(x)
        h = h[0] if isinstance(h, tuple) else h
        logits: Tensor = self.head(torch.relu(self.dense(torch.cat([h[-2], h[-1]], dim=1))))
        return logits[:, 0]

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
        return self(ids, lengths if packed else None).numpy()  # type: ignore[no-any-return]


class TrainingSteps:
    """torch's training step over all batches. precision: fp32, or bf16 by its autocast."""

    def __init__(self, batches: Batches, packed: bool = False, precision: str = "fp32") -> None:
        self.batches, self.packed = batches, packed
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
        self.model = Peer(batches.config, batches.vocabulary)
        rate = batches.config.learning_rate
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, fused=True)

    def __call__(self) -> None:
        for batch, targets in zip(self.batches.padded, self.batches.targets, strict=True):
            ids, lengths = map(torch.from_numpy, batch)
            with self.autocast:
                logits = self.model(ids, lengths if self.packed else None).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(targets).float()
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
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
