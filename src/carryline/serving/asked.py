"""What a request's body asks for, checked: each rule is named with the value that broke it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carryline.serving.refusal import RequestError
from carryline.serving.settings import Limits
from carryline.text.data import key

_SHOWN = 60  # characters of a value
UNITS = 32  # of a layer, at most: an answer of 2,000 tokens is 4 MB


@dataclass(frozen=True)
class Predict:
    """model: None for the first one; abstain_below: the probability that an answer needs."""

    texts: list[str]
    model: str | None
    abstain_below: float

    @classmethod
    def of(cls, body: bytes, limits: Limits) -> Predict:
        fields = _fields(body, {"text", "texts", "model", "abstain_below"})
        if ("text" in fields) == ("texts" in fields):
            raise RequestError(
                422, "the body has either text, a string, or texts, a list of strings"
            )
        texts = [fields["text"]] if "text" in fields else fields["texts"]
        if not isinstance(texts, list):
            raise RequestError(422, f"texts is a list of strings, it is {_shown(texts)}")
        if len(texts) > limits.texts:
            raise RequestError(
                422, f"texts has at most {limits.texts:,} entries, it has {len(texts):,}"
            )
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise RequestError(
                    422, f"a text is a string, text {number} (from 0) is {_shown(text)}"
                )
        below = _number(fields, "abstain_below", 0.0)
        return cls(texts, _string(fields, "model"), below)


@dataclass(frozen=True)
class Explain:
    """See `TextClassifier.explain`."""

    text: str
    model: str | None
    label: str | None
    way: str
    by: str

    @classmethod
    def of(cls, body: bytes, limits: Limits) -> Explain:
        fields = _fields(body, {"text", "model", "label", "way", "by"})
        label = fields.get("label")
        if isinstance(label, (bool, int, float)):
            label = key(label)
        return cls(
            _text(fields), _string(fields, "model"), _string({"label": label}, "label"),
            _string(fields, "way") or "gradients", _string(fields, "by") or "words",
        )  # fmt: skip


@dataclass(frozen=True)
class Inspect:
    """See `carryline.explaining.trace.traced`. units: how many."""

    text: str
    model: str | None
    layer: int
    direction: str
    units: int

    @classmethod
    def of(cls, body: bytes, limits: Limits) -> Inspect:
        fields = _fields(body, {"text", "model", "layer", "direction", "units"})
        return cls(
            _text(fields), _string(fields, "model"), _whole(fields, "layer", 1),
            _string(fields, "direction") or "forward", _whole(fields, "units", 6, most=UNITS),
        )  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """A text whose probabilities are asked for after each word."""

    text: str
    model: str | None

    @classmethod
    def of(cls, body: bytes, limits: Limits) -> Stream:
        fields = _fields(body, {"text", "model"})
        return cls(_text(fields), _string(fields, "model"))


def _fields(body: bytes, known: set[str]) -> Mapping[str, Any]:
    try:
        found = json.loads(body, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise RequestError(422, f"the body is UTF-8, it is not at byte {error.start}") from None
    except RecursionError:
        raise RequestError(422, "the body is JSON of an object, it is nested too deeply") from None
    except ValueError as error:
        raise RequestError(422, f"the body is JSON: {error}") from None
    if not isinstance(found, dict):
        raise RequestError(422, f"the body is a JSON object, it is {_shown(found)}")
    for name in found:
        if name not in known:
            raise RequestError(
                422, f"the body has {', '.join(sorted(known))}; {_shown(name)} is none of them"
            )
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _text(fields: Mapping[str, Any]) -> str:
    if "text" not in fields:
        raise RequestError(422, "the body has text, a string; it has none")
    text = fields["text"]
    if not isinstance(text, str):
        raise RequestError(422, f"text is a string, it is {_shown(text)}")
    return text


def _string(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(422, f"{name} is a string, it is {_shown(value)}")
    return value


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise RequestError(422, f"0 <= {name} <= 1, it is {_shown(value)}")
    return float(value)


def _whole(fields: Mapping[str, Any], name: str, default: int, most: int = 1000) -> int:
    value = fields.get(name)
    value = default if value is None else value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 1 <= value <= most or value % 1:
        raise RequestError(422, f"{name} is a whole number from 1 to {most}, it is {_shown(value)}")
    return int(value)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
