from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import Result

from commands import TINY, done, sentences, write


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write(folder / "train.csv", sentences(200))
    write(folder / "test.csv", sentences(40, seed=1))
    return folder


@pytest.fixture(scope="session")
def train_csv(corpus: Path) -> Path:
    return corpus / "train.csv"


@pytest.fixture(scope="session")
def test_csv(corpus: Path) -> Path:
    return corpus / "test.csv"


@pytest.fixture(scope="session")
def trained(corpus: Path) -> tuple[Path, Result]:
    """A model, and what training it printed."""
    out = corpus / "models" / "tiny"
    arguments = ["--epochs", 4, "--seed", 1, "--out", out, "--json"]
    return out, done("train", corpus / "train.csv", *TINY, *arguments)


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Result]) -> Path:
    return trained[0]


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A model that may be damaged."""
    return shutil.copytree(model, tmp_path / "copy")
