"""A text in its words, with what both parts of a model read of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from carryline.recurrence.ragged import Ragged
from carryline.text.tokens import Tokenizer
from carryline.text.words import encodable, parts, words

_SENTENCE = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s|$)|\n+|[。！？]+")


@dataclass(frozen=True, eq=False)
class Units:
    """text: as it is read, its surrogates paired up or replaced; bounds: where in it each word
    begins and ends, its blank before it within, none left out; tokens: the ids of each."""

    text: str
    bounds: list[tuple[int, int]]
    tokens: Ragged

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer) -> Units:
        """The words that the tokenizer cuts (GPT-2's rule): letters, digits or other characters,
        each with a blank before it, and white space."""
        cut = [part for piece in words(text) for part in parts(piece)]
        bounds, end = [], 0
        for part in cut:
            bounds.append((end, end + len(part)))
            end += len(part)
        return cls(encodable(text), bounds, tokenizer.encode_batch(cut))

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def words(self) -> list[str]:
        """Each as it stands in the text."""
        return [self.text[begin:end] for begin, end in self.bounds]

    def single(self) -> list[range]:
        """The number of each word, by itself."""
        return [range(number, number + 1) for number in range(len(self))]

    def sentences(self) -> list[range]:
        """The numbers of the words of each sentence; a sentence ends after its full stop, question
        or exclamation mark, or where a line does."""
        ends = [found.end() for found in _SENTENCE.finditer(self.text)]
        groups, begin, at = [], 0, 0
        for end in [*ends, len(self.text)]:
            while at < len(self) and self.bounds[at][0] < end:
                at += 1
            if at > begin:
                groups.append(range(begin, at))
                begin = at
        return groups
