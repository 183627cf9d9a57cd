"""The recipes, on data of a few texts in the layouts that they are for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import carryline
from commands import sentences, write

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
SOURCE = Path(carryline.__file__).parents[1]
QUICK = ("--preset", "small", "--epochs", "1", "--no-baseline", "--set", "vocabulary=300")


def recipe(name: str, folder: Path, *arguments: object, **variables: str) -> tuple[int, str, str]:
    """Status, standard output and standard error; temporary files lie in `folder`/tmp."""
    (folder / "tmp").mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    told = {"PYTHON": sys.executable, "PYTHONPATH": path, "TMPDIR": str(folder / "tmp")}
    command = [str(RECIPES / name), *map(str, arguments)]
    env = {**os.environ, **told, "PYTHONWARNINGS": "error", **variables}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path


def official(root: Path) -> Path:
    """As aclImdb comes, with its texts that have no label."""
    for part, count in (("train", 40), ("test", 10)):
        for number, (text, label) in enumerate(sentences(count, seed=count)):
            file = root / part / label / f"{number}_7.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_text("of no label")
    return root


def test_imdb_from_the_official_folder(folder: Path) -> None:
    data = official(folder / "data" / "aclImdb")
    status, printed, told = recipe("imdb.sh", folder, data, "model", *QUICK)
    assert status == 0, told
    assert re.fullmatch(r"imdb: accuracy [01]\.\d{4} on 10 texts\n", printed)
    assert "40 texts of 2 classes" in told
    assert carryline.load(folder / "model").config.preset == "small"
    assert {path.name for path in folder.iterdir()} == {"data", "model", "tmp"}
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("test_part", [False, True])
def test_imdb_from_parquet(folder: Path, test_part: bool) -> None:
    from pyarrow import csv, parquet

    for name, count in [("train", 50), *([("test", 15)] if test_part else [])]:
        rows = write(folder / "rows.csv", sentences(count))
        parquet.write_table(csv.read_csv(rows), folder / "data" / f"imdb-{name}.parquet")
    status, printed, told = recipe("imdb.sh", folder, "data", "model", *QUICK)
    assert status == 0, told
    assert printed.endswith(f" on {15 if test_part else 10} texts\n") and printed.count("\n") == 1
    assert f"{50 if test_part else 40} texts of 2 classes" in told


def test_sets(folder: Path) -> None:
    for part, count in (("train", 40), ("test", 10)):
        write(folder / "data" / f"trec-{part}.csv", sentences(count))
    write(folder / "data" / "mr.csv", sentences(1106))
    status, printed, told = recipe("sets.sh", folder, "data", "models", *QUICK, SETS="mr trec")
    assert status == 0, told
    figure = r"accuracy [01]\.\d{4} on"
    assert re.fullmatch(f"mr: {figure} 1,066 texts\ntrec: {figure} 10 texts\n", printed)
    assert told.count("40 texts of 2 classes") == 2
    assert {path.name for path in (folder / "models").iterdir()} == {"mr", "trec"}
    assert {path.name for path in folder.iterdir()} == {"data", "models", "tmp"}
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["imdb.sh", "sets.sh"])
def test_what_is_wrong_is_said_and_nothing_printed(name: str, folder: Path) -> None:
    for arguments in ((), ("data",)):
        status, printed, told = recipe(name, folder, *arguments)
        assert (status, printed) == (2, "") and f"usage: recipes/{name} DATA OUT" in told
    status, printed, told = recipe(name, folder, "--help")
    assert (status, told) == (0, "") and f"usage: recipes/{name} DATA OUT" in printed
    status, printed, told = recipe(name, folder, "data", "out", SETS="trec")
    assert status != 0 and printed == "" and "no such file" in told and "Traceback" not in told
    assert list((folder / "tmp").iterdir()) == []
