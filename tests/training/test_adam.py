"""Adam: the same bits as torch's class, without what that imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from carryline.training.adam import Adam

TRAIN = """
import sys
from carryline import TextClassifier
texts, labels = ["good", "bad"] * 20, [1, 0] * 20
TextClassifier("lecture", vocabulary=260, hidden=8, epochs=1, clip=1.0).fit(texts, labels)
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_same_bits_as_torch(weight_decay: float) -> None:
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((50, 3), (7,), ())]
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    adam = Adam(ours, weight_decay)
    torchs = torch.optim.AdamW(theirs, weight_decay=weight_decay, fused=True)
    for step in range(1, 6):
        for mine, other in zip(ours, theirs, strict=True):
            if step % 2 or mine.ndim:  # one has no gradient now and then
                mine.grad = torch.randn_like(mine)
                other.grad = mine.grad.clone()
        adam.step(0.1 / step)
        torchs.param_groups[0]["lr"] = 0.1 / step
        torchs.step()
        torchs.zero_grad()
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine, other)
            assert mine.grad is None
    for mine, other in zip(ours, theirs, strict=True):
        assert adam.state[mine].keys() == torchs.state[other].keys()
        for key, value in adam.state[mine].items():
            assert torch.equal(value, torchs.state[other][key])


def test_training_does_not_import_the_compiler(python: Callable[..., Any]) -> None:
    found = python(TRAIN)
    assert (found.returncode, found.stdout) == (0, "False\n"), found.stderr
