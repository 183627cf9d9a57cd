"""What tokenizing gave, kept on disk for the next run on the same texts.

Learning a vocabulary from 25,000 reviews and encoding them takes as long as half an epoch; reading
the ids takes a tenth of a second. An entry is a safetensors file, named by the SHA-256 of all that
determines it (texts, settings, rules) and with one over its own contents, written whole or not at
all. One that is damaged, or cannot be read or written, is as one that is not there: results never
depend on the cache. Beyond `LIMIT` those that were not read for the longest time are deleted.

The environment variable CARRYLINE_CACHE names the folder (`~/.cache/carryline` without it, after
XDG_CACHE_HOME); empty, it switches the cache off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from carryline.files import write_whole
from carryline.recurrence.ragged import Ragged
from carryline.text import vectors
from carryline.text.tokens import RULES, Tokenizer

Arrays = dict[str, NDArray[Any]]
LIMIT = 2 << 30  # bytes of all entries
LEAST = 1 << 17  # characters of texts worth an entry; of fewer a vocabulary is learned in 0.05 s


def vocabulary(texts: Sequence[str], size: int, announce: Callable[[str], None]) -> Tokenizer:
    """`Tokenizer.train(texts, size)`; announce is called when there is something to learn."""

    def learn() -> Arrays:
        announce(f"learning a vocabulary of {size} subwords")
        document = Tokenizer.train(texts, size).to_json()
        return {"tokenizer": np.frombuffer(document.encode(), np.uint8)}

    found = _remembered(texts, f"vocabulary of {size}", learn)
    return Tokenizer.from_json(found["tokenizer"].tobytes().decode())


def frequent_words(texts: Sequence[str], least: int) -> list[str]:
    """`vectors.frequent_words(texts, least)`."""

    def count() -> Arrays:
        found = "\n".join(vectors.frequent_words(texts, least))
        return {"words": np.frombuffer(found.encode(), np.uint8)}

    found = _remembered(texts, f"words there {least} times", count)
    return list(filter(None, found["words"].tobytes().decode().split("\n")))


def ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Ragged:
    """`tokenizer.encode_batch(texts)`."""

    def encode() -> Arrays:
        ragged = tokenizer.encode_batch(texts)
        return {"values": ragged.values, "offsets": ragged.offsets}

    rule = "\n".join([f"ids by {tokenizer.to_json()}", *tokenizer.words])
    return Ragged(**_remembered(texts, rule, encode))


def _remembered(texts: Sequence[str], rule: str, make: Callable[[], Arrays]) -> Arrays:
    """What `make()` gives, or gave when it was last called for these texts and this rule."""
    folder = _folder()
    if folder is None or sum(map(len, texts)) < LEAST:
        return make()
    key = _key(texts, rule)
    file = folder / f"tokens-{key}.safetensors"
    arrays = _read(file, key)
    if arrays is None:
        arrays = make()
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(file, save(arrays, {"sha256": _digest(key, arrays)}))
            _trim(folder)
    return arrays


def _folder() -> Path | None:
    """Where entries lie; None for no cache."""
    named = os.environ.get("CARRYLINE_CACHE")
    if named is not None:
        return Path(named) if named else None
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "carryline"
    except RuntimeError:  # nobody knows where home is
        return None


def _key(texts: Sequence[str], rule: str) -> str:
    """Of everything that determines an entry; with the lengths, as texts end to end do not tell."""
    lengths = np.array([len(text) for text in texts], np.int64)
    rules = f"{RULES} {tokenizers.__version__} {rule} {len(texts)} "
    digest = hashlib.sha256(rules.encode() + lengths.tobytes())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _digest(key: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of an entry's key and contents."""
    digest = hashlib.sha256(key.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(file: Path, key: str) -> Arrays | None:
    """The entry, from now on the newest; None when it is not there or not as it was written."""
    try:
        with safe_open(file, framework="np") as content:
            about = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except Exception:  # whatever a damaged file makes of itself: it is made again
        return None
    if about.get("sha256") != _digest(key, arrays):
        return None
    with suppress(OSError):
        os.utime(file)
    return arrays


def _trim(folder: Path) -> None:
    """Delete the oldest entries beyond `LIMIT`, and with age what a killed process began."""
    names = f"*tokens-{'[0-9a-f]' * 64}.safetensors*"
    files = [(file.stat(), file) for file in folder.glob(names)]
    held = 0
    for status, file in sorted(files, key=lambda each: each[0].st_mtime, reverse=True):
        held += status.st_size
        if held > LIMIT:
            file.unlink(missing_ok=True)
