"""The one configuration of a model and its training, and the presets.

A `Config` is written whole into every model directory, so a model says how it was made. What each
setting means and may be stands with it, once: errors, help and docs/settings.md take it from there.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carryline.errors import ConfigError

CELLS = ("rnn", "lstm", "gru", "carry")
POOLINGS = ("last", "max", "mean", "concat")
BATCHINGS = ("length", "shuffle")
SCHEDULES = ("constant", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
KEEPS = ("loss", "accuracy", "macro_f1", "last")
PRECISIONS = ("fp32", "bf16")
# After the first model files were written: when absent, the default.
ADDED = ("precision", "keep", "average", "vectors", "linear", "folds", "adversarial")
# What the weights belong to: a model that is trained further has these as they were.
NETWORK = (
    "vocabulary", "embedding", "cell", "hidden", "bidirectional", "pooling", "dense", "mask",
    "vectors",
)  # fmt: skip


# What the preset `auto` decides by the texts (tasks/recipe.py).
FOLLOWED = ("vectors", "folds", "epochs", "batch_size", "adversarial")


def _setting(
    default: Any, meaning: str, rule: str = "", holds: Callable[[Any], bool] = lambda _: True
) -> Any:
    """A field of `Config`: all that is known of a setting stands here.

    rule: the values that it may have, {} being its name; holds: whether a value is one of them.
    """
    about = {"meaning": meaning, "rule": rule, "holds": holds}
    return dataclasses.field(default=default, metadata=about)


def _choice(default: str, meaning: str, choices: Sequence[str]) -> Any:
    """A setting that is one of some words."""
    return _setting(default, meaning, f"{{}} is one of {', '.join(choices)}", choices.__contains__)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a model is built and trained. Defaults are those of the textbook system.

    Raises `ConfigError` when a value is out of range.
    """

    # fmt: off
    preset: str = _setting("lecture", "name of the preset that the others were taken from")
    # tokens
    vocabulary: int = _setting(8185, "entries of the subword vocabulary at most, <pad> included",
        "257 <= {} <= 1048576", lambda n: 257 <= n <= 1 << 20)
    vectors: str = _setting("none",
        "word vectors with which whole words begin, which are tokens then; in a model the file's "
        "name and the first digits of its SHA-256",
        "{} is none, english or the path of a file (1 to 4096 characters) of `carryline vectors`",
        lambda path: 1 <= len(path) <= 4096)
    # network
    embedding: int = _setting(64, "width of a token's vector; with `vectors` theirs",
        "1 <= {} <= 65536", lambda n: 1 <= n <= 65536)
    cell: str = _choice("lstm", "of the recurrent layers", CELLS)
    hidden: tuple[int, ...] = _setting((64,), "state size of each layer, first to last",
        "{} names 1 to 64 layers of 1 to 65536 each",
        lambda sizes: 1 <= len(sizes) <= 64 and all(1 <= n <= 65536 for n in sizes))
    bidirectional: bool = _setting(True, "read each text from both ends")
    pooling: str = _choice("last",
        "of the states to one vector a text; concat: last, max and mean side by side", POOLINGS)
    dense: int = _setting(64, "width of the ReLU layer before the output; 0: none",
        "0 <= {} <= 65536", lambda n: 0 <= n <= 65536)
    dropout: float = _setting(0.0, "on embeddings, between layers and on the pooled vector",
        "0 <= {} < 1", lambda share: 0 <= share < 1)
    mask: bool = _setting(True, "false: fill batches up with <pad> and read it (textbook's flaw)")
    linear: int = _setting(0,
        "n-grams of words, and of characters, at most in a linear part beside the recurrent one; "
        "0: no such part", "0 <= {} <= 4194304", lambda n: 0 <= n <= 1 << 22)
    # training
    folds: int = _setting(0,
        "how the texts held out are chosen; 0: they are never trained on; 1: in the end the model "
        "is trained again on all texts; more: so many parts take turns, then all texts",
        "0 <= {} <= 100", lambda n: 0 <= n <= 100)
    epochs: int = _setting(10, "passes over the texts", "{} >= 1", lambda n: n >= 1)
    batch_size: int = _setting(64, "texts a step", "{} >= 1", lambda n: n >= 1)
    batching: str = _choice("length",
        "length: texts of similar length together; shuffle: as read", BATCHINGS)
    shuffle_buffer: int = _setting(10_000, "texts held while shuffling",
        "{} >= 1", lambda n: n >= 1)
    learning_rate: float = _setting(1e-3, "Adam's, at its highest",
        "0 < {} < 1000", lambda rate: 0 < rate < 1000)
    schedule: str = _choice("constant",
        "of the learning rate; cosine: down to 0 over the whole run", SCHEDULES)
    warmup: float = _setting(0.0, "share of all steps in which the rate rises linearly from 0",
        "0 <= {} <= 1", lambda share: 0 <= share <= 1)
    weight_decay: float = _setting(0.0, "AdamW's: taken off the weights, times the rate, each step",
        "0 <= {} < 1", lambda share: 0 <= share < 1)
    clip: float = _setting(0.0, "largest 2-norm of all gradients together; 0: no clipping",
        "0 <= {} < inf", lambda norm: 0 <= norm < float("inf"))
    average: float = _setting(0.0,
        "share of the old one in a running average of the weights, which is then evaluated and "
        "kept; 0: no average", "0 <= {} < 1", lambda share: 0 <= share < 1)
    keep: str = _choice("loss",
        "the weights of the epoch that is best by this figure of the validation part; last: of the "
        "last one", KEEPS)
    patience: int = _setting(0,
        "stop after so many epochs that were no better by `keep`; 0: never",
        "{} >= 0", lambda n: n >= 0)
    adversarial: float = _setting(0.0,
        "train each batch also with its embeddings changed for the worse, each by this share of "
        "its length (Miyato et al. 2017), at twice the cost; 0: not", "0 <= {} < 1",
        lambda share: 0 <= share < 1)
    class_weights: str = _choice("none", "balanced: each class counts alike, however rare",
        CLASS_WEIGHTS)
    precision: str = _choice("fp32", "of the recurrence's factors; bf16 is faster", PRECISIONS)
    seed: int = _setting(0, "of all that is drawn: same seed, same model",
        "0 <= {} < 2**63", lambda n: 0 <= n < 1 << 63)
    # fmt: on

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not field.metadata["holds"](value):
                shown = list(value) if isinstance(value, tuple) else value
                rule = field.metadata["rule"].format(field.name)
                raise ConfigError(f"setting out of range: {rule}, it is {shown!r}")

    def replace(self, /, **overrides: Any) -> Config:
        """A copy with some settings replaced; each is checked and converted to its type."""
        checked = {key: _convert(key, value) for key, value in overrides.items()}
        return dataclasses.replace(self, **checked)

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}

    @staticmethod
    def from_dict(settings: Mapping[str, Any]) -> Config:
        """The configuration in `settings`, which must have all of `Config`'s keys and no others;
        but for those `ADDED` later."""
        config = Config().replace(**settings)
        missing = config.to_dict().keys() - settings.keys() - set(ADDED)
        if missing:
            raise ConfigError(f"missing settings: {', '.join(sorted(missing))}")
        return config


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The settings of theirs that ours has otherwise, as `dropout: 0.5, yours 0.3; ...`."""
    return "; ".join(
        f"{key}: {value}, yours {ours[key]}" for key, value in theirs.items() if value != ours[key]
    )


def _convert(key: str, value: Any) -> Any:
    """`value`, as a program or the command line gave it, in the type of setting `key`."""
    types = {field.name: type(field.default) for field in dataclasses.fields(Config)}
    if key not in types:
        raise ConfigError(f"unknown setting {key!r}; the settings are {', '.join(types)}")
    if isinstance(value, np.generic | np.ndarray):  # as searches over settings give them
        value = value.tolist()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and types[key] is not str:
        try:
            value = json.loads(value.lower())
        except (ValueError, RecursionError):
            raise _wrong_type(key, value, types[key]) from None
    if types[key] is tuple:
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
        if all(type(item) is int for item in value):
            return value
    elif types[key] is float and type(value) is int and abs(value) < 1 << 64:
        return float(value)
    elif type(value) is types[key]:
        return value
    raise _wrong_type(key, value, types[key])


def _wrong_type(key: str, value: Any, wanted: type) -> ConfigError:
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        tuple: "a whole number or a list of them, such as [64,32]",
    }
    return ConfigError(f"setting {key} must be {names[wanted]}, it is {value!r}")


Config.__doc__ = f"{Config.__doc__}\n" + "\n".join(
    f"    {field.name}: {field.metadata['meaning']}" for field in dataclasses.fields(Config)
)  # for help(Config)

PRESETS: dict[str, Config] = {
    "auto": Config(  # what follows from the data is in tasks/recipe.py
        preset="auto",
        embedding=128,
        hidden=(128,),
        pooling="concat",
        dense=0,
        dropout=0.4,
        linear=1 << 18,
        epochs=8,
        batch_size=32,
        learning_rate=1e-3,
        clip=1.0,
        average=0.99,
        keep="last",
        folds=1,
    ),
    "lecture": Config(),
    "lecture-stacked": Config(preset="lecture-stacked", hidden=(64, 32)),
    "small": Config(
        preset="small",
        vocabulary=4096,
        embedding=32,
        cell="gru",
        hidden=(32,),
        pooling="concat",
        dense=0,
        dropout=0.3,
        linear=1 << 16,
        epochs=8,
        learning_rate=3e-3,
        schedule="cosine",
        clip=1.0,
        keep="macro_f1",
    ),
    "base": Config(
        preset="base",
        embedding=128,
        hidden=(128,),
        pooling="concat",
        dense=0,
        dropout=0.5,
        epochs=6,
        learning_rate=2e-3,
        schedule="cosine",
        warmup=0.1,
        clip=1.0,
        keep="macro_f1",
        patience=3,
    ),
}


def preset(name: str, /, **overrides: Any) -> Config:
    """The preset `name` with some settings replaced."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name].replace(**overrides)
