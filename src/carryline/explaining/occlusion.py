"""What the recurrent part's logits lose without some of a text's words, for each such group.

A text without the words is a text like any other: nothing stands in their place. All of them are
read in batches by the kernels (Zeiler & Fergus 2014; of words Li, Monroe & Jurafsky 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.model.network import Network
from carryline.recurrence.ragged import Ragged

Array = NDArray[Any]
TOKENS_AT_ONCE = 1 << 18


def parts(
    network: Network, tokens: Ragged, groups: Sequence[range], direction: Array, threads: int
) -> Array:
    """[groups] float64: direction · (logits of the whole text - of the text without the group).

    tokens: rows of the embedding, of each word; groups: numbers of words one after the other.
    """
    ids, starts = tokens.values, tokens.offsets
    lost = [(int(starts[group.start]), int(starts[group.stop])) for group in groups]
    found = np.empty(len(groups))
    whole = network.logits(Ragged(ids, np.array([0, len(ids)])), threads=threads)[0]
    # Without a mask a batch is filled up to its longest text: each is then read alone.
    at_once = max(1, TOKENS_AT_ONCE // max(1, len(ids))) if network.config.mask else 1
    for begin in range(0, len(lost), at_once):
        chunk = lost[begin : begin + at_once]
        rows = [np.concatenate([ids[:first], ids[last:]]) for first, last in chunk]
        offsets = np.cumsum([0, *map(len, rows)])
        logits = network.logits(Ragged(np.concatenate(rows), offsets), threads=threads)
        found[begin : begin + len(chunk)] = (whole - logits).astype(np.float64) @ direction
    return found
