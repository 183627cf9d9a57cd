"""The configuration: defaults, conversion, refusal of everything else; hostile config.json."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline import load
from carryline.errors import ConfigError, ModelError
from carryline.model import config
from carryline.model.checks import HASHED
from carryline.model.config import (
    ADDED,
    BATCHINGS,
    CLASS_WEIGHTS,
    KEEPS,
    POOLINGS,
    PRECISIONS,
    PRESETS,
    SCHEDULES,
    Config,
)

SETTINGS = {field.name: field.default for field in dataclasses.fields(Config)}

configs = st.builds(
    Config,
    vocabulary=st.integers(257, 1 << 20),
    embedding=st.integers(1, 65536),
    cell=st.sampled_from(config.CELLS),
    hidden=st.lists(st.integers(1, 65536), min_size=1, max_size=64).map(tuple),
    bidirectional=st.booleans(),
    pooling=st.sampled_from(POOLINGS),
    dense=st.integers(0, 65536),
    dropout=st.floats(0, 1, exclude_max=True),
    mask=st.booleans(),
    epochs=st.integers(1),
    batch_size=st.integers(1),
    batching=st.sampled_from(BATCHINGS),
    shuffle_buffer=st.integers(1),
    learning_rate=st.floats(0, 1000, exclude_min=True, exclude_max=True),
    schedule=st.sampled_from(SCHEDULES),
    warmup=st.floats(0, 1),
    weight_decay=st.floats(0, 1, exclude_max=True),
    clip=st.floats(0, allow_infinity=False),
    average=st.floats(0, 1, exclude_max=True),
    keep=st.sampled_from(KEEPS),
    patience=st.integers(0),
    class_weights=st.sampled_from(CLASS_WEIGHTS),
    precision=st.sampled_from(PRECISIONS),
    seed=st.integers(0, (1 << 63) - 1),
)


@given(configs)
def test_a_configuration_goes_through_json_unchanged(c: Config) -> None:
    written = json.loads(json.dumps(c.to_dict()))
    assert written.keys() == SETTINGS.keys()
    assert Config.from_dict(written) == c
    assert type(Config.from_dict(written).hidden) is tuple


def test_defaults_are_the_textbook() -> None:
    c = Config()
    assert (c.vocabulary, c.embedding, c.cell, c.hidden) == (8185, 64, "lstm", (64,))
    assert (c.bidirectional, c.pooling, c.dense, c.mask) == (True, "last", 64, True)
    assert (c.batch_size, c.shuffle_buffer, c.learning_rate) == (64, 10_000, 1e-3)
    assert PRESETS["lecture"] == c
    assert PRESETS["lecture-stacked"].hidden == (64, 32)


def test_presets_know_their_names() -> None:
    assert set(PRESETS) == {"auto", "lecture", "lecture-stacked", "small", "base"}
    for name, settings in PRESETS.items():
        assert settings.preset == name
        assert config.preset(name) is not None
        assert config.preset(name, epochs=77) == dataclasses.replace(settings, epochs=77)
    with pytest.raises(
        ConfigError, match="unknown preset 'large'; the presets are auto, lecture, "
    ):
        config.preset("large")


OUT_OF_RANGE: list[tuple[str, Any]] = [
    ("vectors", ""), ("vectors", "x" * 4097),
    ("vocabulary", 256), ("vocabulary", (1 << 20) + 1), ("embedding", 0), ("embedding", 65537),
    ("cell", "LSTM"), ("cell", ""), ("hidden", []), ("hidden", [0]), ("hidden", [-1]),
    ("hidden", [65537]), ("hidden", [4] * 65), ("pooling", "first"), ("dense", -1),
    ("dense", 65537), ("dropout", 1.0), ("dropout", -0.1), ("dropout", float("nan")),
    ("epochs", 0), ("batch_size", 0), ("batching", "random"), ("shuffle_buffer", 0),
    ("learning_rate", 0.0), ("learning_rate", 1000.0), ("learning_rate", float("nan")),
    ("learning_rate", float("inf")), ("schedule", "linear"), ("warmup", 1.1),
    ("warmup", float("nan")), ("weight_decay", 1.0), ("weight_decay", -1e-9), ("clip", -1.0),
    ("clip", float("inf")), ("clip", float("nan")), ("patience", -1),
    ("average", 1.0), ("average", -0.1), ("average", float("nan")),
    ("adversarial", 1.0), ("adversarial", -0.1), ("adversarial", float("nan")),
    ("linear", -1), ("linear", (1 << 22) + 1), ("folds", -1), ("folds", 101),
    ("keep", "f1"), ("class_weights", "yes"),
    ("seed", -1), ("seed", 1 << 63), ("precision", "fp16"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), OUT_OF_RANGE, ids=str)
def test_out_of_range_states_rule_and_value(key: str, value: Any) -> None:
    shown = repr(value) if isinstance(value, str | list) else str(value)
    with pytest.raises(ConfigError, match="setting out of range") as caught:
        Config().replace(**{key: value})
    assert key in str(caught.value)
    assert f"is {shown}" in str(caught.value) or "layers of" in str(caught.value)


def test_every_setting_with_a_range_is_tried() -> None:
    assert {key for key, _ in OUT_OF_RANGE} == SETTINGS.keys() - {"preset", "bidirectional", "mask"}


@pytest.mark.parametrize(
    ("key", "given_value", "expected"),
    [
        ("epochs", "3", 3),
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "1", 1.0),
        ("clip", 2, 2.0),
        ("mask", "False", False),
        ("mask", "true", True),
        ("hidden", "[64, 32]", (64, 32)),
        ("hidden", "16", (16,)),
        ("hidden", 16, (16,)),
        ("hidden", [8, 4], (8, 4)),
        ("hidden", (8,), (8,)),
        ("cell", "gru", "gru"),
    ],
)
def test_values_become_the_type_of_their_setting(key: str, given_value: Any, expected: Any) -> None:
    got = getattr(Config().replace(**{key: given_value}), key)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("epochs", 1.5, "a whole number"),
        ("epochs", "1.5", "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", None, "a whole number"),
        ("epochs", "many", "a whole number"),
        ("epochs", "", "a whole number"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", True, "a number"),
        ("learning_rate", [1.0], "a number"),
        ("learning_rate", "nan", "a number"),
        ("mask", 1, "true or false"),
        ("mask", "yes", "true or false"),
        ("cell", 1, "a word"),
        ("cell", ["lstm"], "a word"),
        ("hidden", [8.0], "a whole number or a list of them"),
        ("hidden", [True], "a whole number or a list of them"),
        ("hidden", "64,32", "a whole number or a list of them"),
        ("hidden", {"a": 1}, "a whole number or a list of them"),
        ("hidden", None, "a whole number or a list of them"),
    ],
    ids=str,
)
def test_another_type_is_refused(key: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"setting {key} must be {wanted}") as caught:
        Config().replace(**{key: value})
    assert (value if isinstance(value, str) else repr(value).strip("[]")) in str(caught.value)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'layers'; the settings are preset, "):
        Config().replace(layers=2)
    with pytest.raises(ConfigError, match="unknown setting 'hiden'"):
        Config.from_dict({"hiden": [2]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(list(SETTINGS)), json_values)
def test_any_value_gives_a_configuration_or_a_clear_error(key: str, value: Any) -> None:
    try:
        named = [field.name for field in dataclasses.fields(Config().replace(**{key: value}))]
    except ConfigError as error:
        named = str(error).split()
    assert key in named


def test_whole_numbers_beyond_every_float_are_refused() -> None:
    for key in (key for key, default in SETTINGS.items() if type(default) is float):
        for value in (10**400, -(10**400), str(10**400)):
            with pytest.raises(ConfigError, match=key):
                Config().replace(**{key: value})


def test_text_nested_beyond_reason_is_refused() -> None:
    for key in ("epochs", "hidden", "mask", "clip"):
        with pytest.raises(ConfigError, match=key):
            Config().replace(**{key: "[" * 100_000})


def test_a_configuration_does_not_change() -> None:
    c = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        c.epochs = 3  # type: ignore[misc]
    changed = c.replace(epochs=3)
    assert (c.epochs, changed.epochs) == (10, 3)


# --- config.json of a hostile model directory


def put(key: str, value: Any) -> Callable[[Any], object]:
    """Changes config.json: an entry, or with a dot before it a setting."""
    at, name = (["config"], key[1:]) if key.startswith(".") else ([], key)
    return lambda head: (head[at[0]] if at else head).update({name: value})


HEADS: list[tuple[Callable[[Any], object], str]] = [
    (lambda head: head.pop("format"), "reads format 1, not None"),
    (put("format", 2), "reads format 1, not 2"),
    (lambda head: head.pop("config"), "'config' must be an object"),
    (put(".layers", 2), "unknown setting 'layers'"),
    (lambda head: head["config"].pop("pooling"), "pooling"),
    (put("odd", 1), "odd"),
    (put(".hidden", "wide"), "setting hidden must be"),
    (put(".cell", None), "setting cell must be a word"),
    (put(".hidden", [1 << 40]), "setting out of range: hidden"),
    (put(".hidden", [65536] * 64), "do not fit the configuration"),
    (put(".dense", 65536), "dense.weight must be float32"),
    (put(".learning_rate", float("nan")), "setting out of range: 0 < learning_rate"),
    (put(".clip", float("inf")), "setting out of range: 0 <= clip"),
    (put(".clip", 10**400), "clip"),
    (put(".epochs", "[" * 100_000), "epochs"),
    (lambda head: head.pop("classes"), "'classes' must be"),
    (put("classes", ["good"]), "'classes' must be"),
    (put("classes", ["1", 1]), "'classes' must be"),
    (put("classes", {"a": 1, "b": 2}), "'classes' must be"),
    (put("classes", [["a"], ["b"]]), "'classes' must be"),
    (put("classes", ["a", float("nan")]), "'classes' must be"),
    (put("classes", ["a", "b", "c"]), "head.weight must be float32"),
    (lambda head: head.pop("sha256"), "'sha256' must name"),
    (lambda head: head["sha256"].popitem(), "'sha256' must name"),
    (lambda head: head["sha256"].update({"../x": ""}), "'sha256' must name"),
    (lambda head: head["sha256"].update({HASHED[0]: 5}), HASHED[0]),
]


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


@pytest.mark.parametrize(("change", "rule"), HEADS, ids=[rule for _, rule in HEADS])
def test_a_hostile_configuration(copy: Path, change: Callable[[Any], object], rule: str) -> None:
    head = json.loads((copy / "config.json").read_text())
    del head["made"]  # or it would not fit other classes
    change(head)
    (copy / "config.json").write_text(json.dumps(head))
    with pytest.raises(ModelError, match=rule):
        load(copy)


@pytest.mark.parametrize("where", ["hidden", "epochs", "format", "classes", "top"])
def test_nesting_up_to_and_beyond_what_python_bears(copy: Path, where: str) -> None:
    head = json.loads((copy / "config.json").read_text())
    {"hidden": head["config"], "epochs": head["config"]}.get(where, head)[where] = "HERE"
    for depth in [*range(100, 1100, 7), 100_000]:
        value = "[" * depth + "]" * depth
        text = value if where == "top" else json.dumps(head).replace('"HERE"', value)
        (copy / "config.json").write_text(text)
        with pytest.raises(ModelError, match=r"config\.json"):
            load(copy)


def test_settings_added_later_may_be_absent() -> None:
    """Model files written before them are read as what they were."""
    before = {key: value for key, value in Config().to_dict().items() if key not in ADDED}
    assert Config.from_dict(before) == Config()
    del before["seed"]
    with pytest.raises(ConfigError, match="missing settings: seed"):
        Config.from_dict(before)


def test_numbers_of_numpy() -> None:
    given = {"dropout": np.float64(0.25), "embedding": np.int64(8), "mask": np.bool_(False)}
    config = Config().replace(**given, hidden=np.array([8, 4]))
    assert (config.dropout, config.embedding, config.mask) == (0.25, 8, False)
    assert config.hidden == (8, 4)
    assert [type(v) for v in (config.dropout, config.embedding, config.mask)] == [float, int, bool]
