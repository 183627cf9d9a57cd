"""The model directory: what is in it, saving it whole or not at all, loading it.

    config.json        format, settings, classes, how it was made, the SHA-256 of the next five
    tokenizer.json     the subword vocabulary
    model.safetensors  the weights
    vectors.safetensors, words.txt  of a model with whole words (see lexicon.py)
    linear.safetensors the linear part, if there is one (see linear.py)
    history.jsonl      an epoch a line
    metrics.json       the evaluation on the validation part
    plots/*.png        training curves and confusion matrix
    README.md          the model card
    trials.csv         of a search over settings, its trials

What makes one sound is in checks.py; reading.py reads it without running code.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from carryline.errors import ModelError, OutputError
from carryline.files import status_of, write_folder_whole, write_whole
from carryline.model import linear as linears
from carryline.model import network, reading
from carryline.model.checks import (
    FORMAT,
    HASHED,
    LARGEST_CONFIG,
    check_head,
    check_layout,
    check_metrics,
    check_row,
    layout_of,
    limits,
    most_brackets,
)
from carryline.model.config import Config
from carryline.model.lexicon import VECTORS, WEIGHT, WORDS, Lexicon, packed
from carryline.model.linear import Linear
from carryline.text.data import Label
from carryline.text.tokens import visible

# All that stands in a model directory: a run's last checkpoint too (training/folder.py).
FILES = (
    *HASHED, VECTORS, WORDS, linears.FILE, "config.json", "history.jsonl", "metrics.json",
    "README.md", "plots", "checkpoint.safetensors", "trials.csv",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stored:
    """What a model directory holds.

    made: where the model comes from, None when nobody said: `carryline` (version), `date` (ISO,
    UTC), `texts` and `validation_texts`, `class_counts` (of the texts trained on, in the order of
    `classes`), `sources` (of those texts: a list of `name` and `sha256`; empty for texts in
    memory); and `turns`, in how many of them texts were held out before the model was trained on
    all (absent when it was not).
    """

    config: Config
    classes: list[Label]
    tokenizer: str  # JSON
    weights: dict[str, NDArray[np.float32]]
    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    made: dict[str, Any] | None = None
    lexicon: Lexicon | None = None
    linear: Linear | None = None


def holds_model(path: str | Path) -> bool:
    """Whether the folder holds a model, whole as all models are."""
    return (Path(path) / "config.json").exists()


def check_output(path: str | Path, *, replace: bool = False) -> None:
    """Raises `OutputError` unless `path` is free (or, with `replace`, holds a model)."""
    path = Path(path)
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            status_of(path)
    except OSError as error:
        raise OutputError(f"{_shown(path)} cannot be made: {error.strerror}") from None
    if path.is_dir() and not any(path.iterdir()):
        return
    if holds_model(path):
        if replace:
            return _check_own(path)
        raise OutputError(f"{path} already holds a model; choose another folder or delete it")
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} exists and is not an empty folder; choose another one")
    parent = next((p for p in path.absolute().parents if p.exists()), None)
    if parent is None or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"{path} cannot be made: {parent} is not a folder that can be written to")


def _check_own(path: Path) -> None:
    """Raises `OutputError` when a model's folder holds what would be gone with it."""
    others = sorted({entry.name for entry in path.iterdir()} - set(FILES))
    if others:
        named = reprlib.repr(", ".join(others))
        raise OutputError(
            f"{path} holds files that are not Carryline's ({named}): they would be deleted with "
            "the model that gives way; move them elsewhere"
        )


def save(
    path: str | Path,
    stored: Stored,
    *,
    extras: Callable[[Path], None] = lambda folder: None,
    replace: bool = False,
) -> None:
    """Write a model directory: whole, or not at all.

    extras(folder) adds what is made from the rest (plots, card). Raises `OutputError` as
    `check_output` does and when a file would be larger than `load` reads, `OSError` when the disk
    is full.
    """
    check_output(path, replace=replace)
    contents = _contents(stored)

    def fill(folder: Path) -> None:
        for name, content in contents.items():
            write_whole(folder / name, content)
        extras(folder)

    write_folder_whole(Path(path), fill)


def _contents(stored: Stored) -> dict[str, bytes]:
    """The files by name; what `load` would refuse is refused here."""
    for number, row in enumerate(stored.history, 1):
        check_row(Path("history.jsonl"), number, row)
    check_metrics(Path("metrics.json"), stored.metrics, stored.classes)
    outputs = network.outputs(len(stored.classes))
    lexicon, weights = stored.lexicon, dict[str, NDArray[Any]](stored.weights)
    if lexicon is not None:
        weights |= packed(weights[WEIGHT], lexicon.vectors.matrix)
    check_layout(Path("model.safetensors"), layout_of(weights), stored.config, outputs, lexicon)
    files = {
        **(lexicon.files if lexicon else {}),
        **({linears.FILE: stored.linear.to_bytes()} if stored.linear else {}),
        "tokenizer.json": stored.tokenizer.encode(),
        "model.safetensors": save_tensors(weights),
        "history.jsonl": "".join(json.dumps(row) + "\n" for row in stored.history).encode(),
        "metrics.json": _json(stored.metrics),
    }
    head: dict[str, Any] = {
        "format": FORMAT,
        "config": stored.config.to_dict(),
        "classes": stored.classes,
        "sha256": {
            name: hashlib.sha256(files[name]).hexdigest()
            for name in files.keys() - {"history.jsonl", "metrics.json"}
        },
    }
    if stored.made is not None:
        head["made"] = stored.made
    check_head(Path("config.json"), head)
    files["config.json"] = _json(head)
    for name, most in limits(stored.config, stored.classes, lexicon).items():
        if len(files[name]) > most:
            raise OutputError(
                f"{name} would have {len(files[name])} bytes; at most {most} could be read again"
            )
    return files


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def load(path: str | Path) -> Stored:
    """Read a model directory. Raises `ModelError` that says what is wrong with it."""
    path = Path(path)
    _check_folder(path)
    file = path / "config.json"
    head = check_head(file, reading.read_json(file, LARGEST_CONFIG))
    lexicon = reading.read_lexicon(path, head.config, head.hashes)
    most, outputs = limits(head.config, head.classes, lexicon), network.outputs(len(head.classes))
    file = path / "tokenizer.json"
    tokenizer = reading.text_of(file, reading.read_hashed(file, most[file.name], head.hashes))
    weights = reading.read_weights(
        path / "model.safetensors", most["model.safetensors"], head.hashes, head.config, outputs,
        lexicon,
    )  # fmt: skip
    linear = reading.read_linear(path, head.config, outputs, head.hashes, lexicon)
    history = reading.read_history(path / "history.jsonl", most["history.jsonl"])
    file = path / "metrics.json"
    brackets = most_brackets(head.classes)
    metrics = reading.read_json(file, most[file.name], brackets=brackets)
    check_metrics(file, metrics, head.classes)
    return Stored(
        head.config,
        head.classes,
        tokenizer,
        weights,
        history,
        metrics,
        head.made,
        lexicon,
        linear,
    )


def _check_folder(path: Path) -> None:
    """Raises `ModelError` unless there is a folder with a config.json, as far as one may look."""
    try:
        if not stat.S_ISDIR(status_of(path).st_mode):
            raise ModelError(f"no model at {path}: it is not a folder")
        if not holds_model(path):
            raise ModelError(f"no model at {path}: the folder has no config.json")
    except FileNotFoundError:
        raise ModelError(f"no model at {path}: there is no such folder") from None
    except OSError as error:
        raise ModelError(f"no model at {_shown(path)}: {error.strerror}") from None


def _shown(path: Path) -> str:
    """A path for a message: what the system refuses may be long, or no text at all."""
    text = visible(str(path))
    return text if len(text) <= 200 else f"{text[:100]}…{text[-99:]}"
