from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carryline import TextClassifier
from conftest import Corpus
from page_server import HOSTILE, chromium, looking, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Of these tests alone: while there is one, asyncio runs nothing else."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def odd(corpus: Corpus, tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads one way alone, of seven classes: markup's name is the most frequent."""
    folder = tmp_path_factory.mktemp("odd") / "odd"
    names = [HOSTILE, HOSTILE, HOSTILE, "مرحبا", *"abcde"]
    texts = [text for text in corpus[0] if text]
    labels = [names[at % len(names)] for at in range(len(texts))]
    settings = {**tiny, "bidirectional": False, "epochs": 1}
    TextClassifier(**settings).fit(texts, labels, threads=1, verbose=False, out=folder)
    return folder


@pytest.fixture(scope="package")
def address(browser: Browser, model: Path, odd: Path) -> Iterator[str]:
    """Of a server of two models that takes little at a time."""
    limits = ("--max-texts", 4, "--max-body", 4000, "--max-tokens", 300)
    with serving(f"plain={model}", f"odd={odd}", *limits) as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with looking(browser, address) as found:
        yield found
