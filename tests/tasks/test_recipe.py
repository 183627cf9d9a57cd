"""What follows from the data when nothing is said, and that what is said wins."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline import TextClassifier, load
from carryline.evaluation.card import options
from carryline.model.config import FOLLOWED, preset
from carryline.tasks import recipe, vocabulary
from carryline.tasks.parts import Parts, prepared
from carryline.text import vectors as vectors_module
from commands import as_json, done, fails, sentences, weights, write
from lexicons import vectors_file

WORDS = ["the", "film", "of", "good", "bad", "never", "read", "night"]  # of lexicons
SMALL: dict[str, Any] = {"vocabulary": 300, "hidden": 8, "linear": 500, "epochs": 2}


@pytest.fixture
def english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Vectors of a few words, as if they came with Carryline."""
    return at(vectors_file(tmp_path / "english.safetensors"), monkeypatch)


def at(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (
        vectors_module,
        recipe,
        vocabulary,
    ):
        monkeypatch.setattr(module, "ENGLISH", file)
    return file


def parts_of(texts: int, words: int = 5, *, valid: Any = 0.1, foreign: bool = False) -> Parts:
    drawn = np.random.default_rng(0).integers(0, len(WORDS), (texts, words))
    rows = [" ".join("xyz" + WORDS[i] if foreign else WORDS[i] for i in row) for row in drawn]
    return prepared(rows, ["a", "b"] * (texts // 2), None, valid, 0, None)


def chosen(parts: Parts, **given: Any) -> tuple[dict[str, Any], list[str]]:
    config, why = recipe.followed(preset("auto", **given), set(given), parts)
    usual = preset("auto", **given).to_dict()
    changed = {name for name, value in config.to_dict().items() if value != usual[name]}
    assert changed <= {*FOLLOWED} - {*given}
    return {name: getattr(config, name) for name in FOLLOWED}, why


def test_few_many_and_long_texts(english: Path) -> None:
    fewer, why = chosen(parts_of(100, 25))
    assert fewer["folds"] == 3
    assert why[0].startswith("100 texts of 25 words are few: ")
    few, _ = chosen(parts_of(1000, 25))
    assert few["folds"] == 2
    many, why = chosen(parts_of(2000, 25))
    assert many["folds"] == 1
    assert why[0].startswith("2,000 texts of 25 words: ")
    more, why = chosen(parts_of(6000, 25))
    assert many == more | {"batch_size": few["batch_size"]}
    assert why[0].startswith("6,000 texts of 25 words: ")
    long, why = chosen(parts_of(2000, 160))
    assert long["folds"] == 1
    assert long["batch_size"] > more["batch_size"] > many["batch_size"]
    assert long["epochs"] <= many["epochs"] <= few["epochs"] < fewer["epochs"]
    assert why[0].startswith("2,000 texts of 160 words: ")
    for name in ("epochs", "batch_size", "folds"):
        assert f"{name} {long[name]}" in why[0]
    few_long, why = chosen(parts_of(100, 160))
    assert few_long["folds"] == 3
    assert few_long["epochs"] < few["epochs"]
    assert why[0].startswith("100 texts of 160 words are few: ")
    assert {part["adversarial"] for part in (fewer, few, many, long, few_long)} == {0}


def test_short_texts_are_changed_for_the_worse(english: Path) -> None:
    for texts in (100, 2000):
        settings, why = chosen(parts_of(texts, 10))
        assert settings["adversarial"] == 0.04
        assert "short texts" in why[1] and "adversarial 0.04" in why[1]


def test_given_validation_texts_are_not_counted(english: Path) -> None:
    texts = [f"the film {i}" for i in range(1990)]
    parts = prepared(texts, ["a", "b"] * 995, None, (texts[:100], ["a"] * 100), 0, None)
    assert chosen(parts)[0]["folds"] == 2


def test_english_or_not(english: Path) -> None:
    settings, why = chosen(parts_of(100))
    assert settings["vectors"] == "english"
    assert why[-1] == (
        "English (100% of the words are known): whole words begin as vectors: vectors english"
    )
    settings, why = chosen(parts_of(100, foreign=True))
    assert settings["vectors"] == "none"
    assert "no English (0% of the words are known)" in why[-1]
    numbers = prepared(["1 2 3", "!", "", "4"] * 5, ["a", "b"] * 10, None, 0.1, 0, None)
    assert chosen(numbers)[0]["vectors"] == "none"


def test_what_is_given_wins(english: Path) -> None:
    given = {"epochs": 11, "folds": 0, "vectors": "none", "batch_size": 7, "adversarial": 0.1}
    settings, why = chosen(parts_of(100), **given)
    assert settings == given
    assert why == []
    settings, why = chosen(parts_of(100), epochs=11)
    assert settings["epochs"] == 11
    assert settings["folds"] == 3
    assert "epochs" not in why[0]


def test_the_width_that_is_given_is_not_the_vectors(english: Path) -> None:
    """They would be refused."""
    settings, why = chosen(parts_of(100, 25), embedding=16)
    assert settings["vectors"] == "none"
    assert len(why) == 1


def test_without_the_english_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(tmp_path / "missing.safetensors", monkeypatch)
    settings, why = chosen(parts_of(100, 25))
    assert settings["vectors"] == "none"
    assert len(why) == 1
    model = TextClassifier(**SMALL, embedding=8).fit(
        ["a film", "dull"] * 20, ["x", "y"] * 20, threads=1, baseline=False
    )
    assert model.trained.config.vectors == "none"


# --- as the default of `fit` and `train`


def test_it_is_the_default(english: Path, tmp_path: Path) -> None:
    """Kept in the model, which is the same when it is trained anew with its settings."""
    texts, labels = ["the film good", "of the night bad"] * 20, ["x", "y"] * 20
    model = TextClassifier(**SMALL).fit(texts, labels, threads=1, baseline=False)
    config = model.trained.config
    assert (config.preset, config.vectors, config.folds) == ("auto", "english", 3)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert {*FOLLOWED} <= again.given
    again.fit(texts, labels, threads=1, baseline=False)
    assert again.trained.config == config
    for name, value in again.network.weights.items():
        assert (value == model.network.weights[name]).all()


def test_warm_start_takes_the_settings_over(english: Path) -> None:
    texts, labels = ["the film good", "of the night bad"] * 20, ["x", "y"] * 20
    model = TextClassifier(**SMALL).fit(texts, labels, threads=1, baseline=False)
    before = model.trained.config
    model.fit(["xyz", "zyx"] * 10, ["x", "y"] * 10, warm_start=True, threads=1, baseline=False)
    assert model.trained.config == before


def test_options_name_all_that_the_texts_would_decide() -> None:
    """So the command of a card makes the model whatever the recipe says of other texts."""
    words = options(preset("auto", epochs=3))
    assert words[:2] == ["--preset", "auto"]
    assert words[words.index("--vectors") + 1] == "none"
    for name in ("folds=1", "batch_size=32"):
        assert name in words
    assert not any(word.startswith("dropout") for word in words)


def test_train_says_what_it_chose_and_resumes(english: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "d.csv", sentences(40)), tmp_path / "m"
    arguments = ["train", data, "--epochs", 1, "--set", "hidden=8", "--set", "vocabulary=300"]
    arguments += ["--set", "linear=500", "--no-baseline", "--threads", 1]
    result = done(*arguments, "--out", out)
    assert "words are few: held out in three turns, small batches" in result.stderr
    assert "turn 3 of 3" in result.stderr
    assert "40 texts held out" in (out / "README.md").read_text("utf-8")
    said = done(*arguments, "--out", out, "--resume")
    assert "is complete" in said.stderr
    told = as_json(*arguments, "--preset", "auto", "--out", out, "--resume")
    assert told["texts"] == 40
    assert told["epochs"] == 1
    assert "folds: 3, yours 2" in fails(2, *arguments, "--set", "folds=2", "--out", out, "--resume")
    assert "no checkpoint" in fails(2, *arguments[:2], "--epochs", 2, "--set", "linear=500",
                                    "--set", "hidden=8", "--set", "vocabulary=300",
                                    "--out", out, "--resume")  # fmt: skip
    card = (out / "README.md").read_text("utf-8")
    command = next(line for line in card.splitlines() if line.startswith("carryline train"))
    words = shlex.split(command.replace("MODEL", str(tmp_path / "again")))
    done("train", data, *words[words.index("--preset") :], "--threads", 1, "--no-baseline")
    assert weights(tmp_path / "again") == weights(out)
