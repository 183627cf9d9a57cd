"""fastText's supervised model of words and word pairs: a peer of accuracy.py.

It reads lower-case words and marks with spaces between, as its authors prepare texts. On several
threads the same seed does not give the same model. Its table of word pairs has two million rows of
100 numbers whatever the texts: 800 MB in memory and on the disk.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from carryline.text.data import Label, split
from linear_peers import TOKEN

ARGUMENTS: dict[str, Any] = {"wordNgrams": 2}  # else as it comes: 5 epochs, rate 0.1
EPOCHS, RATES = (5, 25, 100), (0.1, 0.5, 1.0)  # to choose from
READINGS = 500_000  # epochs times texts at most
HELD = 0.1
LABEL = "__label__"


class FastText:
    """With the settings that it comes with."""

    def __init__(self, threads: int, seed: int) -> None:
        self.about = {"thread": threads, "seed": seed, "verbose": 0}
        self.settings: dict[str, Any] = dict(ARGUMENTS)
        self.chosen: dict[str, Any] = {}
        self.classes: list[Label] = []
        self.model: Any = None

    def fit(self, texts: list[str], labels: list[Label]) -> None:
        import fasttext

        self.model = None  # before there is another
        self.classes = sorted(set(labels), key=str)
        numbers = {label: number for number, label in enumerate(self.classes)}
        rows = zip(labels, lines(texts), strict=True)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "texts.txt"
            content = [f"{LABEL}{numbers[label]} {line}\n" for label, line in rows]
            file.write_text("".join(content), encoding="utf-8")
            self.model = fasttext.train_supervised(
                str(file), **ARGUMENTS, **self.chosen, **self.about
            )

    def predict(self, texts: list[str]) -> list[Label]:
        # All at once: the answer to a single text is made in a way that NumPy 2 refuses.
        answers, _ = self.model.predict(lines(texts))
        return [self.classes[int(one[0].removeprefix(LABEL))] for one in answers]

    def size(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.bin"
            self.model.save_model(str(file))
            return file.stat().st_size


class TunedFastText(FastText):
    """With the epochs and the learning rate that are best on a tenth of the texts, held out."""

    def __init__(self, threads: int, seed: int) -> None:
        super().__init__(threads, seed)
        self.settings |= {"epochs": EPOCHS, "rates": RATES, "readings": READINGS, "held": HELD}

    def fit(self, texts: list[str], labels: list[Label]) -> None:
        train, held = split(labels, HELD, self.about["seed"])
        parts = [([texts[i] for i in rows], [labels[i] for i in rows]) for rows in (train, held)]
        best = -1
        chosen = {"epoch": EPOCHS[0], "lr": RATES[0]}
        for epochs, rate in product(EPOCHS, RATES):
            if epochs > EPOCHS[0] and epochs * len(texts) > READINGS:
                continue
            self.chosen = {"epoch": epochs, "lr": rate}
            right = self._right(*parts)
            if right > best:
                best, chosen = right, self.chosen
        self.chosen = chosen
        super().fit(texts, labels)

    def _right(
        self, train: tuple[list[str], list[Label]], held: tuple[list[str], list[Label]]
    ) -> int:
        """Texts of those held out; fewer than none where training ends in an error, as it does when
        it diverges."""
        try:
            super().fit(*train)
        except RuntimeError:
            return -1
        return sum(a == b for a, b in zip(self.predict(held[0]), held[1], strict=True))


def lines(texts: Sequence[str]) -> list[str]:
    """A line a text, without what fastText would take for a label or cannot take at all."""
    found = [" ".join(re.findall(TOKEN, text.lower())) for text in texts]
    return [one.replace(LABEL, "label ").encode(errors="replace").decode() for one in found]
