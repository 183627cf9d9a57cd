"""The card of a model: the README.md of its directory, for people."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from carryline.evaluation.limits import limits
from carryline.evaluation.metrics import (
    contenders,
    name,
    shares,
    unmeasured,
    verdict,
    worst_pairs,
)
from carryline.files import read, write_whole
from carryline.model.config import FOLLOWED, PRESETS, Config
from carryline.model.history import best_epoch
from carryline.text.data import Label
from carryline.text.tokens import visible

_PICTURES = {"confusion.png": "Confusion matrix", "history.png": "Loss and accuracy by epoch"}
_LARGEST = 16 << 20  # bytes of a card; of 2,048 classes with long names 1 MB


def model_card(
    config: Config,
    classes: Sequence[Label],
    parameters: int,
    history: Sequence[dict[str, Any]],
    metrics: dict[str, Any] | None,
    evaluated_on: str,
    made: dict[str, Any] | None = None,
    inside: Sequence[str] = (),
) -> str:
    """The card in Markdown, without pictures: `illustrated` puts in those that were drawn.

    metrics: of `metrics.evaluate` on the texts that `evaluated_on` names, None without any; made:
    where the model comes from, as in `storage.Stored`; inside: paragraphs of what is there beside
    the network (inside.py).
    """
    names = ", ".join(_markdown(label) for label in classes[:20])
    names += f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    layers = f"{len(config.hidden)} layer{'s' if len(config.hidden) > 1 else ''}"
    direction = "both directions" if config.bidirectional else "one direction"
    parts = [
        "# A text classifier made with Carryline",
        f"It reads a text and gives the probability of each of {len(classes)} classes: {names}.",
        f"Inside is a recurrent network: {layers} of {_markdown(config.cell)} cells read the "
        f"{_read(config)} of a text in {direction}. It has {parameters:,} parameters.",
        *inside,
        "## How good it is",
        *_figures(metrics, evaluated_on, made),
        "## How to use it",
        _USE,
        "## How it was made",
        *_making(classes, metrics, made),
        *_again(config, history, made),
        *_training(history, config.keep),
        "## Limits",
        "\n".join(f"- {limit}" for limit in limits(config, metrics, made)),
        "## Licence",
        f"Made with {_maker(made)} (MIT licence); the model is as free as the texts it learned "
        "from.",
    ]
    return "\n\n".join(parts) + "\n"


def _read(config: Config) -> str:
    """What the network reads."""
    if config.vectors == "none":
        return "subwords"
    return f"words, which began as vectors ({_markdown(config.vectors)}), and subwords"


def illustrated(card: str, pictures: Iterable[str]) -> str:
    """The card with links to these pictures, files in `plots/`, where it says there are none."""
    for file in pictures:
        card = card.replace(_absent(file), f"![{_PICTURES[file]}](plots/{file})")
    return card


def illustrate(folder: Path, pictures: Iterable[str]) -> None:
    """The same for the README.md of a model directory, where there is a card."""
    file = folder / "README.md"
    try:
        before = read(file, _LARGEST).decode()
    except (OSError, UnicodeDecodeError):  # none, or not one of Carryline's
        return
    after = illustrated(before, pictures)
    if after != before:
        write_whole(file, after.encode())


def extended(card: str, section: str) -> str:
    """The card with one more section, before its limits."""
    return card.replace("## Limits\n", f"{section}\n\n## Limits\n", 1)


def _absent(file: str) -> str:
    return (
        f"{_PICTURES[file]}: not drawn. `carryline plot MODEL` draws it; "
        "it needs `pip install 'carryline[plot]'`."
    )


_USE = """MODEL stands for the folder of this file.

```python
import carryline

classifier = carryline.load("MODEL")
classifier.predict(["a text of yours"])
```

```sh
carryline predict MODEL "a text of yours"
carryline evaluate MODEL labelled.csv
```"""


def _measured(metrics: dict[str, Any], evaluated_on: str, made: dict[str, Any] | None) -> str:
    """On which texts."""
    turns = made.get("turns") if made else None
    if not turns:
        return f"Measured on {_markdown(evaluated_on)}, {metrics['texts']:,} texts."
    several = f" in {turns} turns" if turns > 1 else ""
    return (
        f"Measured on {metrics['texts']:,} texts held out{several}; the model was then trained on "
        "all of them."
    )


def _figures(
    metrics: dict[str, Any] | None, evaluated_on: str, made: dict[str, Any] | None
) -> list[str]:
    if metrics is None:
        return ["It was not tried on texts held back from training, so nobody knows."]
    auc = "–" if metrics["roc_auc"] is None else f"{metrics['roc_auc']:.4f}"
    totals = [f"{metrics['accuracy']:.2%}"]
    totals += [f"{metrics[key]:.4f}" for key in ("loss", "macro_f1")]
    missing = unmeasured(metrics, _markdown)
    return [
        f"{_measured(metrics, evaluated_on, made)}{_guessing(metrics)}",
        _rows(["accuracy", "loss", "macro F1", "ROC-AUC"], [[*totals, auc]]),
        *_beside(metrics),
        _classes(metrics, made),
        *([f"{missing[0].upper()}{missing[1:]}."] if missing else []),
        *_confused(metrics),
        _absent("confusion.png"),
    ]


def _guessing(metrics: dict[str, Any]) -> str:
    """What is right without reading a text, where no baseline says it."""
    if metrics.get("baseline") is not None:
        return ""
    common = max(metrics["per_class"], key=lambda row: row["support"])
    return (
        f" Always answering {_markdown(common['label'])}, the most frequent class there, would be "
        f"right for {common['support'] / metrics['texts']:.2%}."
    )


def _beside(metrics: dict[str, Any]) -> list[str]:
    """The model beside its baselines, whoever is ahead."""
    rows = [[who, f"{a:.2%}", f"{f1:.4f}"] for who, a, f1 in contenders(metrics, _markdown)]
    if not rows:
        return []
    said = " ".join(verdict(metrics, _markdown))
    return [_rows(["on the same texts", "accuracy", "macro F1"], rows), *filter(None, [said])]


def _classes(metrics: dict[str, Any], made: dict[str, Any] | None) -> str:
    """A class a row; with the texts it was learned from where that is known."""
    head, each = ["class", "precision", "recall", "F1", "texts"], metrics["per_class"]
    rows = [[_markdown(row["label"]), *shares(row), f"{row['support']:,}"] for row in each]
    if made is not None:
        head.append("texts trained on")
        for row, count in zip(rows, made["class_counts"], strict=True):
            row.append(f"{count:,}")
    return _rows(head, rows)


def _confused(metrics: dict[str, Any]) -> list[str]:
    names = [_markdown(row["label"]) for row in metrics["per_class"]]
    rows = [
        [f"{names[pair.true]} → {names[pair.predicted]}", f"{pair.texts:,}", f"{pair.share:.1%}"]
        for pair in worst_pairs(metrics)
    ]
    if not rows:
        return []
    head = ["true → predicted", "texts", "of the true class"]
    return ["What it confuses most often:", _rows(head, rows)]


def _making(
    classes: Sequence[Label], metrics: dict[str, Any] | None, made: dict[str, Any] | None
) -> list[str]:
    """Where it comes from, as far as that was said."""
    if made is None:
        return []
    held = f", with {made['validation_texts']:,} to validate on" * (made["validation_texts"] > 0)
    if made.get("turns"):
        held = f", of which {made['validation_texts']:,} had been held out before"
    parts = [f"Made on {made['date']}, by {_maker(made)}, from {made['texts']:,} texts{held}."]
    if metrics is None:  # else it is beside the figures
        counts = zip(classes, made["class_counts"], strict=True)
        rows = [[_markdown(label), f"{count:,}"] for label, count in counts]
        parts.append(_rows(["class", "texts trained on"], rows))
    if made["sources"]:
        rows = [[_markdown(one["name"]), f"`{one['sha256']}`"] for one in made["sources"]]
        parts.append(_rows(["source", "SHA-256"], rows))
    return parts


def _again(
    config: Config, history: Sequence[dict[str, Any]], made: dict[str, Any] | None
) -> list[str]:
    """All settings, and the command that trains with them."""
    values = {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.to_dict().items()}
    rows = [[f"`{key}`", _markdown(value)] for key, value in values.items()]
    said = (
        "Trained again with this command, on the same texts and with the same columns, weights of "
        "texts and validation part, it comes out the same to the bit, on the same machine and "
        "versions; unless it went on from another model, or from a shorter run of its own:"
    )
    if len(history) < config.epochs and not config.patience:
        said = (
            f"It was stopped after {len(history)} of {config.epochs} epochs. A run to the end, "
            "with the same columns and validation part:"
        )
    command = f"```sh\n{_command(config, made)}\n```"
    return [said, command, _rows(["setting", "value"], rows)]


def _command(config: Config, made: dict[str, Any] | None) -> str:
    """The command that trains with these settings, those of the preset left out."""
    sources = [source["name"] for source in made["sources"]] if made else []
    words = ["carryline", "train", *(sources or ["DATA"]), *options(config), "--out", "MODEL"]
    return " ".join(shlex.quote(visible(word)) for word in words)


def options(config: Config) -> list[str]:
    """Those of `carryline train` that make these settings, whatever the texts would suggest."""
    known = config.preset in PRESETS
    usual = PRESETS[config.preset if known else "base"].to_dict()
    words = ["--preset", config.preset] if known else []
    for key, value in config.to_dict().items():
        decided = config.preset == "auto" and key in FOLLOWED
        if key in ("epochs", "seed"):
            words += [f"--{key}", str(value)]
        elif not decided and value == usual[key]:
            continue
        elif key == "vectors":  # a hash stands behind a file's name
            words += ["--vectors", value.rsplit(" ", 1)[0]]
        elif key != "preset":
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def _maker(made: dict[str, Any] | None) -> str:
    return "Carryline" if made is None else f"Carryline {made['carryline']}"


def _training(history: Sequence[dict[str, Any]], keep: str) -> list[str]:
    if not history:
        return []
    best = best_epoch(history, keep)
    head = ["epoch", "loss", "accuracy", "validation loss", "validation accuracy"]
    head += ["learning rate", "tokens a second", "seconds"]
    keys = {"loss": ".4f", "accuracy": ".2%", "valid_loss": ".4f", "valid_accuracy": ".2%"}
    keys |= {"learning_rate": ".2g", "tokens_per_second": ",.0f", "seconds": ",.1f"}
    rows = [
        [f"{row['epoch']}{' (kept)' if row['epoch'] == best else ''}"]
        + ["–" if row.get(key) is None else format(row[key], form) for key, form in keys.items()]
        for row in history
    ]
    return [_absent("history.png"), _rows(head, rows)]


def _rows(head: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown: the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """A name of any length, made to mean nothing to Markdown."""
    return _markdown(text, 200)


def _markdown(label: Label, longest: int = 80) -> str:
    """A name that means nothing to Markdown (nor to HTML, formulas, mentions, addresses)."""
    return re.sub(r"([\\`*_{}\[\]<>|~$&@:#!^])", r"\\\1", name(label, longest))
