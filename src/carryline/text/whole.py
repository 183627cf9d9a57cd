"""Whole words as tokens: which written word is one, and in which form.

A word has six forms: after a blank or not, in lower case, Capitalised or in CAPITALS. All of them
have the same row of the embedding. A word that is written in none of them ("iPhone"), or whose
small and large letters do not stand for each other ("ß" has none, "İ" becomes two characters), is
cut into pieces as if it were unknown: what is one token can always be told back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _capitalised(word: str) -> str:
    return word[:1].upper() + word[1:]


_CASES: tuple[Callable[[str], str], ...] = (str, _capitalised, str.upper)
FORMS = 2 * len(_CASES)


class Whole:
    """Words that are tokens. Form f of word k has the id first + `FORMS` k + f.

    words: in lower case, none twice; first: the number of other ids, which are below.
    """

    def __init__(self, words: Sequence[str], first: int) -> None:
        self.words, self.first = words, first
        self._numbers = {word: number for number, word in enumerate(words)}

    @property
    def size(self) -> int:
        """The number of ids, those below `first` among them."""
        return self.first + FORMS * len(self.words)

    def id(self, part: str) -> int | None:
        """The id of a cut word, with at most one blank before it; None when it is no token."""
        written = part.removeprefix(" ")
        word = written.lower()
        number = self._numbers.get(word)
        if number is None:
            return None
        for case, write in enumerate(_CASES):
            if write(word) == written:
                blank = len(written) < len(part)
                return self.first + FORMS * number + case + len(_CASES) * blank
        return None

    def text(self, i: int) -> str:
        """What the id of a form stands for."""
        number, form = divmod(i - self.first, FORMS)
        blank, case = divmod(form, len(_CASES))
        return " " * blank + _CASES[case](self.words[number])

    def rows(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """The row of the embedding that each id reads: one for all forms of a word."""
        found: NDArray[np.int32] = ids.astype(np.int32)
        among = ids >= self.first
        found[among] = self.first + (found[among] - self.first) // FORMS
        return found
