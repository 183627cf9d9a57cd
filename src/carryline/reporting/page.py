"""A whole report: one page that asks nothing of any other place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carryline.evaluation import calibration, card
from carryline.model.config import Config
from carryline.reporting import sections, texts
from carryline.reporting.measured import Learned, Measured
from carryline.reporting.section import Section, grid, note
from carryline.reporting.texts import Explain

STYLE = Path(__file__).with_name("style.css")


@dataclass(frozen=True, eq=False)
class Subject:
    """The model that is reported on. metrics: those of its training, None without; made: see
    `storage.Stored`."""

    name: str
    config: Config
    parameters: int
    history: Sequence[dict[str, Any]]
    metrics: dict[str, Any] | None
    made: dict[str, Any] | None


def page(
    subject: Subject, of: Measured | None, explain: Explain, source: str = "",
    learned: Learned | None = None,
) -> str:  # fmt: skip
    """The HTML. of: labelled texts that it has not learned from, called `source`, or None for what
    its training tells alone; learned: what is known of the texts that it has learned from."""
    parts: list[Section | None] = []
    if of is not None:
        parts += [
            sections.confusion(of), sections.reliability(of), sections.discrimination(of),
            sections.thresholds(of), sections.by_length(of), texts.mistakes(of, explain),
            texts.wrong_labels(of),
        ]  # fmt: skip
    if learned is not None and learned.judged is not None:
        parts.append(texts.wrong_training_labels(learned.judged))
    if of is not None or learned is not None:
        parts.append(texts.near_duplicates(of, learned))
    parts += [sections.training(subject.history), _making(subject)]
    shown = [part for part in parts if part is not None]
    links = "".join(section.link() for section in shown)
    body = "\n".join(section.html() for section in shown)
    title = f"{subject.name}: a report"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n{_head(subject, of, source)}\n"
        f'<header><nav aria-label="Contents">{links}</nav></header>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(subject: Subject, of: Measured | None, source: str) -> str:
    figures: list[tuple[str, str]] = []
    if of is not None:
        found = of.figures
        error = calibration.expected_error(calibration.reliability(of.probabilities, of.targets))
        area = found["roc_auc"]
        figures = [
            ("accuracy", f"{found['accuracy']:.4f}"), ("macro F1", f"{found['macro_f1']:.4f}"),
            ("ROC-AUC", "–" if area is None else f"{area:.4f}"), ("loss", f"{found['loss']:.4f}"),
            ("calibration error", f"{error:.4f}"), ("texts", f"{found['texts']:,}"),
        ]  # fmt: skip
        said = f"Measured on {found['texts']:,} labelled texts of {source or 'the data given'}."
    elif subject.metrics is not None:
        found = subject.metrics
        figures = [
            ("accuracy", f"{found['accuracy']:.4f}"), ("macro F1", f"{found['macro_f1']:.4f}"),
            ("loss", f"{found['loss']:.4f}"), ("texts", f"{found['texts']:,}"),
        ]  # fmt: skip
        said = "Measured on texts that its training held out."
    else:
        said = "It was not measured: its training held no texts out, and none were given."
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    return (
        f"<header>\n<h1>{escape(subject.name)}</h1>\n<p>{escape(said)}</p>\n"
        f'<dl class="figures">{cells}</dl>\n</header>'
    )


def _making(subject: Subject) -> Section:
    """Settings, versions, and how to make it again."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(json.dumps(value))}</td></tr>'
        for name, value in subject.config.to_dict().items()
    )
    made = subject.made or {}
    from_what = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(json.dumps(value))}</td></tr>'
        for name, value in made.items()
    )
    command = " ".join(["carryline train DATA", *card.options(subject.config), "--out MODEL"])
    said = (
        f"{subject.parameters:,} parameters; Carryline {version('carryline')}. The same data and "
        "this command make it again:"
    )
    tables = f"{_table('Settings', rows)}{_table('Where it comes from', from_what)}"
    return Section("How it was made", f"{note(said)}\n<pre>{escape(command)}</pre>\n{grid(tables)}")


def _table(title: str, rows: str) -> str:
    return f'<figure><h3>{title}</h3><div class="scroll"><table>{rows}</table></div></figure>'
