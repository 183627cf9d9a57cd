"""The state of a run after an epoch, in one file that is written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from carryline.errors import ModelError
from carryline.storage import CHECKPOINT_FILES, write_whole

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
    notes = {"notes": json.dumps(checkpoint.notes)}
    write_whole(folder / NAME, save(checkpoint.tensors, notes))


def read(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`, None if there is none. Raises `ModelError` if it is damaged."""
    file = folder / NAME
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            tensors = {name: content.get_tensor(name).clone() for name in content.keys()}  # noqa: SIM118
            notes = json.loads((content.metadata() or {})["notes"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ModelError(f"{file} is no checkpoint: {error}; delete {folder} to start") from None
    return Checkpoint(tensors, notes)
