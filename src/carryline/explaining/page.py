"""Explanations as HTML: a text with its words coloured, and a page of several.

Words for the label have a blue ground, those against it an orange one, the deeper the larger their
part. Both show on white and on black, and to those who do not tell red from green; what
a colour says a word's title says in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from carryline.evaluation.metrics import name
from carryline.explaining.explanation import Explanation, Span

# For `marked` as for whole pages.
COLORS = "--for: 47, 125, 209; --against: 226, 120, 20;"
_DEEPEST = 0.55  # of a ground, so that ink is read on it in both themes
_STYLE = (
    f":root {{ color-scheme: light dark; {COLORS} }}"
    + """
body { font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
article { margin: 0 0 2rem; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
p.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .5rem; }
p.text span { border-radius: .2em; padding: .1em 0; }
p.note, footer { font-size: .85rem; opacity: .75; margin: 0; }
.for { background: rgba(var(--for), .55); }
.against { background: rgba(var(--against), .55); }
"""
)


def marked(explanation: Explanation) -> str:
    """The text, each span with a ground as deep as its part beside the largest one; the page that
    it stands in has the `COLORS`."""
    largest = max((abs(span.part) for span in explanation.spans), default=0.0)
    return "".join(_span(explanation, span, largest) for span in explanation.spans)


def _span(explanation: Explanation, span: Span, largest: float) -> str:
    written = escape(explanation.of(span))
    bare = written.lstrip(" ")
    if not bare.strip() or not largest:
        return written
    depth = _DEEPEST * abs(span.part) / largest
    title = f"{span.part:+.2f} (linear {span.linear:+.2f}, recurrent {span.recurrent:+.2f})"
    side = "for" if span.part > 0 else "against"
    ground = f"background: rgba(var(--{side}), {depth:.2f})"
    blank = written[: len(written) - len(bare)]
    return f'{blank}<span style="{ground}" title="{title}">{bare}</span>'


def page(explanations: Sequence[Explanation], title: str) -> str:
    """A whole page, which asks nothing of any other place."""
    articles = "\n".join(map(_article, explanations))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{articles}\n<footer>{_LEGEND}</footer>\n</body>\n</html>\n"
    )


_LEGEND = (
    'A word with a <span class="for">blue</span> ground speaks for the label, one with an '
    '<span class="against">orange</span> one against it, the deeper the more; point at it for '
    "its part of the score."
)


def _article(explanation: Explanation) -> str:
    label = escape(name(explanation.label))
    return (
        f"<article>\n<h2>{label} {explanation.probability:.4f}</h2>\n"
        f'<p class="text" dir="auto">{marked(explanation)}</p>\n'
        f'<p class="note">score {explanation.score:+.2f}, of which '
        f"{explanation.score - explanation.rest:+.2f} of these words and {explanation.rest:+.2f} "
        "of none of them</p>\n</article>"
    )
