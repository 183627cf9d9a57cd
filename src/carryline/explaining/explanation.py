"""A decision with each word's part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carryline.text.data import Label


@dataclass(frozen=True)
class Span:
    """A word, or a sentence, of a text, and its part in the score.

    begin, end: characters of the text; linear, recurrent: what it has of each part of the model;
    after: the probabilities when the text ends here, of a model that reads one way alone.
    """

    begin: int
    end: int
    linear: float
    recurrent: float
    after: tuple[float, ...] | None = None

    @property
    def part(self) -> float:
        return self.linear + self.recurrent


@dataclass(frozen=True)
class Explanation:
    """Why a text gets `label`, or how far it speaks for another one that was asked for.

    The score is how far the label's logit is above the mean of the others'; of two labels it is
    the log-odds, log p / (1 - p). The spans' parts and `rest` add up to it: the rest is
    what an empty text would have too, and what the way of explaining cannot share out.

    text: as the model reads it (a lone surrogate is U+FFFD); probabilities: of `classes`; way: how
    the recurrent part's were found, see `WAYS`.
    """

    text: str
    classes: tuple[Label, ...]
    probabilities: tuple[float, ...]
    label: Label
    score: float
    spans: tuple[Span, ...]
    way: str

    @property
    def rest(self) -> float:
        return self.score - sum(span.part for span in self.spans)

    @property
    def probability(self) -> float:
        """Of the label."""
        return self.probabilities[self.classes.index(self.label)]

    def strongest(self) -> list[Span]:
        """The spans from the largest part for the label to the largest against it; of equal ones
        the first."""
        return sorted(self.spans, key=lambda span: -span.part)

    def of(self, span: Span) -> str:
        """Its text."""
        return self.text[span.begin : span.end]

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return {
            "text": self.text,
            "label": self.label,
            "probability": self.probability,
            "classes": list(self.classes),
            "probabilities": list(self.probabilities),
            "score": self.score,
            "rest": self.rest,
            "way": self.way,
            "spans": [self._span(span) for span in self.spans],
        }

    def _span(self, span: Span) -> dict[str, Any]:
        found: dict[str, Any] = {
            "text": self.of(span), "begin": span.begin, "end": span.end, "part": span.part,
            "linear": span.linear, "recurrent": span.recurrent,
        }  # fmt: skip
        return found if span.after is None else found | {"after": list(span.after)}
