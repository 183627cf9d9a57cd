"""The parts of a report that are texts: mistakes, labels that look wrong, near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from carryline.evaluation import suspects, twins
from carryline.explaining.explanation import Explanation
from carryline.explaining.page import marked
from carryline.reporting.charts import percent
from carryline.reporting.measured import Learned, Measured
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


def wrong_labels(of: Measured) -> Section:
    """Labels that look wrong to a model that has not learned from them."""
    return _wrong(of, "Labels to look at", "", "it", "the model")


def wrong_training_labels(judged: Measured) -> Section:
    """Labels that a model has learned from, and that look wrong to others that have not."""
    others = "a linear part, fitted five times without the texts it judges"
    title = "Training labels to look at"
    return _wrong(judged, title, " of texts trained on", others, "the linear part")


def _wrong(of: Measured, title: str, whose: str, whom: str, judge: str) -> Section:
    """whose, whom, judge: how a sentence calls the labels' texts and what they look wrong to."""
    found = suspects.suspects(of.probabilities, of.targets)
    if not found:
        return Section(
            title, note(f"None of {len(of.texts):,} labels{whose} looks wrong to {whom}.")
        )
    rows = [
        [_start(of.texts[one.text]), of.names[one.label], of.names[one.likely],
         f"{one.margin:.3f}"] for one in found[:SUSPECTS]
    ]  # fmt: skip
    said = (
        f"{len(found):,} labels{whose} ({percent(len(found) / len(of.texts))}) look wrong to "
        f"{whom}: another class is as probable as with that one's own texts, and the label is not. "
        f"It may be {judge} that is wrong: read them."
    )
    table = _texts(["text", "label", "looks like", "by"], rows)
    return Section(title, f"{note(escape(said))}\n{table}")


def near_duplicates(of: Measured | None, learned: Learned | None) -> Section:
    """Texts that are nearly the same, among those of the report and those that were trained on."""
    trained, labels = _labelled(learned)
    measured, more = _labelled(of)
    every, labels = [*trained, *measured], [*labels, *more]
    found = twins.twins(every)
    inside = [one for one in found if one.first >= len(trained)]
    between = [one for one in found if one.first < len(trained) <= one.text]
    earlier = [one for one in found if one.text < len(trained)]
    torn = [one for one in found if _differ(labels[one.text], labels[one.first])]
    said = f"{len(earlier):,} of the {len(trained):,} texts trained on are nearly the same as an "
    said += "earlier one"
    if of is not None:
        said = (
            f"{len(inside):,} of the {len(measured):,} texts measured here are nearly the same as "
            "an earlier one"
        )
        if trained:
            kind = ", which makes the figures too kind" if between else ""
            said += (
                f", {len(between):,} as one of the {len(trained):,} trained on{kind}; "
                f"{len(earlier):,} of those trained on are as an earlier one"
            )
    if torn:
        said += f"; {len(torn):,} have another label than their twin"
    ordered = [*between, *torn, *inside, *(earlier if of is None else ())]
    shown = [*dict.fromkeys(ordered)][:TWINS]
    rows = [
        [_start(every[one.first]), _start(every[one.text]), percent(one.alike)] for one in shown
    ]
    table = _texts(["a text", "and its twin", "alike"], rows) if rows else ""
    return Section("Near-duplicates", f"{note(escape(said) + '.')}\n{table}")


def _labelled(some: Measured | Learned | None) -> tuple[list[str], list[int | None]]:
    """Texts, and the number of each one's class as far as it is known."""
    if some is None:
        return [], []
    targets = some.targets
    return some.texts, [None] * len(some.texts) if targets is None else targets.tolist()


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other


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
