"""A damaged checkpoint is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from carryline.errors import ModelError
from carryline.training import checkpoint
from runs import config_of, problem, trained

PARTS = ("weights", "first", "second", "average", "best")


def damage(file: Path, kind: str, value: Any) -> None:
    content = bytearray(file.read_bytes())
    with safe_open(file, framework="np") as opened:
        tensors = {name: opened.get_tensor(name).copy() for name in opened.keys()}  # noqa: SIM118
        notes = dict(opened.metadata())
    if kind == "cut":
        file.write_bytes(content[:value])
    elif kind == "flip":
        content[value] ^= 16
        file.write_bytes(content)
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "notes":
        save_file(tensors, file, {**notes, "notes": value})
    else:
        tensors.pop(value)
        save_file(tensors, file, notes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("cut", length) for length in (0, 7, 8, 500, -1)],
        *[("flip", place) for place in (2, 100, -100)],  # in the length, the header, a tensor
        *[("notes", notes) for notes in ("", "[]", "{}", "[" * 100_000)],
        *[("without", f"{part}/head.bias") for part in PARTS],
        ("folder", None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_damaged_checkpoint_is_refused(kind: str, value: Any, tmp_path: Path) -> None:
    config = config_of(average=0.9)
    trained(config, valid=problem(shift=1), folder=tmp_path)
    damage(tmp_path / checkpoint.NAME, kind, value)
    with pytest.raises(ModelError, match="no checkpoint") as caught:
        trained(config, valid=problem(shift=1), folder=tmp_path, resume=True)
    assert str(tmp_path / checkpoint.NAME) in str(caught.value)


def test_a_checkpoint_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 1)
        trained(config_of(), folder=tmp_path)
    with pytest.raises(ModelError, match="another version of Carryline wrote it"):
        trained(config_of(), folder=tmp_path, resume=True)
