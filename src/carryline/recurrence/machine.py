"""What this machine has and what of it is used: processor, instruction set, cores, peak.

The environment variable CARRYLINE_ISA forces an instruction set.
"""

from __future__ import annotations

import math
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from numbers import Integral
from pathlib import Path

import numpy as np

from carryline.errors import ConfigError
from carryline.recurrence import _kernels

_chosen = False  # whether one was chosen yet


def cpu() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Those compiled in that this machine can run, best first."""
    return list(_kernels.instruction_sets())


def instruction_set() -> str:
    """The one in use."""
    check()
    return str(_kernels.instruction_set())


def use_instruction_set(name: str) -> None:
    """Use `name` from now on ("" for the best). Layers packed before must be packed again.

    Raises `ConfigError` when this machine does not run it.
    """
    global _chosen
    try:
        _kernels.use_instruction_set(name)
        _chosen = True
    except ValueError as error:
        raise ConfigError(f"CARRYLINE_ISA: {error}") from None


def check() -> None:
    """Raises `ConfigError` when CARRYLINE_ISA names what this machine does not run.

    Asked when weights are packed, not on import: the command line can say it then.
    """
    if not _chosen:
        use_instruction_set(os.environ.get("CARRYLINE_ISA", ""))


def checked_threads(threads: int | None) -> int:
    """As many as asked for, but no more than there are cores, which more would only keep waiting;
    all cores for None. Raises `ConfigError` below 1."""
    if threads is not None and (not isinstance(threads, Integral) or threads < 1):
        raise ConfigError(f"threads is a whole number, threads >= 1, it is {threads!r}")
    return min(int(threads or default_threads()), default_threads())


def default_threads() -> int:
    """The cores this process may run on, no more of them than its container's share of time
    fills."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


@cache  # read once: this is asked for at every call of a kernel, and takes 0.1 ms
def cpu_quota(
    groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> float:
    """How many cores' time this process gets by Linux's control groups, v2 or v1; inf for all.

    groups: names this process's groups; mounted: where the groups' files are. Each group on the
    way up may have a limit. A container may see its own group as the topmost one.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    quota = math.inf
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if kinds and "cpu" not in kinds.split(","):
            continue
        names = [] if ".." in path else path.strip("/").split("/")
        for root in (mounted / kinds, mounted / "cpu") if kinds else (mounted,):
            folders = [root.joinpath(*names[:depth]) for depth in range(len(names) + 1)]
            quota = min(quota, *map(_quota_of, folders))
    return quota


def _quota_of(group: Path) -> float:
    """Of one group alone: microseconds of each period."""
    files = (
        ["cpu.max"] if (group / "cpu.max").exists() else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    )
    try:
        quota, period = " ".join((group / name).read_text() for name in files).split()
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def peak_flops(threads: int, precision: str = "fp32") -> float:
    """Floating-point operations a second of multiply-adds on registers alone, at best.

    precision: of the factors, "fp32" or "bf16".
    """
    check()
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        operations = _kernels.peak(10_000_000, precision == "bf16", threads)
        rates.append(operations / (time.perf_counter() - began))
    return max(rates)


def copy_rate(threads: int, size: int = 1 << 28) -> float:
    """Bytes a second, read and written together, at best, of copying `size` bytes.

    The default is beyond all caches, so that it is memory which is measured.
    """
    source = np.ones(size, np.uint8)
    parts = list(
        zip(np.array_split(source, threads), np.array_split(source.copy(), threads), strict=True)
    )
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))  # drops the GIL
            rates.append(2 * size / (time.perf_counter() - began))
    return max(rates)
