"""What is said of word vectors is what their file says, whatever it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carryline.evaluation import card, inside
from carryline.model.lexicon import Lexicon
from carryline.text.vectors import Vectors


def said(about: dict[str, Any]) -> str:
    vectors = Vectors(["a", "b"], np.ones(2, np.int64), np.ones((2, 4), np.float32), about)
    (paragraph,) = inside.paragraphs(None, Lexicon(vectors, b"", []), "english", card.plain)
    return paragraph


def test_sources_and_licence() -> None:
    text = said({"sources": [{"name": "/home/me/a_b.parquet", "sha256": "0"}, "c.csv"],
                 "licence": "CC BY-SA 4.0"})  # fmt: skip
    assert text == (
        "2 of its words began as word vectors (english). They were learned from a\\_b.parquet, "
        "c.csv. Their licence: CC BY-SA 4.0."
    )
    assert "from https\\://x.org/y." in said({"source": "https://x.org/y"})
    many = said({"sources": [f"{i}.csv" for i in range(30)]})
    assert "9.csv and 20 more." in many
    assert "10.csv" not in many


@pytest.mark.parametrize("about", [{}, {"sources": None}, {"sources": []}, {"license": 3}], ids=str)
def test_what_nobody_knows(about: dict[str, Any]) -> None:
    assert said(about).endswith("Their file does not say which texts they were learned from.")
    assert "licence" not in said(about)


@pytest.mark.parametrize("odd", [7, {"a": {}}, [[]], "x" * 9999, "<b>|", True], ids=str)
def test_odd_entries_are_plain_text(odd: Any) -> None:
    text = said({"sources": odd, "licence": odd})
    assert len(text) < 700
    assert "<b>" not in text.replace("\\<b", "")
