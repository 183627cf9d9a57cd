"""From a text and a model to an explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import DataError
from carryline.explaining import exact, gradients, occlusion
from carryline.explaining.explanation import Explanation, Span
from carryline.explaining.units import Units
from carryline.model.linear import Linear
from carryline.model.network import Network, probabilities
from carryline.text.data import Label, key
from carryline.text.tokens import Tokenizer

Array = NDArray[Any]
GRADIENTS, OCCLUSION = "gradients", "occlusion"
WAYS = (GRADIENTS, OCCLUSION)  # integrated gradients; what is lost without the words
WORDS, SENTENCES = "words", "sentences"
SPANS = (WORDS, SENTENCES)
MOST_WORDS = 20_000  # of a text: gates and states of all its tokens are kept for the way back
# Tokens that are read at most where the cost is the square of a text's length.
MOST_TOKENS = 1 << 24


@dataclass(frozen=True, eq=False)
class Explainer:
    """The parts of a model that explanations need. logits: of texts [texts, outputs], by all."""

    classes: Sequence[Label]
    tokenizer: Tokenizer
    network: Network
    linear: Linear | None
    logits: Callable[[Sequence[str]], Array]
    threads: int

    def __call__(
        self, text: str, label: Label | None = None, way: str = GRADIENTS, by: str = WORDS
    ) -> Explanation:
        """Why the text gets the label, None for the most probable one.

        Raises `DataError` for a label that the model does not know, an unknown way or kind of
        spans, and a text that is too long.
        """
        _check("way", way, WAYS)
        _check("by", by, SPANS)
        units = Units.of(text, self.tokenizer)
        if len(units) > MOST_WORDS:
            raise DataError(
                f"a text to explain has at most {MOST_WORDS:,} words, it has {len(units):,}: "
                "explain a part of it"
            )
        logits = self.logits([text])[0]
        chances = probabilities(logits[None])[0]
        number = int(chances.argmax()) if label is None else self._number(label)
        direction = towards(number, len(self.classes))
        groups = units.sentences() if by == SENTENCES else units.single()
        return Explanation(
            units.text,
            tuple(self.classes),
            tuple(chances.tolist()),
            self.classes[number],
            float(logits.astype(np.float64) @ direction),
            self._spans(units, groups, direction, way),
            way,
        )

    def _number(self, label: Label) -> int:
        """Of a class, by what it is called, as in data from a file."""
        for number, known in enumerate(self.classes):
            if str(label) in (str(known), key(known)):
                return number
        names = ", ".join(map(str, self.classes))
        raise DataError(f"the label {label!r} is none of the model's: {names}")

    def _spans(
        self, units: Units, groups: Sequence[range], direction: Array, way: str
    ) -> tuple[Span, ...]:
        """groups: of words, one after the other, none left out."""
        starts = [group.start for group in groups]
        linear = np.add.reduceat(self._linear(units, direction), starts).tolist() if starts else []
        recurrent = self._recurrent(units, groups, direction, way)
        begins = [units.bounds[start][0] for start in starts]
        ends = [units.bounds[group.stop - 1][1] for group in groups]
        after = self._after(units, ends)
        return tuple(
            Span(*each)
            for each in zip(begins, ends, linear, recurrent.tolist(), after, strict=True)
        )

    def _linear(self, units: Units, direction: Array) -> Array:
        """[words]: white space has no part, it is no word of this one."""
        found = np.zeros(len(units))
        if self.linear is not None:
            own = [number for number, word in enumerate(units.words) if not word.isspace()]
            found[own] = exact.parts(self.linear, units.text, self.threads) @ direction
        return found

    def _recurrent(
        self, units: Units, groups: Sequence[range], direction: Array, way: str
    ) -> Array:
        """[groups]"""
        rows = units.tokens.like(self.tokenizer.rows_of(units.tokens.values))
        if way == OCCLUSION:
            _check_cost(len(groups), len(rows.values))
            return occlusion.parts(self.network, rows, groups, direction, self.threads)
        each = gradients.parts(self.network, rows.values, direction, self.threads)
        so_far = np.concatenate([[0.0], np.cumsum(each)])
        words = np.array([(group.start, group.stop) for group in groups], np.int64).reshape(-1, 2)
        begin, end = rows.offsets[words].T
        found: Array = so_far[end] - so_far[begin]
        return found

    def _after(self, units: Units, ends: Sequence[int]) -> list[tuple[float, ...] | None]:
        """The probabilities of the text up to each end, where the model reads one way."""
        tokens = len(units.tokens.values)
        if self.network.config.bidirectional or len(ends) * tokens > MOST_TOKENS:
            return [None] * len(ends)
        texts = [units.text[:end] for end in ends]
        if self.network.config.mask:
            logits = self.logits(texts)
        else:  # a batch would be filled up to its longest text
            logits = np.concatenate([self.logits([text]) for text in texts] or [self.logits([])])
        return [tuple(row) for row in probabilities(logits).tolist()]


def towards(number: int, classes: int) -> Array:
    """[outputs]: what makes of logits how far one class is above the mean of the others."""
    if classes == 2:  # of one output, or of two
        return np.array([1.0 if number else -1.0])
    direction = np.full(classes, -1 / (classes - 1))
    direction[number] = 1.0
    return direction


def _check(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise DataError(f"{what} must be one of {', '.join(known)}, it is {value!r}")


def _check_cost(groups: int, tokens: int) -> None:
    if groups * tokens > MOST_TOKENS:
        raise DataError(
            f"way={OCCLUSION} reads a text once for each of its spans, at most {MOST_TOKENS:,} "
            f"tokens, here {groups * tokens:,}: take by={SENTENCES} or way={GRADIENTS}"
        )
