"""The state of a run after an epoch, in one file that is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from carryline.errors import ModelError
from carryline.files import write_whole
from carryline.model.storage import CHECKPOINT_FILES

NAME = CHECKPOINT_FILES[0]


@dataclass
class Checkpoint:
    """tensors: `weights/…`, `best/…`, `adam/…` by parameter; notes: JSON-ready."""

    tensors: dict[str, Tensor]
    notes: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors `name/…`, without the prefix."""
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Put the checkpoint in `folder`, in place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    notes = json.dumps(checkpoint.notes)
    about = {"notes": notes, "sha256": _digest(checkpoint.tensors, notes)}
    write_whole(folder / NAME, save(checkpoint.tensors, about))


def read(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`, None if there is none. Raises `ModelError` if it is damaged."""
    file = folder / NAME
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            about = content.metadata() or {}
            tensors = {name: content.get_tensor(name).clone() for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise _damaged(folder, str(error)) from None
    if about.get("sha256") != _digest(tensors, about.get("notes", "")):
        raise _damaged(folder, "its SHA-256 is not the one it was written with")
    return Checkpoint(tensors, json.loads(about["notes"]))


def _damaged(folder: Path, why: str) -> ModelError:
    return ModelError(f"{folder / NAME} is no checkpoint: {why}; delete {folder} to start afresh")


def _digest(tensors: dict[str, Tensor], notes: str) -> str:
    digest = hashlib.sha256(notes.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
