"""The parts of a report that are texts: mistakes, labels that look wrong, near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from carryline.evaluation import suspects, twins
from carryline.explaining.explanation import Explanation
from carryline.explaining.page import marked
from carryline.reporting.charts import percent
from carryline.reporting.measured import Measured
from carryline.reporting.section import Section, note

MISTAKES, SUSPECTS, TWINS = 10, 20, 10  # that are shown
LONGEST = 1200  # characters of a text that is explained or shown
Explain = Callable[[str], Explanation]


def mistakes(of: Measured, explain: Explain) -> Section:
    """The wrong answers that are most sure, with the words that led to them."""
    wrong = np.flatnonzero(~of.right)
    if not len(wrong):
        return Section("Mistakes", "<p>None: every answer is right.</p>")
    worst = wrong[np.argsort(-of.sure[wrong], kind="stable")][:MISTAKES]
    shown = []
    for text in worst.tolist():
        explanation = explain(of.texts[text][:LONGEST])
        cut = " …" if len(of.texts[text]) > LONGEST else ""
        shown.append(
            f"<article>\n<h3>{escape(of.names[of.predicted[text]])} {of.sure[text]:.4f}, labelled "
            f'{escape(of.names[of.targets[text]])}</h3>\n<p class="text" dir="auto">'
            f"{marked(explanation)}{cut}</p>\n</article>"
        )
    said = (
        f"{len(wrong):,} of {len(of.texts):,} answers are wrong. These are the {len(worst)} of "
        'which it was most sure. A word on <span class="for">blue</span> speaks for the answer, '
        'one on <span class="against">orange</span> against it.'
    )
    return Section("Its most confident mistakes", f"{note(said)}\n{''.join(shown)}")


def wrong_labels(of: Measured) -> Section | None:
    """Labels that look wrong, by a model that has not learned from them."""
    found = suspects.suspects(of.probabilities, of.targets)
    if not found:
        return None
    rows = [
        [_start(of.texts[one.text]), of.names[one.label], of.names[one.likely],
         f"{one.margin:.3f}"] for one in found[:SUSPECTS]
    ]  # fmt: skip
    said = (
        f"{len(found):,} labels ({percent(len(found) / len(of.texts))}) look wrong to it: another "
        "class is as probable as with that one's own texts, and the label is not. It may be the "
        "model that is wrong: read them."
    )
    table = _texts(["text", "label", "looks like", "by"], rows)
    return Section("Labels to look at", f"{note(escape(said))}\n{table}")


def near_duplicates(of: Measured, training: Sequence[str]) -> Section:
    """Texts that are nearly the same, among those of the report and those that were trained on."""
    every = [*training, *of.texts]
    found = twins.twins(every)
    inside = [one for one in found if one.first >= len(training)]
    between = [one for one in found if one.first < len(training) <= one.text]
    trained = [one for one in found if one.text < len(training)]
    said = (
        f"{len(inside):,} of the {len(of.texts):,} texts measured here are nearly the same as an "
    )
    said += "earlier one"
    if training:
        said += (
            f", {len(between):,} as one of the {len(training):,} trained on, which makes the "
            f"figures too kind; {len(trained):,} of those trained on are as an earlier one"
        )
    torn = [
        one for one in inside if _label(of, one.text, training) != _label(of, one.first, training)
    ]
    if torn:
        said += f"; {len(torn):,} have another label than their twin"
    shown = [*between, *torn, *(one for one in inside if one not in torn)][:TWINS]
    rows = [
        [_start(every[one.first]), _start(every[one.text]), percent(one.alike)] for one in shown
    ]
    table = _texts(["a text", "and its twin", "alike"], rows) if rows else ""
    return Section("Near-duplicates", f"{note(escape(said) + '.')}\n{table}")


def _label(of: Measured, text: int, training: Sequence[str]) -> int:
    return int(of.targets[text - len(training)])


def _texts(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of which any column may be text."""
    numbers = {len(head) - 1}
    cells = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "\n".join(
        "<tr>" + "".join(
            f'<td{"" if i in numbers else " class=text dir=auto"}>{escape(cell)}</td>'
            for i, cell in enumerate(row)
        ) + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<figure><div class="scroll"><table><thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n'
        "</tbody></table></div></figure>"
    )


def _start(text: str, most: int = 160) -> str:
    shown = " ".join(text[: 4 * most].split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"
