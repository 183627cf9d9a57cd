"""Recurrent text classifiers on ordinary machines."""

from typing import TYPE_CHECKING, Any

from carryline import nn
from carryline.errors import CarrylineError
from carryline.model.config import Config
from carryline.recurrence.ragged import Ragged
from carryline.tasks.classifier import TextClassifier, load

if TYPE_CHECKING:
    from carryline.training.progress import Callback

__all__ = [
    "Callback", "CarrylineError", "Config", "Ragged", "TextClassifier", "__version__", "load", "nn",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "Callback":  # of training, which predicting does without
        from carryline.training.progress import Callback

        return Callback
    if name != "__version__":
        raise AttributeError(f"module 'carryline' has no attribute {name!r}")
    from importlib.metadata import version  # 70 ms, for those who ask

    return version("carryline")
