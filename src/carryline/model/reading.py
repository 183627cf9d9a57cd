"""The files of a model directory, read up to their limits; `ModelError` for what is wrong in them.

Reading one runs no code: JSON and safetensors are data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from carryline import files
from carryline.errors import ModelError
from carryline.model import linear as linears
from carryline.model.checks import (
    LARGEST_HEADER,
    LONGEST_ROW,
    Layout,
    check_layout,
    check_row,
    layout_of,
)
from carryline.model.config import Config
from carryline.model.lexicon import (
    EXPONENTS,
    LARGEST_VECTORS,
    LARGEST_WORDS,
    ROWS,
    VECTORS,
    WEIGHT,
    WORDS,
    Lexicon,
    further_words,
    unpacked,
)
from carryline.model.linear import Linear
from carryline.text.bags import Bags
from carryline.text.vectors import Vectors


def read(file: Path, most: int, *, first: int | None = None) -> bytes:
    """The content of a file of at most `most` bytes, or its `first` bytes."""
    try:
        return files.read(file, most, first=first)
    except FileNotFoundError:
        raise ModelError(f"{file} is missing") from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from None


def read_json(file: Path, most: int, *, brackets: int | None = None) -> Any:
    """The value in a JSON file of at most so many opening brackets."""
    text = text_of(file, read(file, most))
    found = text.count("[") + text.count("{")
    if brackets is not None and found > brackets:
        raise ModelError(f"{file} must hold at most {brackets} lists and objects, it has {found}")
    return parsed(file, text, "it is not JSON")


def read_hashed(file: Path, most: int, hashes: Mapping[str, str]) -> bytes:
    """The content of a file whose hash config.json holds."""
    content = read(file, most)
    if hashlib.sha256(content).hexdigest() != hashes[file.name]:
        raise ModelError(
            f"{file} is damaged or belongs to another model: its SHA-256 is not the one in "
            "config.json"
        )
    return content


def read_history(file: Path, most: int) -> list[dict[str, Any]]:
    """The rows of history.jsonl, an epoch a line."""
    rows = []
    for number, line in enumerate(text_of(file, read(file, most)).splitlines(), 1):
        if len(line) > LONGEST_ROW:
            raise ModelError(f"{file}: line {number} must have at most {LONGEST_ROW} characters")
        rows.append(parsed(file, line, f"line {number} is not JSON"))
        check_row(file, number, rows[-1])
    if not rows:
        raise ModelError(f"{file} must have a line an epoch, it has none")
    return rows


def text_of(file: Path, content: bytes) -> str:
    """The content of a file as text."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{file}: not UTF-8 at byte {error.start}") from None


def parsed(file: Path, text: str, rule: str) -> Any:
    """The JSON value that `text` is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: {rule}: {error}") from None


# --- the words and the weights


def read_lexicon(folder: Path, config: Config, hashes: Mapping[str, str]) -> Lexicon | None:
    """The word vectors and the further words; None for a model without."""
    if config.vectors == "none":
        return None
    file = folder / VECTORS
    content = read_hashed(file, LARGEST_VECTORS, hashes)
    vectors = Vectors.load(file)
    if vectors.matrix.shape[1] != config.embedding:
        raise ModelError(
            f"{file} must have vectors of {config.embedding} values, the model's embedding, it has "
            f"some of {vectors.matrix.shape[1]}"
        )
    file = folder / WORDS
    if file.name not in hashes:
        return Lexicon(vectors, content, [])
    text = text_of(file, read_hashed(file, LARGEST_WORDS, hashes))
    return Lexicon(vectors, content, further_words(file, text, vectors))


def read_linear(
    folder: Path,
    config: Config,
    outputs: int,
    hashes: Mapping[str, str],
    lexicon: Lexicon | None,
) -> Linear | None:
    """The linear part; None for a model without."""
    if not config.linear:
        return None
    file, bags = folder / linears.FILE, Bags(lexicon.vectors) if lexicon else None
    most = linears.largest_file(config.linear, outputs, bags)
    content = read_hashed(file, most, hashes)
    return Linear.from_bytes(file, content, config.linear, outputs, bags)


def read_weights(
    file: Path,
    most: int,
    hashes: Mapping[str, str],
    config: Config,
    outputs: int,
    lexicon: Lexicon | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The weights that `network.parameter_shapes` asks for, in its order.

    Their names, shapes and data types stand in the file's header. It and the size of the file are
    held against the configuration before the rest is read.
    """
    length, found = _header(file, most)
    expected = check_layout(file, found, config, outputs, lexicon)
    size = length + sum(np.dtype(kind).itemsize * prod(shape) for kind, shape in expected.values())
    content = read_hashed(file, size, hashes)
    if len(content) != size:
        raise ModelError(f"{file} must have {size} bytes, it has {len(content)}")
    try:
        weights = load_tensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} is not a safetensors file: {error}") from None
    # what safetensors read may differ from the header when that says a thing twice
    check_layout(file, layout_of(weights), config, outputs, lexicon)
    if lexicon is not None:
        weights[WEIGHT] = unpacked(file, weights, lexicon.vectors.matrix)
    wanted = [name for name in expected if name not in (EXPONENTS, ROWS)]
    for name in wanted:
        if not np.isfinite(weights[name]).all():
            raise ModelError(f"{file}: {name} holds a value that is not finite")
    return {name: weights[name] for name in wanted}


def _header(file: Path, most: int) -> tuple[int, Layout]:
    """Where the data begins, and what the header says of it."""
    start = read(file, most, first=8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > LARGEST_HEADER:
        raise ModelError(
            f"{file} is not a safetensors file: it begins with the length of its header, at most "
            f"{LARGEST_HEADER}, and not with {length}"
        )
    text = text_of(file, read(file, most, first=8 + length)[8:])
    entries = parsed(file, text, "the header is not JSON")
    try:
        return 8 + length, {
            name: (_TYPES.get(entry["dtype"], entry["dtype"]), tuple(entry["shape"]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (AttributeError, KeyError, TypeError):
        raise ModelError(f"{file}: the header must name dtype and shape of each weight") from None


_TYPES = {"F32": "float32", "F64": "float64", "F16": "float16", "I8": "int8", "I32": "int32"}
