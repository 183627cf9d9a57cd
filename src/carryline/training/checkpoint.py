"""The state of a run after an epoch, in one file that is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from carryline.errors import ModelError
from carryline.files import write_whole

NAME = "checkpoint.safetensors"
FORMAT = 3

Arrays = dict[str, NDArray[Any]]


@dataclass
class Checkpoint:
    """arrays: `weights/…`; of Adam `first/…`, `second/…` and, where one is kept, `average/…`;
    `best/…` unless these are the last ones.

    notes: JSON-ready; what the run was, and its history.
    """

    arrays: Arrays
    notes: dict[str, Any]

    def part(self, name: str) -> Arrays:
        """The arrays `name/…`, without the prefix."""
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}


def write(folder: Path, checkpoint: Checkpoint, name: str = NAME) -> None:
    """Put the checkpoint in `folder`, in place of the one before."""
    notes = json.dumps({"format": FORMAT, **checkpoint.notes})
    about = {"notes": notes, "sha256": _digest(checkpoint.arrays, notes)}
    write_whole(folder / name, save(checkpoint.arrays, about))


def read(folder: Path, name: str = NAME) -> Checkpoint:
    """The checkpoint in `folder`. Raises `ModelError` if it is damaged."""
    file = folder / name
    try:
        with safe_open(file, framework="np") as content:
            about = content.metadata() or {}
            arrays = {name: content.get_tensor(name).copy() for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        raise _unfit(file, str(error)) from None
    if about.get("sha256") != _digest(arrays, about.get("notes", "")):
        raise _unfit(file, "its SHA-256 is not the one it was written with")
    notes = json.loads(about["notes"])
    if notes.get("format") != FORMAT:
        raise _unfit(file, "another version of Carryline wrote it")
    return Checkpoint(arrays, notes)


def _unfit(file: Path, why: str) -> ModelError:
    return ModelError(f"{file} is no checkpoint to go on from: {why}; without it a run can begin")


def _digest(arrays: Mapping[str, NDArray[Any]], notes: str) -> str:
    digest = hashlib.sha256(notes.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {list(array.shape)} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
