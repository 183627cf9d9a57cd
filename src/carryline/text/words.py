"""Ids word by word: words repeat, so those of each are found once and kept.

Most of the time of `tokenizers` goes into cutting texts into words. Here `re` cuts, and only words
never seen go to the library: 3.3 times as fast on reviews. A character that is not ASCII is of a
class that `re` does not know as the library does; what stands between the blanks around it is
left in one piece, which the library cuts. Where whole words are tokens (`whole.py`), these are
looked up first, and the library gets what is none.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import tokenizers
from tokenizers import pre_tokenizers

from carryline.recurrence.ragged import Ragged, offsets_of
from carryline.text.whole import Whole

_WORD = re.compile(  # GPT-2's rule for ASCII
    r"'(?:s|t|re|ve|m|ll|d)| ?(?:[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]+)|\s+(?!\S)|\s+", re.ASCII
)
_BLANK = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # White_Space
_PIECE = re.compile(f" ?[^{_BLANK}]+|[{_BLANK}]+(?![^{_BLANK}])|[{_BLANK}]+")  # the rule for blanks
_PARTS = pre_tokenizers.ByteLevel(add_prefix_space=False)  # GPT-2's rule for all of Unicode
_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXTS_AT_ONCE = 1024
_MOST_KEPT = 1 << 21  # characters of words; some 50 MB with their ids
_FEW = 256  # characters of words that are encoded sooner than other threads are woken


class Words:
    """The words that a tokenizer of the library has encoded. Safe to share between threads."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, whole: Whole | None = None) -> None:
        self._tokenizer, self._whole = tokenizer, whole
        self._known: dict[str, bytes] = {}  # ids as int32
        self._kept = 0  # characters

    def encode(self, texts: Sequence[str]) -> Ragged:
        """The ids of each text, int32 values: as the library gives them but for whole words."""
        rows: list[bytes] = []
        for begin in range(0, len(texts), _TEXTS_AT_ONCE):
            cut = [words(text) for text in texts[begin : begin + _TEXTS_AT_ONCE]]
            ids = self._ids(set().union(*cut))
            rows += [b"".join(map(ids.__getitem__, each)) for each in cut]
        values = np.frombuffer(bytearray().join(rows), np.int32)
        return Ragged(values, offsets_of([len(row) // values.itemsize for row in rows]))

    def ids_of(self, pieces: Sequence[str]) -> list[bytes]:
        """Of what `words` cuts the ids, int32, each one's in a row of their own."""
        known = self._ids(set(pieces))
        return [known[piece] for piece in pieces]

    def _ids(self, wanted: set[str]) -> dict[str, bytes]:
        """The ids of these words and others.

        No entry is ever taken out of a dictionary, it is left whole: other threads may hold it.
        """
        if self._kept > _MOST_KEPT:
            self._known, self._kept = {}, 0
        known = self._known
        new = list(wanted.difference(known))
        found = self._by_library(new) if self._whole is None else self._by_word(new, self._whole)
        known.update(zip(new, found, strict=True))
        self._kept += sum(map(len, new))
        return known

    def _by_library(self, new: list[str]) -> Iterable[bytes]:
        encode, encode_many = self._tokenizer.encode, self._tokenizer.encode_batch_fast
        found = map(encode, new) if sum(map(len, new)) <= _FEW else encode_many(new)
        return (array("i", each.ids).tobytes() for each in found)

    def _by_word(self, new: list[str], whole: Whole) -> Iterable[bytes]:
        """Those of whole words, and the library's of what is between them."""
        cut = [parts(piece) for piece in new]
        tokens = {part: whole.id(part) for part in chain.from_iterable(cut)}
        ids = {part: array("i", [i]).tobytes() for part, i in tokens.items() if i is not None}
        others = [part for part, i in tokens.items() if i is None]
        ids.update(zip(others, self._by_library(others), strict=True))
        return (b"".join(map(ids.__getitem__, each)) for each in cut)


def words(text: str) -> list[str]:
    """The words of GPT-2's rule, those around a character that is not ASCII in one piece."""
    if text.isascii():
        return _WORD.findall(text)
    pieces = _PIECE.findall(encodable(text))
    return [word for p in pieces for word in (_WORD.findall(p) if p.isascii() else (p,))]


def parts(piece: str) -> list[str]:
    """The words in a piece that `words` cut, by the same rule for all of Unicode."""
    if piece.isascii():
        return [piece]
    return [piece[begin:end] for _, (begin, end) in _PARTS.pre_tokenize_str(piece)]


def encodable(text: str) -> str:
    """`text` with its surrogates paired up or replaced, so that UTF-8 can hold it."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
