"""What the benchmarks share: options, medians, tables, the last line.

A benchmark names its contenders and hands them to `interleave`, which times them in turn as
`carryline bench` does. Its figures go through `compared` into a table and into the JSON of the last
line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from carryline import bench
from carryline.bench import Contender
from carryline.errors import CarrylineError
from carryline.recurrence.machine import cpu, default_threads, instruction_set

Result = dict[str, Any]
PEERS = (
    "torch", "onnx", "onnxruntime", "tokenizers", "tensorflow-cpu", "keras", "scikit-learn",
    "fasttext-wheel",
)  # fmt: skip


def interleave(contenders: Sequence[Contender], rounds: int) -> dict[str, list[float]]:
    """Units a second of each contender in each round; standard error says how it goes."""
    return bench.interleave(
        contenders, rounds, tell=lambda message: print(message, file=sys.stderr, flush=True)
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times faster, round by round."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def compared(rates: Mapping[str, Sequence[float]], flop: int, peak: float) -> Result:
    """Tokens a second of all contenders, and how many times faster than each the first one is.

    flop: floating-point operations a token; peak: those a second that the machine could do.
    """
    first = next(iter(rates))
    speeds = {name: spread(values) for name, values in rates.items()}
    return {
        "flop_a_token": flop,
        "tokens_per_second": speeds,
        "share_of_peak": {name: speed["median"] * flop / peak for name, speed in speeds.items()},
        "ratio": {n: ratios(rates[first], values) for n, values in rates.items() if n != first},
    }


def speeds(found: Result, peak: float) -> str:
    """What `compared` found, as a table; peak: see there."""
    first = next(iter(found["tokens_per_second"]))
    rows = [["", "tokens/s", "lowest", "highest", "of the peak", f"{first} is faster by"]]
    for name, rate in found["tokens_per_second"].items():
        ratio = found["ratio"].get(name)
        share = f"{found['share_of_peak'][name]:.1%}"
        rows.append([name, *between(rate, ",.0f"), share, times(ratio) if ratio else ""])
    rows.append(["fp32 peak", f"{peak / found['flop_a_token']:,.0f}", "", "", "100.0%", ""])
    return table(rows)


def between(found: Mapping[str, float], style: str) -> list[str]:
    """`spread`'s three figures."""
    return [format(found[key], style) for key in ("median", "min", "max")]


def times(ratio: Mapping[str, float]) -> str:
    """`ratios`' three figures."""
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**ratio)


def missing(*packages: str) -> list[str]:
    """Those that are not installed, each as a line to print."""
    return [f"{name} is not installed: left out" for name in packages if not installed(name)]


def installed(*packages: str) -> bool:
    """Whether all of them are."""
    return all(importlib.util.find_spec(package) for package in packages)


def machine() -> Result:
    """What the figures were made on.

    load: processes running or waiting in the last minute; more than 0 before a benchmark begins
    means that it shares the machine.
    """
    return {
        "cpu": cpu(),
        "cores": default_threads(),
        "instruction_set": instruction_set(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": load(),
        "versions": {
            "python": platform.python_version(),
            **{name: version_of(name) for name in ("carryline", "numpy", *PEERS)},
        },
    }


def load() -> float | None:
    """Processes that ran or waited in the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def version_of(package: str) -> str | None:
    """None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(about: Result) -> str:
    """`machine`'s result in two lines."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items() if number)
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


def options(description: str | None, several: bool = False) -> argparse.ArgumentParser:
    """The options that every benchmark has. several: --data may be given more than once."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=5, help="timed runs of each contender")
    parser.add_argument(
        "--data",
        action="append" if several else "store",
        default=[] if several else None,
        help="texts: Parquet, CSV, … (default: made up)",
    )
    parser.add_argument("--text", action="append", default=[], help="column of the text")
    parser.add_argument(
        "--texts",
        type=positive,
        default=6400,
        help="how many to make up; below 100 batches their lengths differ more within a batch",
    )
    return parser


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it must be a whole number of 1 or more, it is {text!r}")
    return int(text)


def run(
    name: str,
    asked: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Result],
    report: Callable[[Result], str],
) -> int:
    """A whole benchmark: measure, print machine and report, and end in one line of JSON.

    Gives the exit status: 2 after an error that whoever asked can put right.
    """
    result: Result = {"benchmark": name, "machine": machine()}
    result |= {"threads": asked.threads, "rounds": asked.rounds}
    files = [asked.data] if isinstance(asked.data, str) else asked.data or []
    result["data"] = ", ".join(Path(file).name for file in files) or "made up"
    try:
        result |= measure(asked)
    except CarrylineError as error:
        print(error, file=sys.stderr)
        return 2
    parts = [describe(result["machine"]), report(result), "\n".join(result.get("left_out", []))]
    print(*filter(None, parts), sep="\n\n", end="\n\n")
    print(json.dumps(result))
    return 0
