"""The linear part: logits of what a text is made of, beside those of the recurrent part.

Its features are n-grams (`text/ngrams.py`) and, of a model with word vectors, the text as a bag of
them (`text/bags.py`). Both parts' logits are added, each times its share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from carryline.errors import ModelError
from carryline.recurrence import kernels
from carryline.text.bags import Bags
from carryline.text.cut import Texts, cut_of
from carryline.text.ngrams import Features, Ngrams

Array = NDArray[Any]
FILE = "linear.safetensors"
KINDS = ("words", "characters")
_LARGEST_HEADER = 4096
# Values of the weights of one kind of n-grams at most: 8 MB in a file.
MOST_VALUES = 1 << 22


def most_features(wanted: int, outputs: int) -> int:
    """N-grams of each kind at most, of the wanted ones."""
    return min(wanted, MOST_VALUES // outputs)


class Linear:
    """A fitted linear part.

    arrays: words.keys, characters.keys [features] uint64; words.idf, characters.idf [features];
    words.weight, characters.weight [features, outputs]; with bags bags.weight [outputs, width];
    bias [outputs]; all float32 but the keys, and the weights' values ones that float16 has.
    """

    def __init__(self, arrays: Mapping[str, Array], bags: Bags | None) -> None:
        self.arrays, self.bags = dict(arrays), bags
        self.ngrams = Ngrams(*(Features(arrays[f"{n}.keys"], arrays[f"{n}.idf"]) for n in KINDS))
        if bags is not None:
            self._dense = kernels.Dense(arrays["bags.weight"], arrays["bias"])

    @property
    def parameters(self) -> int:
        """The number of fitted numbers."""
        return sum(a.size for name, a in self.arrays.items() if name.endswith(("weight", "bias")))

    def logits(self, texts: Texts, threads: int) -> Array:
        """[texts, outputs]; of a text the same to the bit whatever stands beside it."""
        cut = cut_of(texts)
        if self.bags is None:
            logits = np.tile(self.arrays["bias"], (len(cut), 1))
        else:
            logits = self._dense(self.bags(cut, threads), threads)
        words, characters = self.ngrams(cut, threads)
        logits += words.product(self.arrays["words.weight"], threads)
        logits += characters.product(self.arrays["characters.weight"], threads)
        return logits

    def pieces(self, texts: Texts, threads: int) -> tuple[Array, ...]:
        """The logits [texts, outputs] of n-grams, and of bags, if there are any, with the bias; but
        for rounding they add up to `logits`."""
        if self.bags is None:
            return (self.logits(texts, threads),)
        dense = self._dense(self.bags(texts, threads), threads)
        return self.logits(texts, threads) - dense, dense

    @property
    def members(self) -> int:
        """How many pieces its logits have."""
        return 1 if self.bags is None else 2

    def times(self, shares: Sequence[float]) -> Linear:
        """The same with each piece's logits so many times as large, but for rounding."""
        last = shares[-1]
        factors = {f"{kind}.weight": shares[0] for kind in KINDS}
        factors |= {"bags.weight": last, "bias": last}
        scaled = {n: a * np.float32(factors[n]) if n in factors else a for n, a in
                  self.arrays.items()}  # fmt: skip
        return Linear(scaled, self.bags)

    def rounded(self) -> Linear:
        """The same with weights as a file has them: the nearest float16."""
        kept = {n: _half(a).astype(np.float32) for n, a in self.arrays.items() if _is_weight(n)}
        return Linear(self.arrays | kept, self.bags)

    def to_bytes(self) -> bytes:
        """The file of it. Raises `ModelError` when the weights are not rounded."""
        weights = {n: _half(a) for n, a in self.arrays.items() if _is_weight(n)}
        if any((half != self.arrays[name]).any() for name, half in weights.items()):
            raise ModelError("the linear part's weights must be rounded, they are not")
        return bytes(save(self.arrays | weights))

    @classmethod
    def from_bytes(
        cls, file: Path, content: bytes, features: int, outputs: int, bags: Bags | None
    ) -> Linear:
        """The linear part that `to_bytes` gave, of at most so many features of each kind.

        Raises `ModelError`.
        """
        try:
            arrays = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{file} is not a safetensors file: {error}") from None
        _check(file, arrays, most_features(features, outputs), outputs, bags)
        try:
            return cls({n: a if n.endswith("keys") else a.astype(np.float32)
                        for n, a in arrays.items()}, bags)  # fmt: skip
        except ValueError as error:
            raise ModelError(f"{file}: {error}") from None


def largest_file(features: int, outputs: int, bags: Bags | None) -> int:
    """Bytes that the file has at most."""
    each = 2 * most_features(features, outputs) * (8 + 4 + 2 * outputs)
    return _LARGEST_HEADER + each + outputs * (4 + (0 if bags is None else 2 * bags.width))


def _is_weight(name: str) -> bool:
    return name.endswith("weight")


def _half(weight: Array) -> Array:
    limit = np.finfo(np.float16).max
    return np.clip(weight, -limit, limit).astype(np.float16)


def _check(
    file: Path, arrays: Mapping[str, Array], most: int, outputs: int, bags: Bags | None
) -> None:
    """Names, types and shapes, and that all values are finite."""
    expected: dict[str, tuple[str, tuple[int, ...]]] = {"bias": ("float32", (outputs,))}
    if bags is not None:
        expected["bags.weight"] = ("float16", (outputs, bags.width))
    for kind in KINDS:
        count = np.size(arrays.get(f"{kind}.keys", ()))
        if count > most:
            raise ModelError(f"{file}: at most {most} features of {kind}, it has {count}")
        expected[f"{kind}.keys"] = ("uint64", (count,))
        expected[f"{kind}.idf"] = ("float32", (count,))
        expected[f"{kind}.weight"] = ("float16", (count, outputs))
    found = {name: (str(a.dtype), a.shape) for name, a in arrays.items()}
    if found != expected:
        odd = sorted(set(found.items()) ^ set(expected.items()))[0]
        raise ModelError(f"{file}: its tensors do not fit the configuration: {odd[0]} {odd[1]}")
    for name, a in arrays.items():
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            raise ModelError(f"{file}: {name} holds a value that is not finite")
