"""What all recurrent layers for PyTorch share: `Recurrent`, a module of one cell.

A batch is a `PackedSequence`, a padded tensor (with `lengths`) or a `Ragged`. It computes on
exactly the tokens that exist, by Carryline's compiled kernels. Weights are named as in torch.nn,
with one bias a gate; torch's own state dicts are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from carryline.errors import ConfigError
from carryline.nn import biases, cudnn, layouts, operators
from carryline.nn.layouts import Batch, Kind, Lengths
from carryline.recurrence import cells
from carryline.recurrence.cells import Cell

States = Tensor | list[Tensor]  # of all layers, or a list of them where their sizes differ
State = States | tuple[States, States]
_MAKERS = (BasePruningMethod, SpectralNorm, WeightNorm)  # of weights, before each call


class Recurrent(torch.nn.Module):
    """One or more recurrent layers, in one or two directions.

    input_size: width of the input. hidden_size: state size, or a list with that of each layer.
    bias, batch_first, dropout (between layers, while training), bidirectional, device, dtype: as
    torch.nn has them. threads: None for all cores. Initialised as Keras does: Glorot uniform,
    orthogonal recurrent weights, forget bias 1. Raises `ConfigError` (a `ValueError`) for sizes
    below 1 and for what Carryline does not have: projections.
    """

    cell: Cell
    mode: str  # as torch.nn names it
    weight_ih_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        sizes = [hidden_size] * num_layers if isinstance(hidden_size, int) else list(hidden_size)
        if not sizes or min(input_size, *sizes) < 1:
            raise ConfigError(
                "input_size, hidden_size and num_layers must be 1 or more, they are "
                f"{input_size}, {hidden_size}, {num_layers}"
            )
        if not 0 <= dropout <= 1:
            raise ConfigError(f"0 <= dropout <= 1, it is {dropout}")
        if proj_size:
            raise ConfigError(f"proj_size must be 0 (there are no projections), it is {proj_size}")
        self.input_size, self.hidden_size, self.hidden_sizes = input_size, hidden_size, sizes
        self.num_layers, self.bias, self.batch_first = len(sizes), bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = dropout, bidirectional, 0
        self.directions = 2 if bidirectional else 1
        self.threads = threads
        for name, shape in self._shapes().items():
            weight = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, torch.nn.Parameter(weight))
        self.reset_parameters()

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all weights by name."""
        given = self.cell, self.input_size, self.hidden_sizes, self.directions
        shapes = cells.layer_shapes(*given).items()
        return {name: s for name, s in shapes if self.bias or not name.startswith("bias")}

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

    def forward(
        self, input: Kind, hx: State | None = None, *, lengths: Lengths | None = None
    ) -> tuple[Any, State]:
        """The state at every position, in the kind of `input`, and the final states.

        input: a `PackedSequence`; a padded tensor [steps, texts, input] ([texts, steps, input] if
        batch_first) with `lengths` [texts], each from 0 to steps (None: every text is whole), where
        positions past a text's end come out as zeros; one text alone [steps, input]; or a `Ragged`
        of vectors [tokens, input].
        hx: first states [layers * directions, texts, hidden] (without texts for one text alone),
        with the carry (h, c) for cells that have one; where layers differ in size a list of each
        layer's [directions, texts, its size]; zeros when None. Final states have the same form; the
        backward direction's is the one at the first token, an empty text's is its first.
        Under torch.autocast("cpu", torch.bfloat16) float32 layers multiply in bfloat16; narrower
        inputs are taken as float32, and results are float32.
        Raises `ValueError` when something does not fit in shape or data type.
        """
        if isinstance(input, Tensor) and input.ndim == 2 and lengths is None:
            return self._alone(input, hx)
        batch = layouts.read(input, lengths, self.batch_first)
        if batch.x.ndim != 2 or batch.x.shape[1] != self.input_size:
            raise ValueError(f"x must be [tokens, {self.input_size}], it is {list(batch.x.shape)}")
        x = self._checked(batch.x)
        h, c = self._first(batch, hx, x)
        x, last_h, last_c = self._layers(batch.offsets, x, h, c)
        if batch.rank is not None:
            rank = batch.rank
            last_h, last_c = ([s.index_select(1, rank) for s in each] for each in (last_h, last_c))
        final = self._joined(last_h)
        return batch.back(x), (final, self._joined(last_c)) if self.cell.carry else final

    def _alone(self, text: Tensor, hx: State | None) -> tuple[Tensor, State]:
        """One text [steps, input]: its states and final states have no dimension for texts."""
        where = 0 if self.batch_first else 1
        first = None if hx is None else _each(hx, lambda state: state.unsqueeze(1))
        states, last = self.forward(text.unsqueeze(where), first)
        return states.squeeze(where), _each(last, lambda state: state.squeeze(1))

    def _layers(
        self,
        offsets: Tensor,
        x: Tensor,
        h: Sequence[Tensor],
        c: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All layers in the kernels' own time-major order: what torch.compile sees.

        x: [tokens, input]; h, c: first states of each layer by rank [directions, texts, hidden].
        Returns the last layer's states [tokens, directions * hidden], each layer's final h and c.
        """
        run = operators.recurrence if x.device.type == "cpu" else cudnn.recurrence
        precision, final_h, final_c = _precision(x), [], []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = torch.nn.functional.dropout(x, self.dropout, self.training)
            weights = list(self._weights(layer, x))
            x, last_h, last_c = run(
                x, None, offsets, h[layer], c[layer], weights, self.cell, precision, self.threads
            )
            final_h.append(last_h)
            final_c.append(last_c)
        return x, final_h, final_c

    def _zeros(self, texts: int, like: Tensor) -> list[Tensor]:
        return [like.new_zeros(self.directions, texts, size) for size in self.hidden_sizes]

    def _checked(self, x: Tensor, what: str = "x") -> Tensor:
        """In the weights' data type, which under autocast narrower ones are brought to."""
        dtype = self.weight_ih_l0.dtype
        narrow = x.dtype in (torch.bfloat16, torch.float16) and dtype == torch.float32
        if narrow and torch.is_autocast_enabled(x.device.type):
            return x.to(dtype)
        if x.dtype != dtype or dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{what} and weights must both be float32 or both float64, they are {x.dtype}, "
                f"{dtype}"
            )
        return x

    def _weights(self, layer: int, like: Tensor) -> Iterator[Tensor]:
        inputs = self.directions * self.hidden_sizes[layer - 1] if layer else self.input_size
        shapes = cells.shapes(self.cell, inputs, self.hidden_sizes[layer])
        for suffix in ("", "_reverse")[: self.directions]:
            for name, shape in shapes.items():
                if self.bias or not name.startswith("bias"):
                    yield getattr(self, f"{name}_l{layer}{suffix}")
                else:
                    yield like.new_zeros(shape)

    def _first(
        self, batch: Batch, hx: State | None, like: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """First h and c of each layer by rank."""
        zeros = self._zeros(batch.offsets.shape[0] - 1, like)
        if hx is None:
            return zeros, zeros
        pair = isinstance(hx, tuple | list) and len(hx) == 2
        pair = pair and all(isinstance(state, Tensor | list) for state in hx)
        if not pair if self.cell.carry else isinstance(hx, tuple):
            raise ValueError(
                f"hx must be {'(h, c)' if self.cell.carry else 'h'} for {type(self).__name__}"
            )

        def layers(states: States) -> list[Tensor]:
            each = states if isinstance(states, list) else torch.split(states, self.directions)
            if [s.shape for s in each] != [s.shape for s in zeros]:
                raise ValueError(
                    f"first states must be {[list(s.shape) for s in zeros]} by layer, they are "
                    f"{[list(s.shape) for s in each]}"
                )
            each, order = [self._checked(s, "hx") for s in each], batch.order
            return each if order is None else [s.index_select(1, order) for s in each]

        given: Any = hx
        return (layers(given[0]), layers(given[1])) if self.cell.carry else (layers(given), zeros)

    def _joined(self, layers: list[Tensor]) -> States:
        return torch.cat(layers) if len(set(self.hidden_sizes)) == 1 else layers

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Takes torch's two biases a gate, too."""
        with torch.no_grad():
            ours = biases.from_torch(self.cell, state_dict, prefix)
        super()._load_from_state_dict(ours, prefix, *rest)

    def torch_state_dict(self) -> dict[str, Tensor]:
        """The weights as torch.nn's own module takes them, each bias as torch's two: (b, 0).

        Where torch.nn.utils makes weights of others (weight_norm, prune), as the next call would
        have them.
        """
        for hook in self._forward_pre_hooks.values():
            if isinstance(hook, _MAKERS):
                hook(self, None)
        weights = {name: getattr(self, name).detach() for name in self._shapes()}
        for name in [name for name in weights if name.startswith("bias_ih")]:
            other = name.replace("_ih", "_hh")
            pair = biases.to_torch(weights[name], weights.get(other))
            weights[name], weights[other] = pair
        return weights

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction."""
        ends = ("", "_reverse")[: self.directions]
        each = [f"_l{layer}{end}" for layer in range(self.num_layers) for end in ends]
        return [[getattr(self, n) for n in self._shapes() if n.endswith(own)] for own in each]

    def flatten_parameters(self) -> None:
        """Nothing: models written for torch.nn call it."""

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_sizes}, directions={self.directions}"


def _each(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same change to every tensor of a state."""
    if isinstance(state, Tensor):
        return change(state)
    return type(state)(_each(part, change) for part in state)


def _precision(x: Tensor) -> str:
    """Of the products: as torch.autocast says."""
    narrow = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return "bf16" if narrow and x.dtype == torch.float32 else "fp32"
