"""What the card says against a model, and against its figures."""

from __future__ import annotations

from typing import Any

from carryline.model.config import Config

_LIMITS = [
    "It knows texts like those it was trained on. On another language, subject or style it will "
    "be worse than the figures here, and will not say so.",
    "It always answers with one of its classes, also for a text that belongs to none of them and "
    "for an empty one.",
    "A probability is the network's own opinion, often too sure: nine in ten of the answers given "
    "with 0.9 need not be right.",
    "It learned the mistakes and the slants of the people and rules that labelled its texts.",
]
_KIND = (
    "The epoch that is kept is the one that did best on the validation texts, so figures on those "
    "are a little kinder than on texts never seen."
)
_SHARES = (
    "The shares of its two parts are those that did best on the texts held out, so figures on "
    "these are a very little kinder than on texts never seen."
)
_WHOLE = (
    "The figures are those of models trained on a part of the texts. This one was trained on all "
    "of them, so no text is left to measure it by: most likely it is a little better."
)
_PADS = (
    "It was trained with mask = false: it reads padding as if it were words, so a text's answer "
    "depends on the texts it is batched with. This shows a flaw; do not rely on its answers."
)


def limits(
    config: Config, metrics: dict[str, Any] | None, made: dict[str, Any] | None
) -> list[str]:
    """A sentence or two each. metrics, made: as of `card.model_card`."""
    said = [*_LIMITS, *_kind(config, metrics, made)]
    return said if config.mask else [*said, _PADS]


def _kind(config: Config, metrics: dict[str, Any] | None, made: dict[str, Any] | None) -> list[str]:
    """What is to be said against figures on texts held out."""
    if metrics is None:
        return []
    kind = [_KIND] if config.keep != "last" else [_SHARES] if config.linear else []
    return [*kind, *([_WHOLE] if made and made.get("turns") else [])]
