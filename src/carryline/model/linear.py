"""The linear part: logits of what a text is made of, beside those of the recurrent part.

Its features are n-grams (`text/ngrams.py`) and, of a model with word vectors, the text as a bag of
them (`text/bags.py`). Both parts' logits are added, each times its share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import kernels
from carryline.text.bags import Bags
from carryline.text.ngrams import Features, Ngrams

Array = NDArray[Any]
Arrays = dict[str, NDArray[Any]]
# Values of the weights of one kind of n-grams at most: 8 MB in a file.
MOST_VALUES = 1 << 22


def most_features(wanted: int, outputs: int) -> int:
    """N-grams of each kind at most, of the wanted ones."""
    return min(wanted, MOST_VALUES // outputs)


class Linear:
    """A fitted linear part.

    arrays: words.keys, characters.keys [features] uint64; words.idf, characters.idf [features];
    words.weight, characters.weight [features, outputs]; with bags bags.weight [outputs, width];
    bias [outputs]; all float32 but the keys.
    """

    def __init__(self, arrays: Mapping[str, Array], bags: Bags | None) -> None:
        self.arrays, self.bags = dict(arrays), bags
        self.ngrams = Ngrams(
            *(Features(arrays[f"{n}.keys"], arrays[f"{n}.idf"]) for n in ("words", "characters"))
        )
        if bags is not None:
            self._dense = kernels.Dense(arrays["bags.weight"], arrays["bias"])

    @property
    def parameters(self) -> int:
        """The number of fitted numbers."""
        return sum(a.size for name, a in self.arrays.items() if name.endswith(("weight", "bias")))

    def logits(self, texts: Sequence[str], threads: int) -> Array:
        """[texts, outputs]; of a text the same to the bit whatever stands beside it."""
        if self.bags is None:
            logits = np.tile(self.arrays["bias"], (len(texts), 1))
        else:
            logits = self._dense(self.bags(texts, threads), threads)
        words, characters = self.ngrams(texts, threads)
        logits += words.product(self.arrays["words.weight"], threads)
        logits += characters.product(self.arrays["characters.weight"], threads)
        return logits

    def times(self, share: float) -> Linear:
        """The same with logits so many times as large."""
        scaled = {
            name: (a * np.float32(share)).astype(np.float32)
            if name.endswith(("weight", "bias"))
            else a
            for name, a in self.arrays.items()
        }
        return Linear(scaled, self.bags)
