"""The model directory: what is in it, writing it whole or not at all, refusing a damaged one.

    config.json        format, version, settings, classes, and the SHA-256 of the two files below
    tokenizer.json     the subword vocabulary
    model.safetensors  the weights
    history.jsonl      an epoch a line
    metrics.json       the evaluation on the validation part
    plots/*.png        training curves and confusion matrix
    README.md          the model card

Reading one runs no code: JSON and safetensors are data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from carryline.errors import ConfigError, ModelError, OutputError
from carryline.files import write_whole
from carryline.model import network
from carryline.model.config import Config
from carryline.model.history import KEYS

FORMAT = 1
HASHED = ("tokenizer.json", "model.safetensors")
FIGURES = {"texts", "accuracy", "loss", "macro_f1", "roc_auc", "confusion", "per_class"}
LARGEST_WEIGHTS = 8 << 30  # bytes; two billion parameters
LARGEST_JSON = 256 << 20  # bytes; a vocabulary of a million entries takes some 50 MB
Label = str | int | float | bool


@dataclass(frozen=True, eq=False)
class Stored:
    """What a model directory holds."""

    config: Config
    classes: list[Label]
    tokenizer: str  # JSON
    weights: dict[str, NDArray[np.float32]]
    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None


def holds_model(path: str | Path) -> bool:
    """Whether the folder holds a model, whole as all models are."""
    return (Path(path) / "config.json").exists()


def check_output(path: str | Path, *, replace: bool = False) -> None:
    """Raises `OutputError` unless `path` is free (or, with `replace`, holds a model)."""
    path = Path(path)
    if path.is_dir() and not any(path.iterdir()):
        return
    if holds_model(path):
        if replace:
            return
        raise OutputError(f"{path} already holds a model; choose another folder or delete it")
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} exists and is not an empty folder; choose another one")
    parent = next((p for p in path.absolute().parents if p.exists()), None)
    if parent is None or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"{path} cannot be made: {parent} is not a folder that can be written to")


def save(
    path: str | Path,
    stored: Stored,
    *,
    extras: Callable[[Path], None] = lambda folder: None,
    replace: bool = False,
) -> None:
    """Write a model directory: whole, or not at all.

    extras(folder) adds what is made from the rest (plots, card). Raises `OutputError` as
    `check_output` does, `OSError` when the disk is full.
    """
    check_output(path, replace=replace)
    path = Path(path).resolve()  # a link stays, what it names gives way
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        _write(folder, stored)
        extras(folder)
        folder.chmod(0o755)
        _move(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(folder: Path, stored: Stored) -> None:
    files = {
        "tokenizer.json": stored.tokenizer.encode(),
        "model.safetensors": save_tensors(stored.weights),
        "history.jsonl": "".join(json.dumps(row) + "\n" for row in stored.history).encode(),
        "metrics.json": _json(stored.metrics),
    }
    files["config.json"] = _json(
        {
            "format": FORMAT,
            "config": stored.config.to_dict(),
            "classes": stored.classes,
            "sha256": {name: hashlib.sha256(files[name]).hexdigest() for name in HASHED},
        }
    )
    for name, content in files.items():
        write_whole(folder / name, content)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _move(folder: Path, path: Path) -> None:
    """Bring the finished folder to its place; an older model gives way only at the last moment."""
    if not holds_model(path):
        folder.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        path.replace(old)
        folder.replace(path)
    except BaseException:
        if not path.exists():
            old.replace(path)
        else:
            old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def load(path: str | Path) -> Stored:
    """Read a model directory. Raises `ModelError` that says what is wrong with it."""
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"no model at {path}: there is no such folder")
    if not holds_model(path):
        raise ModelError(f"no model at {path}: the folder has no config.json")
    head = _read_json(path / "config.json", dict)
    config, classes, hashes = _check_head(path, head)
    tokenizer = _read_checked(path / "tokenizer.json", hashes, LARGEST_JSON)
    weights = _read_weights(path / "model.safetensors", hashes, config, classes)
    return Stored(
        config=config,
        classes=classes,
        tokenizer=_decode(path / "tokenizer.json", tokenizer),
        weights=weights,
        history=_read_history(path / "history.jsonl"),
        metrics=_read_metrics(path / "metrics.json"),
    )


def _check_head(
    path: Path, head: Mapping[str, Any]
) -> tuple[Config, list[Label], Mapping[str, str]]:
    file = path / "config.json"
    if head.get("format") != FORMAT:
        raise ModelError(
            f"{file}: this Carryline reads format {FORMAT}, not {head.get('format')!r}"
        )
    odd = head.keys() - {"format", "config", "classes", "sha256"}
    if odd:
        raise ModelError(f"{file}: unknown entries {', '.join(sorted(odd))}")
    settings, classes, hashes = head.get("config"), head.get("classes"), head.get("sha256")
    if not isinstance(settings, dict):
        raise ModelError(f"{file}: 'config' must be an object")
    try:
        config = Config.from_dict(settings)
    except ConfigError as error:
        raise ModelError(f"{file}: {error}") from None
    if not _are_classes(classes):
        raise ModelError(f"{file}: 'classes' must be a list of two or more different labels")
    if not isinstance(hashes, dict) or set(hashes) != set(HASHED):
        raise ModelError(f"{file}: 'sha256' must name {' and '.join(HASHED)}")
    return config, cast(list[Label], classes), hashes


def _are_classes(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(c, str | int | float) for c in value):
        return False
    if any(c != c for c in value):
        return False
    return len(value) >= 2 and len({str(c) for c in value}) == len(value)


def _read(file: Path, most: int = LARGEST_JSON) -> bytes:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{file} must be an ordinary file")
        if status.st_size > most:
            raise ModelError(f"{file} is {status.st_size} bytes; at most {most} are read")
        return file.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{file} is missing") from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from None


def _decode(file: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{file}: not UTF-8 at byte {error.start}") from None


def _read_json(file: Path, kind: type) -> Any:
    content = _read(file)
    try:
        value = json.loads(_decode(file, content))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not JSON: {error}") from None
    if not isinstance(value, kind):
        raise ModelError(f"{file} must hold a JSON {kind.__name__}")
    return value


def _read_checked(file: Path, hashes: Mapping[str, str], most: int) -> bytes:
    content = _read(file, most)
    if hashlib.sha256(content).hexdigest() != hashes[file.name]:
        raise ModelError(
            f"{file} is damaged or belongs to another model: its SHA-256 is not the one in "
            "config.json"
        )
    return content


def _read_weights(
    file: Path, hashes: Mapping[str, str], config: Config, classes: list[Label]
) -> dict[str, NDArray[np.float32]]:
    content = _read_checked(file, hashes, LARGEST_WEIGHTS)
    try:
        weights = load_tensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} is not a safetensors file: {error}") from None
    rows = weights["embedding.weight"].shape[:1] if "embedding.weight" in weights else (0,)
    expected = network.parameter_shapes(config, sum(rows), network.outputs(len(classes)))
    if weights.keys() != expected.keys():
        odd = sorted(weights.keys() ^ expected.keys())
        raise ModelError(f"{file}: the weights do not fit the configuration: {', '.join(odd[:5])}")
    for name, shape in expected.items():
        value = weights[name]
        if value.shape != shape or value.dtype != np.float32:
            raise ModelError(
                f"{file}: {name} must be float32 {list(shape)}, it is {value.dtype} "
                f"{list(value.shape)}"
            )
        if not np.isfinite(value).all():
            raise ModelError(f"{file}: {name} holds a value that is not finite")
    return {name: weights[name] for name in expected}


def _read_history(file: Path) -> list[dict[str, Any]]:
    rows = []
    for line in _decode(file, _read(file)).splitlines():
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            raise ModelError(f"{file}: line {len(rows) + 1} is not JSON") from None
        if not isinstance(rows[-1], dict) or not rows[-1].keys() >= KEYS:
            raise ModelError(f"{file}: line {len(rows)} must be an object with {sorted(KEYS)}")
    if not rows:
        raise ModelError(f"{file} must have a line an epoch, it has none")
    return rows


def _read_metrics(file: Path) -> dict[str, Any] | None:
    value = _read_json(file, object)
    if value is not None and not (isinstance(value, dict) and value.keys() >= FIGURES):
        raise ModelError(f"{file} must hold null or an object with {sorted(FIGURES)}")
    return value
