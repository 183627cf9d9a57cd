from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carryline import TextClassifier, load
from conftest import Corpus
from servers import Running, serving

SMALL: dict[str, Any] = {
    "preset": "base", "vocabulary": 300, "embedding": 8, "hidden": 8, "epochs": 2,
    "batch_size": 16, "learning_rate": 0.02,
}  # fmt: skip


@pytest.fixture(scope="session")
def models(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """both: a model that reads both ways and has a linear part; ahead: one that reads one way."""
    folder = tmp_path_factory.mktemp("served")
    more: dict[str, dict[str, Any]] = {
        "both": {"linear": 1 << 12}, "ahead": {"bidirectional": False}
    }  # fmt: skip
    for name, settings in more.items():
        made = TextClassifier(**SMALL, **settings).fit(
            *corpus, valid=0.2, threads=1, baseline=False
        )
        made.save(folder / name)
    return {name: folder / name for name in ("both", "ahead")}


@pytest.fixture(scope="session")
def both(models: dict[str, Path]) -> TextClassifier:
    return load(models["both"])


@pytest.fixture(scope="session")
def ahead(models: dict[str, Path]) -> TextClassifier:
    return load(models["ahead"])


@pytest.fixture(scope="session")
def server(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Of both models, with the usual limits."""
    with serving(tmp_path_factory.mktemp("log") / "log", *models.values()) as running:
        yield running
