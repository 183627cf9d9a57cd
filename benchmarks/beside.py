"""The training step of another version of Carryline, in a process of its own."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from batches import Batches
from carryline.errors import CarrylineError

WORKER = Path(__file__).with_name("beside_worker.py")


@contextmanager
def training_steps(site: str, batches: Batches, threads: int) -> Iterator[Callable[[], float]]:
    """A function that takes the steps over all batches once and gives their seconds.

    site: a folder with Carryline in it, as `pip install --no-deps --target` makes it. Its process
    waits for the next call without spinning, and ends with the context.
    Raises `CarrylineError` when the version there cannot take the steps.
    """
    given = {
        "settings": batches.config.to_dict(),
        "vocabulary": batches.vocabulary,
        "batches": [(batch.values, batch.offsets) for batch in batches.ragged],
        "targets": batches.targets,
        "threads": threads,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "given"
        file.write_bytes(pickle.dumps(given))
        command = [sys.executable, str(WORKER), site, str(file)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdin and process.stdout
            questions, answers = process.stdin, process.stdout
            _answer(answers, site)  # that it is ready

            def once() -> float:
                print("once", file=questions, flush=True)
                return float(_answer(answers, site))

            yield once


def _answer(answers: IO[str], site: str) -> str:
    line = answers.readline()
    if not line:
        raise CarrylineError(f"the Carryline in {site} cannot take the steps: see the error above")
    return line
