"""The only batch type: sequences of different lengths end to end, and their time-major plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.recurrence import _kernels

IntArray = NDArray[np.int64]
MOST_KEPT = 1 << 19  # tokens and texts of a plan that is kept: four of them take some 50 MB at most


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences end to end: text `i` is `values[offsets[i]:offsets[i + 1]]`.

    values: [tokens, ...] a NumPy array or a torch tensor; offsets: [texts + 1] int64, from 0 to
    `len(values)`, never falling. There is no padding. Raises `ValueError` when they do not fit.
    """

    values: Any
    offsets: IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", np.asarray(self.offsets, dtype=np.int64))
        offsets = self.offsets
        if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0:
            raise ValueError("offsets must be one-dimensional and begin with 0")
        if (np.diff(offsets) < 0).any() or offsets[-1] != len(self.values):
            raise ValueError(
                f"offsets must never fall and end at the number of values, {len(self.values)}; "
                f"they end at {offsets[-1]}"
            )

    @staticmethod
    def from_lists(rows: Sequence[Sequence[int]]) -> Ragged:
        """Token ids, a list a text, as int32 values."""
        offsets = offsets_of([len(row) for row in rows])
        values = np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))
        return Ragged(values, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> Any:
        if not -len(self) <= text < len(self):
            raise IndexError(f"text {text} of {len(self)}")
        text %= len(self)
        return self.values[self.offsets[text] : self.offsets[text + 1]]

    def __iter__(self) -> Iterator[Any]:
        return (self[text] for text in range(len(self)))

    @property
    def lengths(self) -> IntArray:
        """[texts] tokens of each text."""
        return np.diff(self.offsets)

    def like(self, values: Any) -> Ragged:
        """Other values for the same sequences."""
        if len(values) != len(self.values):
            raise ValueError(
                f"offsets must end at the number of values, {len(values)}; they end at "
                f"{len(self.values)}"
            )
        other: Ragged = object.__new__(Ragged)  # offsets are checked: torch.compile could not
        object.__setattr__(other, "values", values)
        object.__setattr__(other, "offsets", self.offsets)
        return other

    def take(self, texts: Sequence[int] | IntArray) -> Ragged:
        """The chosen texts, in that order; of one alone the values are not copied."""
        texts = np.asarray(texts, dtype=np.int64)
        if len(texts) == 1:
            alone = self[int(texts[0])]
            return Ragged(alone, offsets_of([len(alone)]))
        first = self.offsets[:-1][texts]
        offsets, places = _places(first, self.offsets[1:][texts] - first)
        return Ragged(self.values[places], offsets)

    def without(self, value: int) -> Ragged:
        """Every occurrence of `value` taken out (the pads of somebody else's batch)."""
        keep = self.values != value
        if keep.all():
            return self
        dropped = np.flatnonzero(~keep)
        return Ragged(self.values[keep], self.offsets - np.searchsorted(dropped, self.offsets))

    def filled(self, length: int, value: int) -> Ragged:
        """Every text shorter than `length` filled up to it with `value`, at its end."""
        if self.lengths.min(initial=length) >= length:
            return self
        offsets = offsets_of(np.maximum(self.lengths, length))
        values = np.full(offsets[-1], value, self.values.dtype)
        values[_places(offsets[:-1], self.lengths)[1]] = self.values
        return Ragged(values, offsets)

    def windows(self, steps: int) -> Iterator[Ragged]:
        """The sequences cut into windows of `steps`, for truncated back-propagation through time.

        Each window holds all texts, those that have ended as empty ones, so that states carried
        from one window to the next stay beside their texts.
        """
        if steps < 1:
            raise ValueError(f"a window has at least 1 step, not {steps}")
        longest = int(self.lengths.max(initial=0))
        for begin in range(0, longest, steps):
            first = np.minimum(self.offsets[:-1] + begin, self.offsets[1:])
            offsets, places = _places(first, np.minimum(self.offsets[1:] - first, steps))
            yield Ragged(self.values[places], offsets)

    @cached_property
    def plan(self) -> Plan:
        return plan_of(self.offsets)


class Plan:
    """The time-major order in which kernels walk sequences: all first tokens, then all second ones.

    Texts stand by falling length, so the texts still going at a step are the first ones and the
    work is exactly the tokens that exist. A text's place in that order is its rank.

    offsets: [texts + 1] int64, as `Ragged` has them.
    order: [texts] the text at each rank (equal lengths keep their order).
    lengths: [texts] by rank.
    starts: [steps + 1] int64, position of each step's first token.
    """

    def __init__(self, offsets: IntArray) -> None:
        self.offsets = offsets
        self.order: IntArray
        self.order, self.lengths, self.starts = _kernels.plan(offsets)

    @property
    def texts(self) -> int:
        return len(self.order)

    @property
    def steps(self) -> int:
        return len(self.starts) - 1

    @property
    def tokens(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def positions(self) -> IntArray:
        """[tokens] the text-major token at each time-major position."""
        return _kernels.positions(self.offsets, self.order, self.starts)

    def time_major(self, values: Any) -> NDArray[np.int32]:
        """[tokens] whole numbers, given text-major, at their positions, which need not be made.

        Of one text alone both are the same, and so may be the array.
        """
        narrow = np.ascontiguousarray(values, dtype=np.int32)
        if self.texts == 1 and len(narrow) == self.tokens:
            return narrow
        return _kernels.time_major(narrow, self.offsets, self.order, self.starts)

    @cached_property
    def rank(self) -> IntArray:
        """[tokens] the rank of each time-major token's text."""
        return np.arange(self.tokens) - np.repeat(self.starts[:-1], np.diff(self.starts))

    @cached_property
    def inverse_order(self) -> IntArray:
        """[texts] the rank of each text."""
        return _inverse(self.order)

    @cached_property
    def inverse_positions(self) -> IntArray:
        """[tokens] the time-major position of each text-major token."""
        return _inverse(self.positions)


def offsets_of(lengths: Sequence[int] | IntArray) -> IntArray:
    """[texts + 1] where texts of these lengths begin, end to end, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, dtype=np.int64, out=offsets[1:])
    return offsets


def _places(first: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """Offsets for texts of these lengths, and the place of each token when text i's lie from
    `first[i]` on."""
    offsets = offsets_of(lengths)
    return offsets, np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])


def plan_of(offsets: IntArray) -> Plan:
    """The plan of these offsets; the last four are kept: making one takes 0.4 ms for 21,000 tokens.

    So all layers of a step share theirs, and its backward pass, though torch hands each of them no
    more than a tensor of offsets. Those of very many tokens or texts are not kept.
    """
    if offsets.size and offsets.size + offsets[-1] > MOST_KEPT:
        return Plan(offsets.copy())
    return _kept_plan(offsets.tobytes())


@lru_cache(maxsize=4)
def _kept_plan(offsets: bytes) -> Plan:
    return Plan(np.frombuffer(offsets, np.int64).copy())


def _inverse(permutation: IntArray) -> IntArray:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse
