r"""Text to token ids and back: byte-level BPE, an exact round trip for every string.

A text is cut into words (GPT-2's rule), each word into bytes, and neighbouring bytes are joined
as the merges say, the earliest learned first. All 256 bytes are in the vocabulary, so nothing is
unknown; there is no normalizer and no prefix space, so nothing is lost. A tokenizer may have whole
words too (`whole.py`), which are looked for first.

| text | result |
|---|---|
| empty | no tokens |
| `<pad>`, written out | its characters; id 0 never comes out of `encode` |
| a high and a low surrogate side by side | the character the pair stands for |
| any other lone surrogate | U+FFFD, the replacement character: UTF-8 has no bytes for it |
| one word of any length | as any word; the time is linear in its length |

`<pad>` is an ordinary entry that no merge makes, not a "special token": `tokenizers` would look
for those inside texts, and a review that mentions `<pad>` would be read as padding.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models, pre_tokenizers, trainers

from carryline import files
from carryline.errors import ConfigError, InputError, ModelError
from carryline.recurrence.ragged import Ragged
from carryline.text.cut import Cut, spread
from carryline.text.whole import Whole
from carryline.text.words import Words, encodable

PAD = 0
PAD_PIECE = "<pad>"
SMALLEST = 257  # <pad> and the bytes
LARGEST = 1 << 20
# Training is quadratic in the longest word ("a" a million times over took nine minutes), so it
# learns from words cut to this many bytes. Encoding is not, and does not cut.
LONGEST_PIECE = 256
# Characters, about. A quarter of 25,000 IMDB reviews teaches a vocabulary that cuts other reviews
# into 0.24% more tokens than that of all of them, in a third of the time.
LEARNED_FROM = 1 << 23
RULES = 1  # of learning and encoding; raised with every change to either, for the cache's sake


def _alphabet() -> dict[str, int]:
    """The printable character that stands for each byte, in the order of their ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    characters |= {chr(256 + i): byte for i, byte in enumerate(others)}
    return dict(sorted(characters.items()))


_BYTES = _alphabet()


class Tokenizer:
    """A trained vocabulary. Safe to share between threads; made by `train`, `load`, `from_json`."""

    def __init__(self, merges: Sequence[tuple[str, str]], words: Sequence[str] = ()) -> None:
        """words: tokens of their own, in lower case, as `vectors.words_of` cuts them."""
        self._merges, self._document = merges, _document(merges)
        self._json = json.dumps(self._document, ensure_ascii=False, separators=(",", ":"))
        self._tokenizer = tokenizers.Tokenizer.from_str(self._json)
        self._whole = Whole(words, len(self._document["model"]["vocab"]))
        self._words = Words(self._tokenizer, self._whole if words else None)

    def with_words(self, words: Sequence[str]) -> Tokenizer:
        """The same pieces, and these whole words."""
        return Tokenizer(self._merges, words)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int = 8185) -> Tokenizer:
        """Learn at most `vocabulary` entries, `<pad>` and the 256 bytes included.

        The same texts in the same order give the same tokenizer whatever the number of threads.
        Few or no texts give fewer entries; of many, a sample of about `LEARNED_FROM` characters is
        read. Raises `ConfigError` when `vocabulary` is out of range.
        """
        if not SMALLEST <= vocabulary <= LARGEST:
            raise ConfigError(f"{SMALLEST} <= vocabulary <= {LARGEST}, it is {vocabulary}")
        learner = tokenizers.Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.ByteLevel(add_prefix_space=False),
                pre_tokenizers.FixedLength(LONGEST_PIECE),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD_PIECE],
            initial_alphabet=list(_BYTES),
            show_progress=False,
        )
        chosen = _sample(list(texts))
        learner.train_from_iterator((encodable(text) for text in chosen), trainer)
        merges = json.loads(learner.to_str())["model"]["merges"]
        return cls([(left, right) for left, right in merges])

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """The tokenizer in a `tokenizer.json`. Raises `ModelError` as `from_json` does."""
        try:
            return cls.from_json(files.read(Path(path), largest_file(LARGEST)).decode())
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ModelError(f"{path} must be UTF-8; byte {error.start} is not") from None

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that `to_json` wrote.

        Raises `ModelError` unless `text` says exactly what `to_json` would write for its merges:
        another kind of tokenizer would give other ids than the model was trained on.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"tokenizer.json is not JSON: {error}") from None
        merges = _merges(found)
        difference = next(_differences("", _document(merges), found), None)
        if difference:
            raise ModelError(f"tokenizer.json is not one of Carryline's: {difference}")
        return cls(merges)

    def to_json(self) -> str:
        """The contents of `tokenizer.json`, which are the pieces; the `tokenizers` library reads it
        to the same ids, but for whole words."""
        return self._json

    @property
    def size(self) -> int:
        """Entries of the vocabulary; ids go from 0 to `size - 1`."""
        return self._whole.size

    @property
    def words(self) -> Sequence[str]:
        """The whole words; each has an entry for every form that it may be written in."""
        return self._whole.words

    @property
    def rows(self) -> int:
        """Rows of an embedding: one for each piece, then one for each word."""
        return self._whole.first + len(self._whole.words)

    def rows_of(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """The row of each id."""
        return self._whole.rows(ids) if self.words else ids

    def encode(self, text: str) -> list[int]:
        """The ids of one text."""
        ids: list[int] = self.encode_batch([text]).values.tolist()
        return ids

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """The ids of each text, as `encode` gives them: int32 values."""
        return self._words.encode(texts)

    def encode_cut(self, cut: Cut) -> Ragged:  # the same of texts that are cut already
        return Ragged(*spread(cut, self._words.ids_of(cut.pieces)))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; `<pad>` is no text, and bytes that are no character become U+FFFD.

        Raises `InputError` for an id outside the vocabulary.
        """
        return b"".join(self._piece(i) for i in ids).decode("utf-8", "replace")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        r"""What a person sees beside each id: `TensorFlow`, ` is`, `\n`, `\xe2\x82`, `<pad>`."""
        return [
            PAD_PIECE if i == PAD else visible(self._piece(i).decode("utf-8", "backslashreplace"))
            for i in ids
        ]

    def _piece(self, i: int) -> bytes:
        if not 0 <= i < self.size:
            raise InputError(f"ids go from 0 to {self.size - 1}, one is {i}")
        return self._whole.text(i).encode() if i >= self._whole.first else self._pieces[i]

    @cached_property
    def _pieces(self) -> list[bytes]:
        entries = list(self._document["model"]["vocab"])
        return [b"", *(bytes(_BYTES[c] for c in entry) for entry in entries[1:])]


def largest_file(vocabulary: int) -> int:
    """Bytes that a `tokenizer.json` of at most so many entries has at most.

    An entry is there twice, in up to two bytes a character. So long are few: in a large vocabulary
    they take about 50 bytes each.
    """
    return (1 << 12) + min(vocabulary * (4 * LONGEST_PIECE + 64), (1 << 24) + 64 * vocabulary)


def visible(text: str) -> str:
    r"""`text` on one line, characters that do not print written as escapes (`\n`, `\x00`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _sample(texts: list[str]) -> list[str]:
    """The texts, or of very many the first of a shuffle, which is the same every time."""
    lengths = np.array([len(text) for text in texts], np.int64)
    if lengths.sum() <= LEARNED_FROM:
        return texts
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(texts))
    enough = int(np.searchsorted(np.cumsum(lengths[order]), LEARNED_FROM)) + 1
    return [texts[i] for i in order[:enough]]


def _document(merges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A whole `tokenizer.json`. The merges determine it: each makes the next entry.

    No two learned merges make the same piece: between two ends that no merge has crossed, a string
    is joined in the same way wherever it stands.
    """
    vocabulary = {piece: i for i, piece in enumerate([PAD_PIECE, *_BYTES])}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False}
    byte_level |= {"trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(merge) for merge in merges],
        },
    }


def _merges(found: Any) -> list[tuple[str, str]]:
    """The merges in a parsed `tokenizer.json`, each of two earlier pieces."""
    model = found.get("model") if isinstance(found, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(merges, list):
        raise ModelError("tokenizer.json is not a byte-level BPE: it has no list model.merges")
    if len(merges) > LARGEST:
        raise ModelError(f"tokenizer.json has at most {LARGEST} merges, it has {len(merges)}")
    pieces = set(_BYTES)
    for number, merge in enumerate(merges):
        if not (isinstance(merge, list) and len(merge) == 2 and _known(merge, pieces)):
            raise ModelError(
                "tokenizer.json: a merge is a pair of earlier pieces, "
                f"number {number} is {reprlib.repr(merge)}"
            )
        piece = merge[0] + merge[1]
        if piece in pieces or piece == PAD_PIECE or len(piece) > LONGEST_PIECE:
            raise ModelError(
                f"tokenizer.json: a merge makes a new piece of at most {LONGEST_PIECE} bytes "
                f"and not {PAD_PIECE}, number {number} is {reprlib.repr(merge)}"
            )
        pieces.add(piece)
    return [(left, right) for left, right in merges]


def _known(merge: list[Any], pieces: set[str]) -> bool:
    return all(isinstance(piece, str) and piece in pieces for piece in merge)


def _differences(where: str, expected: Any, found: Any) -> Iterator[str]:
    """How a parsed document differs from the one that Carryline would write."""
    if not (isinstance(expected, dict) and isinstance(found, dict)):
        if type(found) is not type(expected) or found != expected:
            rule = reprlib.repr(expected)
            yield f"{where or 'the document'} must be {rule}, it is {reprlib.repr(found)}"
        return
    for key in (key for key in expected if key not in found):
        yield f"{where or 'the document'} lacks {reprlib.repr(key)}"
    for key in (key for key in found if key not in expected):
        yield f"{where or 'the document'} has an unknown entry {reprlib.repr(key)}"
    for key in expected:
        yield from _differences(f"{where}.{key}" if where else key, expected[key], found[key])
