"""Recurrent text classifiers on ordinary machines."""

from importlib.metadata import version

from carryline.classifier import TextClassifier, load
from carryline.config import Config
from carryline.errors import CarrylineError
from carryline.ragged import Ragged

__version__ = version("carryline")
__all__ = ["CarrylineError", "Config", "Ragged", "TextClassifier", "__version__", "load"]
