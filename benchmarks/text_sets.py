"""Labelled sets of texts for accuracy.py: their training and test parts, and draws from them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carryline.errors import DataError
from carryline.text import data
from carryline.text.data import Dataset, Label

SETS = ("mr", "trec", "banking77", "bbc", "tweet-irony", "imdb")
MR_TEST = 1066  # its last rows, for it has no file of test texts
# A part split off for the figures when the test part is absent or is not to be looked at: the same
# texts as `carryline train --valid-fraction 0.2 --seed 1` holds out.
FRACTION, SEED = 0.2, 1


@dataclass(frozen=True)
class Part:
    """Texts and their labels."""

    texts: list[str]
    labels: list[Label]

    def take(self, rows: Sequence[int]) -> Part:
        return Part([self.texts[row] for row in rows], [self.labels[row] for row in rows])

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextSet:
    name: str
    train: Part
    test: Part

    @property
    def classes(self) -> list[Label]:
        return sorted({*self.train.labels, *self.test.labels}, key=str)

    @property
    def digest(self) -> str:
        """The same for the same texts and labels in the same order."""
        found = hashlib.sha256()
        for part in (self.train, self.test):
            for row in zip(part.texts, part.labels, strict=True):
                found.update(f"{row!r}\n".encode(errors="backslashreplace"))
        return found.hexdigest()[:12]


def folder() -> Path:
    """Where the sets are when nobody says: $CARRYLINE_DATA, else ../shared/data."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    return Path(os.environ.get("CARRYLINE_DATA") or beside)


def there(name: str, where: Path, imdb: Path | None = None) -> bool:
    """Whether the folders hold its training part."""
    if name == "imdb" and imdb:
        return imdb.is_dir()
    files = {"mr": "mr.csv", "imdb": "imdb-train.parquet"}
    return (where / files.get(name, f"{name}-train.csv")).is_file()


def read(name: str, where: Path, imdb: Path | None = None, validate: bool = False) -> TextSet:
    """A set from the files in the folder `where`.

    imdb: the official folder aclImdb, of which the set imdb then is; without it there is no test
    part of imdb. validate: never look at the test part, but split one off the training part.
    Raises `DataError` when a file is missing.
    """
    train, test = _mr(where) if name == "mr" else _sources(name, where, imdb)
    if test is None or validate:
        rows, held = data.split(train.labels, FRACTION, SEED)
        return TextSet(name, train.take(rows.tolist()), train.take(held.tolist()))
    return TextSet(name, train, test if isinstance(test, Part) else _part(data.read(test)))


def _mr(where: Path) -> tuple[Part, Part]:
    both = _part(data.read(where / "mr.csv"))
    begin = len(both) - MR_TEST
    if begin < 1:
        raise DataError(f"mr has more than {MR_TEST:,} texts, this one has {len(both):,}")
    return both.take(range(begin)), both.take(range(begin, len(both)))


def _sources(name: str, where: Path, imdb: Path | None) -> tuple[Part, Path | None]:
    """The training part, and where the test part is, not read yet."""
    if name != "imdb":
        return _part(data.read(where / f"{name}-train.csv")), where / f"{name}-test.csv"
    if imdb is None:
        return _part(data.read(where / "imdb-train.parquet")), None
    return _part(data.read(imdb / "train")), imdb / "test"


def _part(found: Dataset) -> Part:
    return Part(found.texts, found.labels or [])


def draw(labels: Sequence[Label], count: int, seed: int) -> list[int]:
    """Rows of `count` texts, or of all where there are no more, in a random order.

    Not stratified, but with a text of each class where there are no more classes than texts. The
    first texts of a larger draw with the same seed are those of a smaller one.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels)).tolist()
    seen: set[Label] = set()
    first: list[int] = []
    rest: list[int] = []
    for row in shuffled:
        (rest if labels[row] in seen else first).append(row)
        seen.add(labels[row])
    if len(first) > count:
        return list(shuffled[:count])
    return [*first, *rest][:count]
