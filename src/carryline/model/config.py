"""The one configuration of a model and its training, and the presets.

A `Config` is written whole into every model directory, so a model says how it was made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carryline.errors import ConfigError

CELLS = ("rnn", "lstm", "gru", "carry")
POOLINGS = ("last", "max", "mean", "concat")
BATCHINGS = ("length", "shuffle")
SCHEDULES = ("constant", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
KEEPS = ("loss", "accuracy", "macro_f1")
PRECISIONS = ("fp32", "bf16")
ADDED = ("precision", "keep")  # after the first model files were written: when absent, the default
# What the weights belong to: a model that is trained further has these as they were.
NETWORK = (
    "vocabulary", "embedding", "cell", "hidden", "bidirectional", "pooling", "dense", "mask"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a model is built and trained. Defaults are those of the textbook system.

    Raises `ConfigError` when a value is out of range.
    """

    preset: str = "lecture"
    # tokens
    vocabulary: int = 8185  # entries of the subword vocabulary at most, <pad> included
    # network
    embedding: int = 64  # width of a token's vector
    cell: str = "lstm"  # rnn, lstm, gru, carry
    hidden: tuple[int, ...] = (64,)  # state size of each layer, first to last
    bidirectional: bool = True
    pooling: str = "last"  # last, max, mean, concat (last, max and mean side by side)
    dense: int = 64  # width of the ReLU layer before the output; 0: none
    dropout: float = 0.0  # on embeddings, between layers and on the pooled vector
    mask: bool = True  # False: fill batches up with <pad> and read it (the textbook's flaw)
    # training
    epochs: int = 10
    batch_size: int = 64  # texts a step
    batching: str = "length"  # length: texts of similar length together; shuffle: as read
    shuffle_buffer: int = 10_000  # texts held while shuffling
    learning_rate: float = 1e-3
    schedule: str = "constant"  # constant, cosine (down to 0 over the whole run)
    warmup: float = 0.0  # share of all steps in which the rate rises linearly from 0
    weight_decay: float = 0.0
    clip: float = 0.0  # largest 2-norm of all gradients together; 0: no clipping
    keep: str = "loss"  # the epoch whose weights stay: best by validation loss, accuracy, macro_f1
    patience: int = 0  # stop after so many epochs that were no better by `keep`; 0: never
    class_weights: str = "none"  # none, balanced
    precision: str = "fp32"  # of the recurrence's factors: fp32, or bf16 (faster)
    seed: int = 0

    def __post_init__(self) -> None:
        for rule, holds in _rules(self):
            if not holds:
                raise ConfigError(f"setting out of range: {rule}")

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


def _rules(c: Config) -> list[tuple[str, bool]]:
    return [
        (f"257 <= vocabulary <= 1048576, it is {c.vocabulary}", 257 <= c.vocabulary <= 1 << 20),
        (f"1 <= embedding <= 65536, it is {c.embedding}", 1 <= c.embedding <= 65536),
        (f"cell is one of {', '.join(CELLS)}, it is {c.cell!r}", c.cell in CELLS),
        (
            f"hidden names 1 to 64 layers of 1 to 65536 each, it is {list(c.hidden)}",
            1 <= len(c.hidden) <= 64 and all(1 <= h <= 65536 for h in c.hidden),
        ),
        (f"pooling is one of {', '.join(POOLINGS)}, it is {c.pooling!r}", c.pooling in POOLINGS),
        (f"0 <= dense <= 65536, it is {c.dense}", 0 <= c.dense <= 65536),
        (f"0 <= dropout < 1, it is {c.dropout}", 0 <= c.dropout < 1),
        (f"epochs >= 1, it is {c.epochs}", c.epochs >= 1),
        (f"batch_size >= 1, it is {c.batch_size}", c.batch_size >= 1),
        (
            f"batching is one of {', '.join(BATCHINGS)}, it is {c.batching!r}",
            c.batching in BATCHINGS,
        ),
        (f"shuffle_buffer >= 1, it is {c.shuffle_buffer}", c.shuffle_buffer >= 1),
        (f"0 < learning_rate < 1000, it is {c.learning_rate}", 0 < c.learning_rate < 1000),
        (
            f"schedule is one of {', '.join(SCHEDULES)}, it is {c.schedule!r}",
            c.schedule in SCHEDULES,
        ),
        (f"0 <= warmup <= 1, it is {c.warmup}", 0 <= c.warmup <= 1),
        (f"0 <= weight_decay < 1, it is {c.weight_decay}", 0 <= c.weight_decay < 1),
        (f"0 <= clip < inf, it is {c.clip}", 0 <= c.clip < float("inf")),
        (f"keep is one of {', '.join(KEEPS)}, it is {c.keep!r}", c.keep in KEEPS),
        (f"patience >= 0, it is {c.patience}", c.patience >= 0),
        (
            f"class_weights is one of {', '.join(CLASS_WEIGHTS)}, it is {c.class_weights!r}",
            c.class_weights in CLASS_WEIGHTS,
        ),
        (f"0 <= seed < 2**63, it is {c.seed}", 0 <= c.seed < 1 << 63),
        (
            f"precision is one of {', '.join(PRECISIONS)}, it is {c.precision!r}",
            c.precision in PRECISIONS,
        ),
    ]


def _convert(key: str, value: Any) -> Any:
    """`value`, as a program or the command line gave it, in the type of setting `key`."""
    types = {field.name: type(field.default) for field in dataclasses.fields(Config)}
    if key not in types:
        raise ConfigError(f"unknown setting {key!r}; the settings are {', '.join(types)}")
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


PRESETS: dict[str, Config] = {
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
