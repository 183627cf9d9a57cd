"""Who watches a run: on a terminal, in a notebook, in a pipe, and callbacks of one's own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.progress import Progress

import carryline
from carryline import TextClassifier
from carryline.training import progress

Tiny = dict[str, Any]
FIT = """
import json, sys
from carryline import TextClassifier
(texts, labels), settings, verbose = json.loads(sys.argv[1])
TextClassifier(**settings).fit(texts, labels, threads=1, verbose=verbose)
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def shown_on(terminal: tuple[int, int], *given: Any) -> bytes:
    """What a fit in another process writes to the terminal that its standard error is."""
    ours, theirs = terminal
    source = str(Path(progress.__file__).parents[2])
    path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, json.dumps(given)], stderr=theirs, env=environment
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
    assert process.wait(timeout=100) == 0
    return shown


def test_a_bar_on_a_terminal(corpus: Any, tiny: Tiny, terminal: tuple[int, int]) -> None:
    shown = shown_on(terminal, corpus, {**tiny, "epochs": 3}, None)
    for part in (b"epoch 3/3", b"left", b"loss 0.", b"epoch 3: loss", b"100%", b"tokens/s"):
        assert part in shown


def test_silence_on_a_terminal(corpus: Any, tiny: Tiny, terminal: tuple[int, int]) -> None:
    assert shown_on(terminal, corpus, tiny, False) == b""


def test_lines_where_there_is_no_terminal(
    corpus: Any, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    for verbose in (None, False):
        TextClassifier(**tiny).fit(*corpus, threads=1, verbose=verbose)
        assert capsys.readouterr() == ("", "")
    TextClassifier(**tiny).fit(*corpus, threads=1, verbose=True)
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("epoch")]
    assert out == ""
    assert len(lines) == 2
    for part in ("epoch 2: loss 0.", "; validation loss 0.", ", macro F1 0.", " tokens/s"):
        assert part in lines[1]


@pytest.mark.parametrize("widgets", [True, False], ids=["with widgets", "without"])
def test_a_notebook_is_watched_by_itself(
    widgets: bool, corpus: Any, tiny: Tiny, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A bar where it can be drawn in place; else a line an epoch."""
    shell = ModuleType("IPython")
    shell.get_ipython = lambda: SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: widgets or None if name == "ipywidgets" else found(name),
    )
    with progress.watching(None, []) as watcher:
        assert isinstance(watcher, progress.Together)
        assert [type(each) for each in watcher.callbacks] == [
            progress.Bar if widgets else progress.Lines
        ]
    with progress.watching(False, []) as watcher:
        assert isinstance(watcher, progress.Together)
        assert watcher.callbacks == []
    if not widgets:
        capsys.readouterr()
        TextClassifier(**tiny).fit(*corpus, threads=1)
        assert capsys.readouterr().err.count("epoch ") == 2


def test_callbacks_are_told_everything(corpus: Any, tiny: Tiny) -> None:
    class Notes(carryline.Callback):
        def __init__(self) -> None:
            self.steps: list[Any] = []
            self.rows: list[Any] = []
            self.messages: list[str] = []

        def step(self, *told: Any) -> None:
            self.steps.append(told)

        def epoch(self, row: Any) -> bool:
            self.rows.append(dict(row))
            return len(self.rows) == 2

        def message(self, text: str) -> None:
            self.messages.append(text)

    one, other = Notes(), Notes()
    made = TextClassifier(**{**tiny, "epochs": 5})
    made.fit(*corpus, threads=1, callbacks=[one, carryline.Callback(), other])
    assert one.rows == made.history  # which ends after the second epoch
    assert [row["epoch"] for row in one.rows] == [1, 2]
    tokens = {total for _, _, _, total, _ in one.steps}
    assert len(tokens) == 1
    assert [step[:3] for step in one.steps[3::4]] == [(1, 5, *tokens), (2, 5, *tokens)]
    assert one.steps[-1][4] == pytest.approx(made.history[-1]["loss"])
    assert one.messages[0] == "60 texts of 2 classes"  # the account of the data
    assert one.messages[-2:] == [
        "learning a vocabulary of 300 subwords",
        "measuring the baseline on the same texts (Ctrl-C leaves it out)",
    ]
    assert (other.steps, other.rows) == (one.steps, one.rows)


def test_a_bar_is_not_drawn_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now, drawn = [100.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bar = Progress(auto_refresh=False, disable=True)
    monkeypatch.setattr(bar, "update", lambda task, **fields: drawn.append(fields))
    watcher = progress.Bar(bar)
    for step in range(1, 106):
        watcher.step(1, 1, step, 105, 0.5)
        now[0] += progress.REDRAW / 9.5
    assert [fields["completed"] for fields in drawn] == [*range(1, 105, 10), 105]
    assert all(fields["refresh"] for fields in drawn)  # no thread does it
