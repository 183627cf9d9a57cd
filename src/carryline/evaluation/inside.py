"""What is inside a model beside its recurrent network, in words: the linear part, word vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from carryline.model.lexicon import Lexicon
from carryline.model.linear import Linear

Escape = Callable[[str], str]
_SHOWN = 10  # sources of word vectors that are named


def features(linear: Linear) -> str:
    """What the linear part counts in a text."""
    words, characters = len(linear.ngrams.words.keys), len(linear.ngrams.characters.keys)
    bags = "" if linear.bags is None else ", and the mean of its word vectors"
    return f"{words:,} words and pairs of words, {characters:,} strings of characters{bags}"


def lines(
    linear: Linear | None, lexicon: Lexicon | None, named: str, parameters: int
) -> Iterator[str]:
    """Below a table of layers; parameters: of the whole model."""
    if linear is not None:
        share = linear.parameters / parameters
        yield f"linear part: {features(linear)}; {share:.0%} of the parameters"
    if lexicon is not None:
        words, width = lexicon.vectors.matrix.shape
        further = f", {len(lexicon.further):,} further ones as others" if lexicon.further else ""
        yield f"whole words: {words:,} began as vectors of {width} values ({named}){further}"


def paragraphs(
    linear: Linear | None, lexicon: Lexicon | None, named: str, escape: Escape
) -> list[str]:
    """For the card; escape: makes a name plain text."""
    said = []
    if linear is not None:
        said.append(
            "Beside it is a linear part, a logistic regression on what a text is made of: "
            f"{features(linear)} ({linear.parameters:,} of the parameters). The logits of both are "
            "added, each times a share that was chosen on texts held out."
        )
    if lexicon is not None:
        said.append(_origin(lexicon, named, escape))
    return said


def _origin(lexicon: Lexicon, named: str, escape: Escape) -> str:
    """Where the word vectors come from, as far as their file says."""
    about, count = lexicon.vectors.about, len(lexicon.vectors.words)
    said = [f"{count:,} of its words began as word vectors ({escape(named)})."]
    sources = [escape(_source(one)) for one in _listed(about.get("sources", about.get("source")))]
    if sources:
        more = f" and {len(sources) - _SHOWN} more" if len(sources) > _SHOWN else ""
        said.append(f"They were learned from {', '.join(sources[:_SHOWN])}{more}.")
    for key in ("licence", "license"):
        if isinstance(about.get(key), str):
            said.append(f"Their licence: {escape(about[key])}.")
    if not sources:
        said.append("Their file does not say which texts they were learned from.")
    return " ".join(said)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _source(one: Any) -> str:
    """Its name without the folders, which are nobody's business."""
    name = str(one.get("name", one)) if isinstance(one, dict) else str(one)
    return name if "://" in name else name.rsplit("/", 1)[-1]
