from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import TINY, command

from carryline.cli import progress


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_a_bar_on_a_terminal(train_csv: Path, tmp_path: Path, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    arguments = ["train", train_csv, *TINY, "--epochs", 3, "--out", tmp_path / "m", "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown, until = b"", time.monotonic() + 100
    while time.monotonic() < until:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux's word for the end
            break
        if not chunk:
            break
        shown += chunk
    stdout, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert json.loads(stdout)["epochs"] == 3
    for part in (b"epoch 3/3", b"left", b"loss 0.", b"epoch 3: loss", b"100%", b"tokens/s"):
        assert part in shown


def test_a_bar_is_not_drawn_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rich = pytest.importorskip("rich.progress")
    now, drawn = [100.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bar = rich.Progress(auto_refresh=False, disable=True)
    monkeypatch.setattr(bar, "update", lambda task, **fields: drawn.append(fields))
    watcher = progress.Bar(bar)
    for step in range(1, 106):
        watcher.step(1, 1, step, 105, 0.5)
        now[0] += progress.REDRAW / 9.5
    assert [fields["completed"] for fields in drawn] == [*range(1, 105, 10), 105]
    assert all(fields["refresh"] for fields in drawn)  # no thread does it
