"""The recurrence in torch's own operations: differentiable in every way and as often as one likes.

The kernels have a way forward and one way back. What else torch asks for is computed here, a step
at a time as `cells.step` has it, products in the weights' own precision: derivatives of
derivatives, forward mode, and all of torch.func.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from carryline.recurrence import cells
from carryline.recurrence.cells import Cell
from carryline.recurrence.ragged import plan_of

Results = tuple[Tensor, Tensor, Tensor]


def recurrence(
    x: Tensor,
    row: Tensor | None,
    offsets: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    cell: Cell,
) -> Results:
    """As `operators.recurrence`."""
    plan = plan_of(np.array(offsets.tolist(), np.int64))  # under torch.func it has no numpy()
    sizes = np.diff(plan.starts).tolist()
    data = x if row is None else x.index_select(0, row)
    names = cells.shapes(cell, 1, 1)
    directions: list[Results] = []
    with torch.autocast(x.device.type, enabled=False):
        for d in range(len(h)):
            w = dict(zip(names, weights[d * len(names) :], strict=False))
            directions.append(_walk(cell, w, data, sizes, h[d], c[d], backwards=d == 1))
    states, last_h, last_c = zip(*directions, strict=True)
    return torch.cat(states, 1), torch.stack(last_h), torch.stack(last_c)


def gradient(
    d_results: Sequence[Tensor | None], x: Tensor, row: Tensor | None, offsets: Tensor,
    h: Tensor, c: Tensor, weights: Sequence[Tensor], cell: Cell,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients by x, h, c and the weights, which can be differentiated in their turn."""

    def run(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> Results:
        return recurrence(x, row, offsets, h, c, weights, cell)

    vjp: Any = torch.func.vjp
    results, pull = vjp(run, x, h, c, *weights)
    pairs = zip(d_results, results, strict=True)
    return tuple(pull(tuple(torch.zeros_like(r) if d is None else d for d, r in pairs)))


def _walk(
    cell: Cell, w: Mapping[str, Tensor], x: Tensor, sizes: list[int], h: Tensor, c: Tensor,
    backwards: bool,
) -> Results:  # fmt: skip
    """One direction: x [tokens, input], sizes: texts at each step; h, c: [texts, hidden]."""
    projected = torch.split(linear(x, w["weight_ih"], w["bias_ih"]), sizes)
    first, now = [h, c], [h[:0], c[:0]]
    ended: list[list[Tensor]] = []  # final states, the shortest texts' first
    states: list[Tensor] = []
    for step in reversed(projected) if backwards else projected:
        going, count = len(now[0]), len(step)
        if count < going:
            ended.append([s[count:] for s in now])
        elif count > going:
            now = [torch.cat([s, f[going:count]]) for s, f in zip(now, first, strict=True)]
        now = list(_step(cell, w, step, *(s[:count] for s in now)))
        states.append(now[0])
    ended = [[s[max(sizes, default=0) :] for s in first], *ended, now]
    last_h, last_c = (torch.cat(parts[::-1]) for parts in zip(*ended, strict=True))
    in_order = states[::-1] if backwards else states
    return torch.cat([h[:0], *in_order]), last_h, last_c


def _step(
    cell: Cell, w: Mapping[str, Tensor], projected: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """projected: W x + b of a step's texts [texts, gates * hidden] -> the next h and c."""
    recurrent = linear(h, w["weight_hh"])
    if cell is cells.GRU:
        px, ph = projected.chunk(3, 1), recurrent.chunk(3, 1)
        r, z = torch.sigmoid(px[0] + ph[0]), torch.sigmoid(px[1] + ph[1])
        n = torch.tanh(px[2] + r * (ph[2] + w["bias_hh"]))
        return (1 - z) * n + z * h, c
    if cell is cells.RNN:
        return torch.tanh(projected + recurrent), c
    i, f, g, o = (projected + recurrent).chunk(4, 1)
    following = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    if cell is cells.LSTM:
        return torch.sigmoid(o) * torch.tanh(following), following
    return torch.tanh(o + linear(c, w["weight_ch"])), following
