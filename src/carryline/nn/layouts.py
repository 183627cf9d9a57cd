"""Batches as PyTorch users hold them, to the kernels' order and back.

A `Ragged`, a `PackedSequence` (which is in that order already) or a padded tensor becomes a
`Batch`; what the network makes of it is given back in the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from carryline.nn import operators
from carryline.recurrence.ragged import Ragged

Kind = Tensor | PackedSequence | Ragged
Lengths = Tensor | list[int] | tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """A batch in the kernels' order (see `ragged.Plan`).

    x: [tokens, width]; offsets: [texts + 1] int64 on the CPU; order, rank: [texts] the text at
    each rank and the rank of each text, None where they are the same; back: puts states
    [tokens, any width] into the kind that was given.
    """

    x: Tensor
    offsets: Tensor
    order: Tensor | None
    rank: Tensor | None
    back: Callable[[Tensor], Any]


def read(batch: Kind, lengths: Lengths | None, batch_first: bool) -> Batch:
    """What a module was given. lengths: of the texts in a padded tensor, None if all are whole."""
    if isinstance(batch, Tensor):
        if batch.ndim != 3:
            raise ValueError(f"a padded batch has 3 dimensions, it is {list(batch.shape)}")
        if lengths is None:
            return _whole(batch, batch_first)
        return _padded(batch, lengths, batch_first)
    if lengths is not None:
        raise ValueError(f"lengths go with a padded tensor, not with a {type(batch).__name__}")
    if isinstance(batch, PackedSequence):
        return _packed(batch)
    if not isinstance(batch, Ragged) or not isinstance(batch.values, Tensor):
        raise ValueError(
            "a batch is a padded tensor, a PackedSequence or a Ragged of a tensor, not a "
            f"{type(batch).__name__}"
        )
    return _ragged(batch)


def _ragged(batch: Ragged) -> Batch:
    offsets, tokens = torch.from_numpy(batch.offsets), batch.values.shape[0]
    found = operators.time_major(offsets, offsets[:-1], 1, tokens, tokens, tokens)
    index, back, order, rank = (tensor.to(batch.values.device) for tensor in found)
    x = operators.rows(batch.values, index, back)
    return Batch(
        x, offsets, order, rank, lambda states: batch.like(operators.rows(states, back, index))
    )


def _packed(batch: PackedSequence) -> Batch:
    x, sizes, order, rank = batch
    texts = int(sizes[0]) if order is None else order.shape[0]
    # A text at rank r has as many tokens as there are steps with more than r texts.
    ranks = torch.arange(texts, device=sizes.device)
    lengths = len(sizes) - torch.searchsorted(sizes.flip(0), ranks, right=True)
    return Batch(
        x, _offsets(lengths), order, rank, lambda states: PackedSequence(states, sizes, order, rank)
    )


def _whole(batch: Tensor, batch_first: bool) -> Batch:
    """Every text as long as the longest: the kernels' order is step by step."""
    by_step = batch.transpose(0, 1) if batch_first else batch
    steps, texts, width = by_step.shape

    def back(states: Tensor) -> Tensor:
        states = states.reshape(steps, texts, states.shape[1])
        return states.transpose(0, 1) if batch_first else states

    offsets = torch.arange(texts + 1, device="cpu") * steps
    return Batch(by_step.reshape(steps * texts, width), offsets, None, None, back)


def _padded(batch: Tensor, lengths: Lengths, batch_first: bool) -> Batch:
    texts, steps = batch.shape[:2] if batch_first else (batch.shape[1], batch.shape[0])
    given = torch.as_tensor(lengths, device="cpu")
    if given.shape != (texts,) or (texts and given.is_floating_point()):
        raise ValueError(
            f"lengths must be [{texts}] whole numbers, one for each text, they are "
            f"{list(given.shape)} of {given.dtype}"
        )
    offsets = _offsets(given.to(torch.int64))
    begin = torch.arange(texts, device="cpu") * (steps if batch_first else 1)
    stride, places = 1 if batch_first else texts, texts * steps
    found = operators.time_major(offsets, begin, stride, steps, int(offsets[-1]), places)
    index, back, order, rank = (tensor.to(batch.device) for tensor in found)

    def padded(states: Tensor) -> Tensor:
        filled = operators.rows(states, back, index, fills=True)
        return filled.reshape(*batch.shape[:2], states.shape[1])

    x = operators.rows(batch.reshape(places, batch.shape[2]), index, back, drops=True)
    return Batch(x, offsets, order, rank, padded)


def _offsets(lengths: Tensor) -> Tensor:
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
