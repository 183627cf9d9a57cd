"""Adam with decoupled weight decay: torch's own, without its class.

`torch.optim.AdamW` imports torch's compiler when it is made, which takes 1.3 s and 100 MB; the
function that it calls does not, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adamw import adamw

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults


class Adam:
    """state: `step`, `exp_avg`, `exp_avg_sq` of each parameter, named as torch names them."""

    def __init__(self, parameters: Iterable[Parameter], weight_decay: float) -> None:
        self.weight_decay = weight_decay
        self.state: dict[Tensor, dict[str, Tensor]] = {
            parameter: {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
            for parameter in parameters
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """A step along the gradients, at learning rate `rate`; the gradients are then let go."""
        moved = [parameter for parameter in self.state if parameter.grad is not None]
        states = [self.state[parameter] for parameter in moved]
        adamw(
            moved,
            [parameter.grad for parameter in moved if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )
        for parameter in moved:
            parameter.grad = None
