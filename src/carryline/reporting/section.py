"""A section of a report, as the page frames and lists it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Section:
    """title: plain text; inner: the HTML below it."""

    title: str
    inner: str

    @property
    def anchor(self) -> str:
        """Its name in links."""
        kept = (c if c.isascii() and c.isalnum() else "-" for c in self.title.lower())
        return "".join(kept).strip("-")

    def html(self) -> str:
        head = f'<section id="{self.anchor}">\n<h2>{escape(self.title)}</h2>\n'
        return f"{head}{self.inner}\n</section>"

    def link(self) -> str:
        """To it, in the table of contents."""
        return f'<a href="#{self.anchor}">{escape(self.title)}</a>'


def grid(figures: str) -> str:
    """HTML of figures, side by side where the page is wide."""
    return f'<div class="charts">{figures}</div>'


def note(said: str) -> str:
    """A sentence, in HTML, above what a section shows."""
    return f'<p class="note">{said}</p>'
