"""Run all benchmarks and write benchmarks/RESULTS.md: what each printed, and the command for it.

    python benchmarks/results.py

The data are IMDB's reviews, imdb-train.parquet in the folder that the environment variable
CARRYLINE_DATA names (default: ../shared/data), and for short.py mr.csv and trec-train.csv there;
where they are absent, made-up texts. The machine must do nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import common
from carryline.files import write_whole
from carryline.recurrence.machine import instruction_sets

HERE = Path(__file__).resolve().parent
FILE = HERE / "RESULTS.md"
# Where the machine multiplies bfloat16 in one instruction: without, it is slower than fp32.
BF16 = (
    [["training.py", "--net", "lecture,256,512", "--batches", "4", "--precision", "bf16"]]
    if "avx512_bf16" in instruction_sets()
    else []
)
REVIEWS = ("imdb-train.parquet",)
SHORT = {"short.py": ("mr.csv", "trec-train.csv"), "start.py": ("mr.csv",)}
COMMANDS = (
    ["training.py", "--packed", "2", "--keras", "4"],
    ["training.py", "--net", "128,256,2x256,512", "--batches", "4"],
    *BF16,
    ["short.py"],
    ["start.py"],
    ["cells.py"],
    ["inference.py"],
    ["latency.py"],
    ["scaling.py"],
    ["roofline.py"],
    ["serving.py"],
)


def files(benchmark: str) -> list[Path]:
    """The data of a benchmark, those that are there."""
    beside = HERE.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("CARRYLINE_DATA") or beside)
    names = SHORT.get(benchmark, REVIEWS)
    return [folder / name for name in names if (folder / name).is_file()]


def section(command: Sequence[str], more: Sequence[str]) -> str:
    """Run a benchmark; its command and what it printed, without the JSON."""
    given, data = [*command[1:], *more], files(command[0])
    options = [part for file in data for part in ("--data", str(file))]
    done = subprocess.run(
        [sys.executable, str(HERE / command[0]), *given, *options],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    *printed, last = done.stdout.splitlines()
    json.loads(last)
    shown = " ".join([f"python benchmarks/{command[0]}", *given])
    shown += "".join(f" --data {file.name}" for file in data)
    text = "\n".join(line.rstrip() for line in printed).strip()
    return f"```text\n$ {shown}\n\n{text}\n```"


def document(commands: Sequence[Sequence[str]], more: Sequence[str]) -> str:
    """RESULTS.md; more: options for every benchmark."""
    head = (
        f"# Results\n\nMade by `make bench` on\n\n```text\n{common.describe(common.machine())}\n```"
    )
    note = (
        "Each benchmark says in its first lines what it asks, its ceiling and how it is measured."
    )
    sections = [section(command, more) for command in commands]
    return "\n\n".join([head, note, *sections]) + "\n"


def main(more: Sequence[str]) -> int:
    """more: options for every benchmark, such as --rounds 3."""
    try:
        content = document(COMMANDS, more)
    except subprocess.CalledProcessError as error:
        print(f"{FILE.name} is not written: {error}", file=sys.stderr)
        return 1
    write_whole(FILE, content.encode())
    print(FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
