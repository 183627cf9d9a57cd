"""`carryline.nn` before torch is loaded, and where there is none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from carryline.errors import InputError, MissingExtraError

Run = Callable[..., subprocess.CompletedProcess[str]]

WITHOUT_TORCH = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

LAZY = """
import sys
import carryline
assert "torch" not in sys.modules
assert {"LSTM", "GRU", "RNN", "CarryLSTM", "MODULES", "Recurrent"} == set(dir(carryline.nn))
assert "torch" not in sys.modules
module = carryline.nn.LSTM(2, 3)
assert "torch" in sys.modules
from carryline.nn import LSTM
assert type(module) is LSTM
assert not hasattr(carryline.nn, "Transformer")
"""

MESSAGE = (
    "carryline.nn.LSTM needs the package 'torch', which is not installed; "
    "pip install 'carryline[torch]'"
)


def test_torch_is_loaded_when_a_module_is_asked_for(python: Run) -> None:
    done = python(LAZY)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "ask",
    ["import carryline; carryline.nn.LSTM", "from carryline.nn import LSTM"],
    ids=["attribute", "import"],
)
def test_without_torch_the_extra_is_named(ask: str, python: Run) -> None:
    done = python(WITHOUT_TORCH + ask)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"MissingExtraError: {MESSAGE}")


def test_without_torch_everything_else_is_there(python: Run) -> None:
    """And whoever has another way finds it as Python does it."""
    done = python(
        WITHOUT_TORCH
        + """
import carryline
assert "LSTM" in dir(carryline.nn)
assert not hasattr(carryline.nn, "Transformer")
try:
    from carryline.nn import LSTM
except ImportError as error:
    assert error.name == "torch"
else:
    raise SystemExit("there is no torch here")
"""
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_both_kinds_of_error() -> None:
    error = MissingExtraError("torch", "torch", "carryline.nn.LSTM")
    assert isinstance(error, InputError)
    assert isinstance(error, ValueError)
    assert isinstance(error, ImportError)
    assert str(error) == MESSAGE
    assert error.name == "torch"
