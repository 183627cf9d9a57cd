from __future__ import annotations

from pathlib import Path

from carryline.text.columns import LABELS, TEXTS
from carryline.text.opening import PACKED
from carryline.text.readers import SUFFIXES

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_document_knows_every_format_and_name() -> None:
    words = DOCUMENT.read_text(encoding="utf-8")
    for suffix in (*SUFFIXES, *PACKED):
        assert f"{suffix}`" in words, suffix
    plurals = {"texts", "reviews", "labels"}
    for name in (TEXTS | LABELS) - plurals:
        assert f"`{name}`" in words, name
