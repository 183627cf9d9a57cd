"""What makes a model directory sound: the size of each file, and what must be in it.

All of it follows from the settings and the classes in config.json, so that a file is refused before
it is read. Each check raises `ModelError` that names the file, the rule and the value.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from numpy.typing import NDArray

from carryline.errors import ConfigError, ModelError
from carryline.model import linear, network
from carryline.model.config import Config
from carryline.model.history import ADDED, KEYS
from carryline.model.lexicon import EXPONENTS, ROWS, VECTORS, WEIGHT, WORDS, Lexicon
from carryline.text.data import Label
from carryline.text.examples import MOST_CLASSES
from carryline.text.tokens import largest_file

FORMAT = 1
HASHED = ("tokenizer.json", "model.safetensors")
SHARES = ("precision", "recall", "f1", "support")  # of a class
_VERSION = r"[\w.+-]{1,40}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"
LARGEST_CONFIG = 8 << 20  # bytes; nearly all of it is for names of classes
LARGEST_HISTORY = 16 << 20  # 60,000 epochs
LONGEST_ROW = 4096  # characters of an epoch
LARGEST_HEADER = 1 << 20  # of the weights; 64 layers of two directions take some 80 KB
LARGEST_WEIGHTS = 8 << 30  # two billion parameters


Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # of weights: data type and shape by name


class Head(NamedTuple):
    """What config.json says."""

    config: Config
    classes: list[Label]
    hashes: Mapping[str, str]
    made: dict[str, Any] | None


def limits(
    config: Config, classes: Sequence[Label], lexicon: Lexicon | None = None
) -> dict[str, int]:
    """Bytes that each file of a model with these settings and classes has at most; of those of the
    lexicon lexicon.py says it."""
    names, count = len(json.dumps(classes)), len(classes)
    rows = config.vocabulary + (len(lexicon.words) if lexicon else 0)
    shapes = network.parameter_shapes(config, rows, network.outputs(count))
    weights = LARGEST_HEADER + 4 * network.count_parameters(shapes)
    return {
        "config.json": LARGEST_CONFIG,
        "tokenizer.json": largest_file(config.vocabulary),
        "model.safetensors": min(weights, LARGEST_WEIGHTS),
        "history.jsonl": LARGEST_HISTORY,
        # a cell of the confusion matrix stands on a line of its own, indented by six
        "metrics.json": (1 << 20) + 12 * count**2 + 1024 * count + 8 * names,
    }


def most_brackets(classes: Sequence[Label]) -> int:
    """Lists and objects in metrics.json; an empty one takes 3 bytes there and 70 in memory."""
    names = json.dumps(classes)
    return 1000 + 4 * len(classes) + 8 * (names.count("[") + names.count("{"))


def check_head(file: Path, head: Any) -> Head:
    """The parsed config.json."""
    if not isinstance(head, dict):
        raise ModelError(f"{file} must hold a JSON object, it holds {reprlib.repr(head)}")
    if head.get("format") != FORMAT:
        raise ModelError(
            f"{file}: this Carryline reads format {FORMAT}, not {reprlib.repr(head.get('format'))}"
        )
    odd = head.keys() - {"format", "config", "classes", "sha256", "made"}
    if odd:
        raise ModelError(f"{file}: unknown entries {reprlib.repr(', '.join(sorted(odd)))}")
    settings, classes, hashes = head.get("config"), head.get("classes"), head.get("sha256")
    if not isinstance(settings, dict):
        raise ModelError(f"{file}: 'config' must be an object")
    try:
        config = Config.from_dict(settings)
    except ConfigError as error:
        raise ModelError(f"{file}: {error}") from None
    if not _are_classes(classes):
        raise ModelError(
            f"{file}: 'classes' must be a list of 2 to {MOST_CLASSES} different labels"
        )
    names = [*HASHED]
    names += [VECTORS] if config.vectors != "none" else []
    names += [linear.FILE] if config.linear else []
    if not isinstance(hashes, dict) or set(hashes) - _optional(config) != set(names):
        raise ModelError(f"{file}: 'sha256' must name {' and '.join(names)}")
    made = head.get("made")
    if made is not None:
        _check_made(file, made, len(cast(list[Label], classes)))
    return Head(config, cast(list[Label], classes), hashes, made)


def _optional(config: Config) -> set[str]:
    """What more may have a hash."""
    return set() if config.vectors == "none" else {WORDS}


def _are_classes(value: Any) -> bool:
    if not isinstance(value, list) or not 2 <= len(value) <= MOST_CLASSES:
        return False
    if not all(isinstance(c, str | int | float) and c == c for c in value):
        return False
    return len({str(c) for c in value}) == len(value)


Rules = Mapping[str, tuple[str, Callable[[Any], bool]]]  # by entry: what it must be, and whether


def _check_entries(file: Path, where: str, value: Any, rules: Rules) -> None:
    """An object with these entries at least."""
    if not isinstance(value, dict) or not value.keys() >= rules.keys():
        raise ModelError(f"{file}: {where} must be an object with {', '.join(rules)}")
    for key, (rule, holds) in rules.items():
        if not holds(value[key]):
            found = reprlib.repr(value[key])
            raise ModelError(f"{file}: {key!r} of {where} must be {rule}, it is {found}")


def _check_made(file: Path, made: Any, classes: int) -> None:
    count = ("a count", _is_count)
    rules: Rules = {
        "carryline": ("a version", lambda value: _is_word(value, _VERSION)),
        "date": (
            "a time in UTC such as 2026-01-31T12:00:00Z",
            lambda value: _is_word(value, _TIME),
        ),
        "texts": count,
        "validation_texts": count,
        "class_counts": (f"{classes} counts", lambda value: _are(_is_count, value, classes)),
        "sources": ("a list of objects with name and sha256", _are_sources),
    }
    _check_entries(file, "'made'", made, rules)
    more: Rules = {key: rule for key, rule in {"turns": count}.items() if key in made}
    _check_entries(file, "'made'", made, more)
    odd = made.keys() - rules.keys() - more.keys()
    if odd:
        raise ModelError(f"{file}: 'made' has unknown entries {reprlib.repr(sorted(odd))}")


def layout_of(weights: Mapping[str, NDArray[Any]]) -> Layout:
    """What the weights are by name."""
    return {name: (str(value.dtype), value.shape) for name, value in weights.items()}


def check_layout(
    file: Path, found: Layout, config: Config, outputs: int, lexicon: Lexicon | None = None
) -> Layout:
    """The weights' names, data types and shapes; returns those that are asked for, in order.

    The embedding may have as many rows as the vocabulary has entries, or fewer; with a lexicon
    those that `lexicon.packed` gives.
    """
    changed = 0 if lexicon is None else _rows(found, ROWS, 0, len(lexicon.vectors.words))
    others = config.vocabulary + (0 if lexicon is None else len(lexicon.further))
    rows = _rows(found, WEIGHT, changed + 1, changed + others)
    shapes = network.parameter_shapes(config, rows, outputs)
    expected: dict[str, tuple[str, tuple[int, ...]]]
    expected = {name: ("float32", shape) for name, shape in shapes.items()}
    if lexicon is not None:
        expected |= {WEIGHT: ("int8", shapes[WEIGHT]), EXPONENTS: ("int8", (rows,))}
        expected[ROWS] = ("int32", (changed,))
    if found.keys() != expected.keys():
        odd = ", ".join(sorted(found.keys() ^ expected.keys())[:5])
        raise ModelError(
            f"{file}: the weights do not fit the configuration: {reprlib.repr(odd)[1:-1]}"
        )
    for name, (kind, wanted) in expected.items():
        if found[name] != (kind, wanted):
            dtype, other = found[name]
            raise ModelError(
                f"{file}: {name} must be {kind} {list(wanted)}, it is {reprlib.repr(dtype)[1:-1]} "
                f"{reprlib.repr(list(other))}"
            )
    return expected


def _rows(found: Layout, name: str, least: int, most: int) -> int:
    """Of a weight, if there may be so many; else the most there may be."""
    _, shape = found.get(name, ("", ()))
    fits = bool(shape) and type(shape[0]) is int and least <= shape[0] < most
    return shape[0] if fits else most


def check_row(file: Path, number: int, row: Any) -> None:
    """An epoch of history.jsonl."""
    optional = ("a number or null", lambda value: value is None or _is_number(value))
    _check_entries(file, f"line {number}", row, dict.fromkeys(sorted(KEYS), optional))
    for key in sorted(ADDED & row.keys()):
        if not optional[1](row[key]):
            raise ModelError(f"{file}: {key!r} of line {number} must be {optional[0]}")
    for key in ("epoch", "loss", "accuracy", "tokens_per_second", "seconds"):
        if not _is_number(row[key]):
            raise ModelError(f"{file}: {key!r} of line {number} must be a number, it is null")


def check_metrics(file: Path, value: Any, classes: list[Label]) -> None:
    """The parsed metrics.json: null, or the figures of `metrics.evaluate` for these classes."""
    if value is None:
        return
    size, number = len(classes), ("a number", _is_number)
    rules: Rules = {
        **dict.fromkeys(("texts", "accuracy", "loss", "macro_f1"), number),
        "roc_auc": ("a number or null", lambda auc: auc is None or _is_number(auc)),
        "confusion": (
            f"{size} rows of {size} counts",
            lambda rows: _are(lambda row: _are(_is_count, row, size), rows, size),
        ),
        "per_class": ("a list of objects", lambda rows: _are(_is_object, rows, size)),
    }
    _check_entries(file, "the figures", value, rules)
    for label, row in zip(classes, value["per_class"], strict=True):
        shares = {"label": (reprlib.repr(label), lambda name, label=label: name == label)}
        _check_entries(file, "a class", row, {**shares, **dict.fromkeys(SHARES, number)})
    if value["texts"] < 1:
        raise ModelError(f"{file}: 'texts' of the figures must be 1 or more")
    if value.get("baseline") is not None:
        _check_baseline(file, value["baseline"])


def _check_baseline(file: Path, baseline: Any) -> None:
    word, number = ("a word", _is_word), ("a number", _is_number)
    shares: Rules = dict.fromkeys(("accuracy", "macro_f1"), number)
    _check_entries(
        file,
        "'baseline'",
        baseline,
        {
            "majority": ("an object", _is_object),
            "linear": ("an object or null", lambda value: value is None or _is_object(value)),
            "why": word,
        },
    )
    label = ("a label", lambda value: isinstance(value, str | int | float))
    _check_entries(file, "'majority'", baseline["majority"], {"label": label, **shares})
    if baseline["linear"] is not None:
        rules: Rules = {"name": word, "texts": number, "seconds": number, **shares}
        _check_entries(file, "'linear'", baseline["linear"], rules)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_word(value: Any, pattern: str = "") -> bool:
    """A string; with a pattern one that is as it says from end to end."""
    return isinstance(value, str) and (not pattern or bool(re.fullmatch(pattern, value)))


def _is_number(value: Any) -> bool:
    """Finite, and no whole number that is too large to be written as a float."""
    return (type(value) is float and math.isfinite(value)) or (
        type(value) is int and abs(value) < 1 << 63
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _are(kind: Callable[[Any], bool], value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(kind, value))


def _are_sources(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(source, dict)
        and source.keys() == {"name", "sha256"}
        and _is_word(source["name"])
        and _is_word(source["sha256"], "[0-9a-f]{64}")
        for source in value
    )
