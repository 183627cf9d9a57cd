"""Many texts through a classifier, a bar over them while they go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from carryline.cli.output import bar

if TYPE_CHECKING:
    from carryline.tasks.classifier import TextClassifier

TEXTS = 2048  # about, at once: a second or two of long ones


def probabilities(
    classifier: TextClassifier,
    texts: Sequence[str],
    what: str,
    *,
    pad_to: int = 0,
    threads: int | None = None,
) -> tuple[NDArray[Any], int]:
    """[texts, classes] as `predict_proba` gives them in one call, and how many tokens were read.

    what: the bar's words for it.
    """
    from carryline.model import network

    # Without a mask every batch is filled up to its longest text: the batches must stay the same.
    batch = classifier.config.batch_size
    size = max(TEXTS // batch, 1) * batch
    parts, tokens = [], 0
    with bar(len(texts), what, shown=len(texts) > size) as advance:
        for begin in range(0, len(texts), size):
            ragged = classifier.tokenizer.encode_batch(texts[begin : begin + size])
            logits = classifier.network.logits(ragged, pad_to=pad_to, threads=threads)
            parts.append(network.probabilities(logits))
            tokens += len(ragged.values)
            advance(len(ragged))
    return np.concatenate(parts), tokens
