"""The classifiers that accuracy.py compares, by name.

A new one is a class and a line of `PEERS`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import carryline
import common
from carryline import TextClassifier
from carryline.text.data import Label
from fasttext_peer import FastText, TunedFastText
from linear_peers import NbSvm, Tfidf


class Classifier(Protocol):
    """settings: all that its models depend on beside texts, seed and threads, fit for JSON; chosen:
    those that `fit` chose from them, on the texts that it was given."""

    settings: dict[str, Any]
    chosen: dict[str, Any]

    def fit(self, texts: list[str], labels: list[Label]) -> None: ...

    def predict(self, texts: list[str]) -> list[Label]: ...

    def size(self) -> int:
        """Bytes of the model as saved."""


class Carryline:
    """`TextClassifier()` as it comes, or with another preset or settings. Of the texts given it
    holds out a tenth, to choose the epoch by.

    The baseline that `carryline train` measures for its report is no part of the model, and left
    out.
    """

    def __init__(self, threads: int, seed: int, **given: Any) -> None:
        self.threads = threads
        self.model = TextClassifier(**given)
        self.settings: dict[str, Any] = self.model.config.to_dict()
        self.chosen: dict[str, Any] = {}
        self.model.set_params(seed=self.model.config.seed + seed)

    def fit(self, texts: list[str], labels: list[Label]) -> None:
        self.model.fit(texts, labels, threads=self.threads, baseline=False, verbose=False)
        if self.model.interrupted:  # Ctrl-C ends it in peace, but this is no figure
            raise KeyboardInterrupt
        self.chosen = {"epoch": self.model.best_epoch}

    def predict(self, texts: list[str]) -> list[Label]:
        found: list[Label] = self.model.predict(texts, threads=self.threads).tolist()
        return found

    def size(self) -> int:
        """Of its folder, without the pictures that lie there where matplotlib is installed."""
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(Path(folder) / "model")
            files = [f for f in Path(folder).rglob("*") if f.is_file() and f.suffix != ".png"]
            return sum(file.stat().st_size for file in files)


class Package(NamedTuple):
    """What a peer runs on: as it is imported, as it is installed, the extra that brings it, and the
    files here that say how it is used."""

    module: str
    name: str
    extra: str
    files: Sequence[Path]


class Peer(NamedTuple):
    """title: in tables and pictures; seeded: whether another seed gives another model."""

    title: str
    make: Callable[..., Classifier]
    package: Package
    seeded: bool = True


HERE, SOURCE = Path(__file__).resolve().parent, Path(carryline.__file__).parent
ROOMS = ("text", "recurrence", "model", "training", "tasks")  # that a model depends on
OURS = Package(
    "carryline", "carryline", "", [f for room in ROOMS for f in sorted((SOURCE / room).iterdir())]
)
SKLEARN = Package("sklearn", "scikit-learn", "sklearn", [HERE / "linear_peers.py"])
FASTTEXT = Package("fasttext", "fasttext-wheel", "bench", [HERE / "fasttext_peer.py"])


def lecture(threads: int, seed: int) -> Classifier:
    return Carryline(threads, seed, preset="lecture")


PEERS = {
    "carryline": Peer("Carryline", Carryline, OURS),
    "lecture": Peer("Carryline, lecture", lecture, OURS),
    "tfidf": Peer("TF-IDF + LR", Tfidf, SKLEARN, seeded=False),
    "nbsvm": Peer("NB-SVM", NbSvm, SKLEARN, seeded=False),
    "fasttext": Peer("fastText", FastText, FASTTEXT),
    "fasttext-tuned": Peer("fastText, tuned", TunedFastText, FASTTEXT),
}


def missing(name: str) -> str:
    """Why a peer is left out, "" when it is not."""
    _, package, extra, _ = found = PEERS[name].package
    if common.installed(found.module):
        return ""
    return f"{name} is left out, it needs {package}: pip install 'carryline[{extra}]'"


def code(name: str) -> str:
    """A digest of what a peer does: its files, and the version of its package."""
    package, found = PEERS[name].package, hashlib.sha256()
    for file in package.files:
        if file.suffix in (".py", ".so", ".pyd"):
            found.update(file.read_bytes())
    return f"{common.version_of(package.name)}-{found.hexdigest()[:12]}"
