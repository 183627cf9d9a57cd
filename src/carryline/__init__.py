"""Recurrent text classifiers on ordinary machines."""

from typing import Any

from carryline.classifier import TextClassifier, load
from carryline.config import Config
from carryline.errors import CarrylineError
from carryline.ragged import Ragged

__all__ = ["CarrylineError", "Config", "Ragged", "TextClassifier", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module 'carryline' has no attribute {name!r}")
    from importlib.metadata import version  # 70 ms, for those who ask

    return version("carryline")
