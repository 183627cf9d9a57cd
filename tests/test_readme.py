"""The README's blocks run as they stand, one after another in one folder, on small made-up data
that is named as there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import carryline
from commands import sentences, write

README = Path(__file__).resolve().parent.parent / "README.md"
SOURCE = Path(carryline.__file__).parents[1]
RUN = ("sh", "console", "python")
SHOWN = ("text",)  # what a program printed, and the tree
# Blocks that are not run, by their first command, and why.
LEFT = {
    "make demo": "takes minutes, and is what CI runs",
    "carryline serve model": "answers until it is stopped; tests/serving does so",
    "python3 -m venv .venv": "installs from the network; test_wheel.py does so",
    'pip install "$(ls dist/carryline-*.whl)[sklearn,plot]"': "installs; test_wheel.py does so",
    "pip install torch --index-url https://download.pytorch.org/whl/cpu": "installs",
}


@dataclass
class Block:
    language: str
    text: str

    @property
    def first(self) -> str:
        """The first command, without its comment."""
        return re.split(r"\s+#|\n", self.text, maxsplit=1)[0]

    @property
    def script(self) -> list[str]:
        """What runs it: a program and its arguments."""
        if self.language == "python":
            return [sys.executable, "-W", "error", "-c", self.text]
        commands = self.text
        if self.language == "console":
            commands = "\n".join(re.findall(r"^\$ (.*)$", self.text, re.MULTILINE))
        return ["sh", "-eu", "-c", commands]


def blocks() -> list[Block]:
    text = README.read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)]


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """Where somebody stands who has the files that the README names, and `carryline`."""
    for name, header, count in (
        ("reviews.csv", "review,sentiment", 200),
        ("test.csv", "review,sentiment", 40),
        ("mr.csv", "text,label", 100),
        ("imdb-train.csv", "text,label", 200),
    ):
        write(tmp_path / name, sentences(count), header)
    from pyarrow import csv, parquet

    parquet.write_table(csv.read_csv(tmp_path / "imdb-train.csv"), tmp_path / "imdb-train.parquet")
    shutil.copytree(model, tmp_path / "runs" / "base")
    program = tmp_path / "bin" / "carryline"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m carryline "$@"\n')
    program.chmod(0o755)
    return tmp_path


def test_every_block_is_run_or_left_for_a_reason() -> None:
    found = blocks()
    assert {block.language for block in found} <= {*RUN, *SHOWN}
    first = [block.first for block in found if block.language in RUN]
    assert set(LEFT) <= set(first), "a reason for a block that is not there"
    assert len(first) - len(LEFT) > 5
    assert not re.search(r"^    (\$ |make |pip |carryline )", README.read_text("utf-8"), re.M)


@pytest.mark.slow
def test_the_blocks_run_as_they_stand(folder: Path) -> None:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    python = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PATH": path, "PYTHONPATH": python, "PYTHONUTF8": "1"}
    for block in blocks():
        if block.language not in RUN or block.first in LEFT:
            continue
        done = subprocess.run(
            block.script, cwd=folder, env=env, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        if block.language == "console":
            shown = [line for line in block.text.splitlines() if not line.startswith("$ ")]
            assert after_figures(done.stdout.splitlines()) == after_figures(shown)


def after_figures(lines: list[str]) -> list[str]:
    """What `predict` prints behind the probabilities, which differ with the model: the texts."""
    return [line.partition(")")[2].rstrip() for line in lines]
