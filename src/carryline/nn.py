"""Recurrent layers for PyTorch on ragged batches: `RNN`, `LSTM`, `GRU`, `CarryLSTM`.

    states, (h, c) = LSTM(64, 128, bidirectional=True)(ragged)

They compute on exactly the tokens that exist, by Carryline's compiled kernels; torch's autograd
sees one function a layer. Weights are named as in torch.nn, with one bias a gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carryline import cells, kernels, machine
from carryline.cells import Cell
from carryline.ragged import Plan, Ragged

States = Tensor | list[Tensor]  # of all layers, or a list of them where their sizes differ
State = States | tuple[States, States]


class _LayerFunction(torch.autograd.Function):
    """One layer, all directions: `kernels.Layer` under autograd.

    x [rows, input], first h and c [directions, texts, hidden] by rank, weights of all directions.
    Gives states [tokens, directions * hidden] (time-major) and the final h and c.
    """

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, plan: Plan, row: Any, threads: int,
        x: Tensor, h: Tensor, c: Tensor, *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        names = cells.shapes(cell, 1, 1)
        arrays = [weight.detach().numpy() for weight in weights]
        directions = [
            dict(zip(names, arrays[i : i + len(names)], strict=True))
            for i in range(0, len(arrays), len(names))
        ]
        layer = kernels.Layer(cell, directions)
        inputs = x.detach().contiguous().numpy()
        trace = layer.forward(
            plan, layer.project(inputs, threads), row, h.detach().numpy(), c.detach().numpy(),
            states=True, save=any(ctx.needs_input_grad), threads=threads,
        )  # fmt: skip
        # Through autograd, which raises when one of them was changed in place before backward.
        ctx.save_for_backward(x, *weights)
        ctx.kept = layer, plan, row, threads, inputs, trace
        ctx.set_materialize_grads(False)
        return tuple(torch.from_numpy(a) for a in (trace.states, trace.h, trace.c))  # type: ignore[return-value]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_states: Any, d_h: Any, d_c: Any) -> tuple[Any, ...]:
        layer, plan, row, threads, inputs, trace = ctx.kept
        _ = ctx.saved_tensors  # raises if a weight was changed since

        def array(gradient: Tensor | None) -> Any:
            return None if gradient is None else gradient.contiguous().numpy()

        d = layer.backward(
            plan, trace, inputs, row, array(d_states),
            np.zeros_like(trace.h) if d_h is None else array(d_h),
            np.zeros_like(trace.c) if d_c is None else array(d_c),
            by_x=ctx.needs_input_grad[4], threads=threads,
        )  # fmt: skip
        names = cells.shapes(layer.cell, 1, 1)
        by_weights = [torch.from_numpy(by[name]) for by in d.layer for name in names]
        by_x = None if d.x is None else torch.from_numpy(d.x)
        return (None,) * 4 + (by_x, torch.from_numpy(d.h), torch.from_numpy(d.c), *by_weights)


class Recurrent(torch.nn.Module):
    """One or more recurrent layers, in one or two directions.

    input_size: width of the input. hidden_size: state size, or a list with that of each layer.
    dropout: between layers, while training. threads: None for all cores. Initialised as Keras
    does: Glorot uniform, orthogonal recurrent weights, forget bias 1.
    """

    cell: Cell

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        threads: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = [hidden_size] * num_layers if isinstance(hidden_size, int) else list(hidden_size)
        self.input_size, self.hidden_sizes, self.dropout = input_size, sizes, dropout
        self.directions = 2 if bidirectional else 1
        self.threads = threads
        for name, shape in cells.layer_shapes(
            self.cell, input_size, sizes, self.directions
        ).items():
            self.register_parameter(name, torch.nn.Parameter(torch.empty(shape, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for name, weight in self.named_parameters():
            if name.startswith("weight_ih"):
                torch.nn.init.xavier_uniform_(weight)
            elif name.startswith("weight"):
                torch.nn.init.orthogonal_(weight)
            else:
                torch.nn.init.zeros_(weight)
                if self.cell.carry:
                    with torch.no_grad():
                        weight.chunk(4)[1].fill_(1.0)

    def forward(self, x: Ragged, state: State | None = None) -> tuple[Ragged, State]:
        """x: `Ragged` of vectors [tokens, input].

        state: first states [layers * directions, texts, hidden], with the carry (h, c) for cells
        that have one; where layers differ in size a list of each layer's [directions, texts, its
        size]; zeros when None. Returns the state at every position, a `Ragged` of
        [tokens, directions * hidden] of the last layer, and the final states (the backward
        direction's is the one at the first token). An empty text's final state is its first.
        Raises `ValueError` when x does not fit the weights in width or data type.
        """
        self._check(x.values)
        plan = x.plan
        h, c = self._by_rank(plan, state, x.values)
        states, h_n, c_n = self.walk(plan, x.values[torch.from_numpy(plan.positions)], None, h, c)
        back = torch.from_numpy(plan.inverse_order)
        h_n, c_n = ([layer[:, back] for layer in layers] for layers in (h_n, c_n))
        values = states[torch.from_numpy(plan.inverse_positions)]
        final = self._joined(h_n)
        return x.like(values), (final, self._joined(c_n)) if self.cell.carry else final

    def walk(
        self, plan: Plan, x: Tensor, row: Any, h: Sequence[Tensor], c: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All layers in the kernels' own time-major order.

        x: [rows, input]; row: [tokens] int32 row of x that each token reads, None for its own;
        h, c: first states of each layer by rank [directions, texts, hidden]. Returns the last
        layer's states [tokens, directions * hidden] and each layer's final h and c.
        """
        threads = machine.checked_threads(self.threads)
        final_h, final_c = [], []
        for layer in range(len(self.hidden_sizes)):
            if layer and self.dropout:
                x = torch.nn.functional.dropout(x, self.dropout, self.training)
            x, h_n, c_n = _LayerFunction.apply(  # type: ignore[no-untyped-call]
                self.cell, plan, row, threads, x, h[layer], c[layer], *self._weights(layer)
            )
            final_h.append(h_n)
            final_c.append(c_n)
            row = None
        return x, final_h, final_c

    def first_states(self, plan: Plan, like: Tensor) -> list[Tensor]:
        """Zeros [directions, texts, hidden] for each layer."""
        return [like.new_zeros(self.directions, plan.texts, size) for size in self.hidden_sizes]

    def load_torch(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of torch's own module: its two biases are added where they may be."""
        with torch.no_grad():
            for name, weight in self.named_parameters():
                value = weights[name]
                if name.startswith("bias_hh"):
                    value = value.chunk(3)[2]
                elif name.startswith("bias_ih"):
                    other = weights[name.replace("_ih", "_hh")].clone()
                    if self.cell is cells.GRU:
                        other.chunk(3)[2].zero_()
                    value = value + other
                weight.copy_(value)

    def _check(self, x: Tensor) -> None:
        dtype = next(self.parameters()).dtype
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(f"x must be [tokens, {self.input_size}], it is {list(x.shape)}")
        if x.dtype != dtype or dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"x and weights must both be float32 or both float64, they are {x.dtype}, {dtype}"
            )

    def _weights(self, layer: int) -> Iterator[Tensor]:
        for suffix in ("", "_reverse")[: self.directions]:
            for name in cells.shapes(self.cell, 1, 1):
                yield getattr(self, f"{name}_l{layer}{suffix}")

    def _by_rank(
        self, plan: Plan, state: State | None, like: Tensor
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        if state is None:
            return self.first_states(plan, like), self.first_states(plan, like)
        order = torch.from_numpy(plan.order)

        def layers(states: States) -> list[Tensor]:
            each = states if isinstance(states, list) else torch.split(states, self.directions)
            return [layer[:, order] for layer in each]

        if isinstance(state, tuple):
            return layers(state[0]), layers(state[1])
        return layers(state), self.first_states(plan, like)

    def _joined(self, layers: list[Tensor]) -> States:
        return torch.cat(layers) if len(set(self.hidden_sizes)) == 1 else layers

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_sizes}, directions={self.directions}"


class RNN(Recurrent):
    """h_t = tanh(W x_t + U h_{t-1} + b)  (Elman 1990)."""

    cell = cells.RNN


class LSTM(Recurrent):
    """Long short-term memory with forget gates, as `torch.nn.LSTM` with one bias a gate."""

    cell = cells.LSTM


class GRU(Recurrent):
    """Gated recurrent unit, as `torch.nn.GRU`; the candidate keeps its second bias."""

    cell = cells.GRU


class CarryLSTM(Recurrent):
    """The textbook's LSTM: the output reads the carry that comes in; there is no output gate."""

    cell = cells.CARRY


MODULES: dict[str, type[Recurrent]] = {m.cell.name: m for m in (RNN, LSTM, GRU, CarryLSTM)}
