"""Every exception that Carryline raises on purpose.

    CarrylineError                 everything below
    ├── InputError (ValueError)    the user can put it right; the command line exits with 2
    │   ├── DataError              a file, a column, a row, a label, an encoding
    │   ├── ConfigError            an unknown setting, a value out of range
    │   ├── ModelError             a model directory that is missing, damaged, hostile or too new
    │   ├── OutputError            an output that exists already or cannot be written
    │   └── MissingExtraError (ImportError)  a part of Carryline that was not installed
    └── TrainingError              training cannot go on (a loss that is not finite); exit 1

A message states the rule and the value that broke it. (What a server answers a request with is in
serving/refusal.py.)
"""

from __future__ import annotations

import importlib.util


class CarrylineError(Exception):
    """Base of all errors that Carryline raises on purpose."""


class InputError(CarrylineError, ValueError):
    """Something given to Carryline is wrong, and the giver can put it right."""


class DataError(InputError):
    """A data file, a column, a row, a label or an encoding is wrong."""


class ConfigError(InputError):
    """A setting is unknown or its value is out of range."""


class ModelError(InputError):
    """A model directory is missing, damaged, hostile or from a newer Carryline."""


class OutputError(InputError):
    """An output exists already or is no place to write to."""


class MissingExtraError(InputError, ImportError):
    """An optional part of Carryline is needed and not installed.

    An `ImportError` too, for those who `try: from carryline.nn import LSTM` and have another way;
    its name is the missing package's.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"pip install 'carryline[{extra}]'"
        )
        self.name = package


def need(package: str, extra: str, purpose: str) -> None:
    """Raises `MissingExtraError` when the package is not installed; it is not imported."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, extra, purpose)


class TrainingError(CarrylineError):
    """Training cannot go on."""
