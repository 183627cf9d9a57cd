"""What the benchmarks share: interleaved rounds, medians, the machine's description, the last line.

A benchmark names its contenders and hands them to `interleave`, which lets them run in turn
(A B A B …), so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carryline.machine import default_threads, instruction_set


@dataclass(frozen=True)
class Contender:
    """work: does all of it once; units: how many (tokens, texts) that is; warmups: untimed runs."""

    name: str
    work: Callable[[], object]
    units: int
    warmups: int = 2


def interleave(contenders: Sequence[Contender], rounds: int) -> dict[str, list[float]]:
    """Units a second of each contender in each round."""
    for contender in contenders:
        for number in range(contender.warmups):
            _tell(f"warming up {contender.name}, {number + 1} of {contender.warmups}")
            contender.work()
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            began = time.perf_counter()
            contender.work()
            rates[contender.name].append(contender.units / (time.perf_counter() - began))
            _tell(
                f"round {number + 1}, {contender.name}: {rates[contender.name][-1]:,.0f} a second"
            )
    return rates


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times faster, round by round."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def machine(*packages: str) -> dict[str, Any]:
    """What the figures were made on; packages: names of those whose versions matter.

    load: processes running or waiting in the last minute; more than 0 before a benchmark begins
    means that it shares the machine.
    """
    return {
        "cpu": _cpu(),
        "cores": default_threads(),
        "instruction_set": instruction_set(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("carryline", "numpy", *packages)},
        },
    }


def describe(about: dict[str, Any]) -> str:
    """`machine`'s result in two lines."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['instruction_set']} in use, "
        f"{about['system']}, load {about['load']}\n{versions}"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first one the head; the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def finish(result: dict[str, Any]) -> None:
    """The last line of every benchmark: one JSON object."""
    print(json.dumps(result))


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=5, help="timed runs of each contender")
    return parser


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it must be a whole number of 1 or more, it is {text!r}")
    return int(text)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
