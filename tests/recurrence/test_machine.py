from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from carryline.errors import ConfigError
from carryline.recurrence import machine


def test_threads_are_no_more_than_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "default_threads", lambda: 2)
    assert [machine.checked_threads(n) for n in (None, 1, 2, 3, 100)] == [2, 1, 2, 2, 2]
    with pytest.raises(ConfigError, match="threads >= 1, it is 0"):
        machine.checked_threads(0)


# What /proc/self/cgroup says, the files beneath /sys/fs/cgroup, and the cores' time that is left.
QUOTAS: dict[str, tuple[str, dict[str, str], float]] = {
    "v2 of a container": ("0::/", {"cpu.max": "150000 100000"}, 1.5),
    "v2 without a limit": ("0::/", {"cpu.max": "max 100000"}, math.inf),
    "v2 of a service": (
        "0::/system.slice/web.service",
        {"system.slice/web.service/cpu.max": "50000 100000"},
        0.5,
    ),
    "v2 of a group above": (
        "0::/a/b",
        {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000", "cpu.max": "900000 100000"},
        2,
    ),
    "v2 by another name outside": ("0::/docker/4c1d", {"cpu.max": "300000 100000"}, 3),
    "v2 above its own root": ("0::/../x", {"cpu.max": "300000 100000", "x/cpu.max": "1 1"}, 3),
    "v1": (
        "3:cpuset:/\n2:cpu,cpuacct:/job\n0::/",
        {
            "cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
            "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
        2.5,
    ),
    "v1 under one name": (
        "1:cpuacct,cpu:/docker/4c1d",
        {"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "10000"},
        2,
    ),
    "v1 without a limit": (
        "1:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        math.inf,
    ),
    "of other things": ("4:memory:/x", {"memory/x/cpu.max": "1 1", "cpu.max": "1 1"}, math.inf),
    "damaged": ("0::/", {"cpu.max": "many"}, math.inf),
    "no files": ("0::/a", {}, math.inf),
    "other lines": ("none\n0::/", {"cpu.max": "150000 100000"}, 1.5),
    "no groups": ("", {"cpu.max": "1 1"}, math.inf),
}


@pytest.mark.parametrize(("groups", "files", "cores"), QUOTAS.values(), ids=QUOTAS)
def test_quota_of_a_container(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float
) -> None:
    mounted = tmp_path / "cgroup"
    for name, text in files.items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_text(text)
    (tmp_path / "groups").write_text(groups)
    assert machine.cpu_quota(tmp_path / "groups", mounted) == cores


def test_no_quota_where_there_are_no_groups(tmp_path: Path) -> None:
    assert machine.cpu_quota(tmp_path / "none", tmp_path) == math.inf


@pytest.mark.parametrize(
    ("quota", "threads"), [(0.5, 1), (1.0, 1), (1.5, 2), (4.0, 4), (64.0, 8), (math.inf, 8)]
)
def test_threads_fill_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    assert machine.default_threads() == threads
