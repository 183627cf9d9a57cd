"""Single values as texts and labels: what is one, what is missing, what is neither."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_missing(value: Any) -> bool:
    """None, a NaN, and pandas' NA and NaT."""
    if isinstance(value, float):  # np.float64 among them
        return math.isnan(value)
    if isinstance(value, np.floating | np.datetime64):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def as_text(value: Any) -> str | None:
    """`value` as a text, empty where it is missing; None when it cannot be one."""
    if isinstance(value, str):
        return str(value)
    if is_missing(value):
        return ""
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, int | float) else None


def as_label(value: Any) -> Any:
    """`value` in its one form as a label, None when it is missing.

    Strings lose the white space around them and are missing when nothing else is in them; 1.0
    becomes 1, since columns of whole numbers with gaps are written so. "nan" is somebody's label,
    but in an array of strings it is what NumPy made of a missing one.
    """
    if isinstance(value, np.str_) and value == "nan":
        return None
    if isinstance(value, str):
        return str(value).strip() or None
    if is_missing(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
