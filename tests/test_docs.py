"""What the documents quote of the source is there."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "carryline"


def quoted(text: str) -> list[tuple[str, str]]:
    """Each block of Python, with the module that was named last before it."""
    found, module = [], ""
    for named, block in re.findall(r"`(\w+/\w+\.py)`|^```python\n(.*?)^```", text, re.M | re.S):
        module = named or module
        if block:
            found.append((module, block))
    return found


def holds(source: str, block: str) -> bool:
    """Whether the lines of `block` stand in the source one after another, wherever they begin."""
    lines, wanted = source.splitlines(), dedent(block).splitlines()
    parts = (lines[i : i + len(wanted)] for i in range(len(lines)))
    return any(dedent("\n".join(part)).splitlines() == wanted for part in parts)


BLOCKS = quoted((ROOT / "docs" / "backpropagation.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("module", "block"), BLOCKS)
def test_code_in_backpropagation_is_the_source(module: str, block: str) -> None:
    assert holds((SOURCE / module).read_text(encoding="utf-8"), block)


def test_blocks_are_found_and_held_against_their_module() -> None:
    assert len(BLOCKS) > 15
    text = "In `a/b.py`:\n\n```python\nx = 1\n```\n\nand (`c/d.py`) so:\n\n```python\ny\n```\n"
    assert quoted(text) == [("a/b.py", "x = 1\n"), ("c/d.py", "y\n")]
    source = "def f():\n    if x:\n        y = 1\n    return y\n"
    assert holds(source, "if x:\n    y = 1\n")
    assert not holds(source, "if x:\ny = 1\n")
    assert not holds(source, "if x:\n    return y\n")
