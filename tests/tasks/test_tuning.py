"""The search over settings."""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from carryline import Callback, load
from carryline.errors import ConfigError, DataError, MissingExtraError, OutputError
from carryline.evaluation.trials import Trial
from carryline.model.config import PRESETS, Config
from carryline.tasks import fitting, space, tuning
from carryline.tasks.search import Proposals
from carryline.tasks.space import SPACE, defaults, plain, searched
from carryline.tasks.trying import Search, Watch
from carryline.tasks.tuning import Tuned, tune
from commands import PNG, sentences

pytest.importorskip("optuna", reason="the search needs Optuna: pip install 'carryline[tune]'")

TINY: dict[str, Any] = {"vocabulary": 300, "embedding": 8, "hidden": 8, "epochs": 2}
TINY |= {"batch_size": 16, "average": 0.0, "weight_decay": 0.0}
LEFT = {"learning_rate", "dropout", "cell", "pooling"}  # to be searched
BASE = Config()
Corpus = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def reviews() -> Corpus:
    texts, labels = zip(*sentences(120), strict=True)
    return list(texts), list(labels)


def found(reviews: Corpus, out: Path, trials: int = 3, **more: Any) -> Tuned:
    given = {"settings": TINY, "threads": 1, "baseline": False, **more}
    return tune(*reviews, out, trials=trials, **given)


def weights(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def proposed(seed: int, count: int, base: Config = BASE) -> list[dict[str, Any]]:
    """Settings of trials whose figure is made up of them."""
    proposals = Proposals(base.replace(seed=seed), searched(base, ["vocabulary"]))
    trials: list[Trial] = []
    for number in range(count):
        settings = proposals.next(trials)
        assert settings is not None
        figure = -abs(settings["dropout"] - 0.4)
        trials.append(Trial(number, "complete", settings, [figure] * 2, 1.0, float(number)))
    return [dict(trial.settings) for trial in trials]


# --- what is proposed


def test_the_same_seed_proposes_the_same_and_another_seed_others() -> None:
    first = proposed(1, 14)  # beyond those drawn at random
    assert first == proposed(1, 14)
    assert first[1:] != proposed(2, 14)[1:]
    assert len({json.dumps(settings) for settings in first}) == 14  # nothing is tried twice


@pytest.mark.parametrize("name", ["base", "small", "lecture", "lecture-stacked"])
def test_the_first_trial_is_the_defaults_of_every_preset(name: str) -> None:
    base = PRESETS[name]
    first, second = proposed(0, 2, base)
    assert base.replace(**first) == base
    assert base.replace(**second) != base


def test_every_line_of_the_space_is_a_setting_and_its_values_are_allowed() -> None:
    for name, kind in SPACE.items():
        wide = kind.with_default(getattr(BASE, name))
        assert wide.value(wide.coded(getattr(BASE, name))) == getattr(BASE, name)
        ends = [kind.low, kind.high] if isinstance(kind, space.Range) else kind.values
        for value in ends:
            assert getattr(BASE.replace(**{name: value}), name) == value


def test_what_is_given_is_not_searched() -> None:
    assert set(searched(BASE, SPACE.keys() - LEFT)) == LEFT
    assert "vocabulary" not in proposed(0, 1)[0]


def test_when_nothing_is_left_to_try_the_search_ends(reviews: Corpus, tmp_path: Path) -> None:
    given = {**TINY, "learning_rate": 0.01, "dropout": 0.1, "pooling": "max"}
    tuned = found(reviews, tmp_path / "m", trials=20, settings=given)
    cells = [trial.settings["cell"] for trial in tuned.outcome.trials]
    assert sorted(cells) == ["carry", "gru", "lstm"]


# --- what is ended


def judged(figures: list[float], *, epochs: int, keep: str = "accuracy") -> bool:
    """Whether a trial is hopeless beside five of ten epochs that had 0.1, 0.2, … by then."""
    base = BASE.replace(keep=keep, epochs=10)
    proposals = Proposals(base, searched(base, SPACE.keys() - {"dropout", "epochs"}))
    usual = plain(defaults(base, proposals.space))
    rising = [0.1 * epoch for epoch in range(1, 11)]
    trials = [
        Trial(n, "complete", {**usual, "dropout": 0.1 * n}, rising, 1.0, 1.0) for n in range(5)
    ]
    hopeless = proposals.judge(trials, {"dropout": 0.6, "epochs": epochs})
    return [hopeless(figures[:end]) for end in range(1, len(figures) + 1)][-1]


def test_a_bad_trial_is_ended_and_a_good_one_is_not() -> None:
    assert judged([0.1, 0.1, 0.1, 0.1], epochs=10)
    assert not judged([0.2, 0.3, 0.4, 0.5], epochs=10)
    assert not judged([0.01, 0.01], epochs=10)  # too early to say


def test_runs_are_compared_at_the_same_share_of_their_length() -> None:
    assert not judged([0.3, 0.55], epochs=4)  # half of it: as good as five of ten epochs
    assert judged([0.3, 0.45], epochs=4)
    assert not judged([0.1, 0.2, 0.3, 0.4, 0.45], epochs=12)  # the fourth tenth


def test_with_the_loss_less_is_better() -> None:
    assert judged([0.9, 0.9, 0.9, 0.9], epochs=10, keep="loss")
    assert not judged([0.1, 0.1, 0.1, 0.1], epochs=10, keep="loss")


def row(figure: float) -> Mapping[str, Any]:
    return {"epoch": 1, "valid_loss": 1.0, "valid_accuracy": figure}


def test_the_end_of_the_time_ends_a_trial_with_its_epoch_but_not_its_last() -> None:
    config = BASE.replace(keep="accuracy", epochs=2)
    watch = Watch(lambda figures: False, deadline=0.0)
    watch.config = config
    assert watch.epoch(row(0.5))
    assert watch.state == "stopped"
    watch = Watch(lambda figures: False, deadline=float("inf"))
    watch.config = config
    assert not watch.epoch(row(0.5))
    watch.deadline = 0.0
    assert not watch.epoch(row(0.4))
    assert (watch.state, watch.figures) == ("complete", [0.5, 0.5])  # the best so far


def test_hopeless_trials_are_in_the_table_and_never_win(
    reviews: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proposals, "judge", lambda self, trials, _: lambda figures: bool(trials))
    tuned = found(reviews, tmp_path / "m", settings={**TINY, "epochs": 3})
    assert [t.state for t in tuned.outcome.trials] == ["complete", "pruned", "pruned"]
    assert [len(t.figures) for t in tuned.outcome.trials] == [3, 1, 1]
    assert tuned.outcome.winner.number == 0
    assert tuned.outcome.counts() == "3 trials (2 pruned)"


def test_a_trial_that_cannot_be_trained_is_noted(
    reviews: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = {"learning_rate": space.Range(900, 999)}
    monkeypatch.setattr(space, "SPACE", wild)
    given = {**TINY, "learning_rate": 0.01, "weight_decay": 0.9}
    base = BASE.replace(**given)
    trials = [{"learning_rate": 0.01}, {"learning_rate": 999.0}, None]
    monkeypatch.setattr(Proposals, "next", lambda self, done: trials[len(done)])
    monkeypatch.setattr(tuning, "searched", lambda *_: {"learning_rate": space.Range(0.01, 999)})
    told: list[str] = []
    tuned = found(reviews, tmp_path / "m", settings=given, watcher=listener(told))
    assert [t.state for t in tuned.outcome.trials] == ["complete", "failed"]
    assert any("failed" in line and "finite" in line for line in told)
    assert tuned.config.learning_rate == base.learning_rate


def test_a_trial_without_room_in_memory_does_not_end_the_search(
    reviews: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Search.trained

    def full(self: Search, settings: Any, watch: Watch) -> Any:
        if len(self.trials) == 1:
            raise MemoryError
        return trained(self, settings, watch)

    monkeypatch.setattr(Search, "trained", full)
    told: list[str] = []
    tuned = found(reviews, tmp_path / "m", watcher=listener(told))
    assert [t.state for t in tuned.outcome.trials][:2] == ["complete", "failed"]
    assert any(line.endswith("(out of memory)") for line in told)


def listener(told: list[str]) -> Callback:
    class Listener(Callback):
        def message(self, text: str) -> None:
            told.append(text)

    return Listener()


# --- what is there at the end


@pytest.fixture(scope="module")
def tuned(reviews: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A whole search, of as many trials as importance needs."""
    return found(reviews, tmp_path_factory.mktemp("tuned") / "m", trials=11)


def test_the_model_is_the_best_trial(tuned: Tuned) -> None:
    classifier = load(tuned.path)
    figures = [t.figure or 0.0 for t in tuned.outcome.trials if t.state == "complete"]
    assert classifier.config == tuned.config
    assert max(figures) == tuned.outcome.winner.figure
    assert classifier.history[classifier.best_epoch - 1]["valid_macro_f1"] == max(figures)
    assert not tuned.path.with_name("m.partial").exists()
    assert tuned.exact


def test_the_table_the_picture_and_the_card(tuned: Tuned) -> None:
    with (tuned.path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    assert set(rows[0]) == {*LEFT, "number", "state", "macro_f1", "seconds", "epochs_done", "ended"}
    assert (tuned.path / "plots" / "tuning.png").read_bytes().startswith(PNG)
    text = (tuned.path / "README.md").read_text()
    assert text.index("## Tuned") < text.index("## Limits")
    assert "![What mattered in the search](plots/tuning.png)" in text
    assert "How much, only texts can say that nothing was chosen by" in text


def test_nothing_is_searched_twice_in_the_same_way(
    reviews: Corpus, tuned: Tuned, tmp_path: Path
) -> None:
    again = found(reviews, tmp_path / "m", trials=11)
    assert [t.settings for t in again.outcome.trials] == [t.settings for t in tuned.outcome.trials]
    assert [t.figures for t in again.outcome.trials] == [t.figures for t in tuned.outcome.trials]
    assert weights(again.path) == weights(tuned.path)


def test_with_enough_texts_some_are_left_aside_and_the_winner_is_trained_on_them_too(
    reviews: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "ENOUGH", 120)
    seen: list[int] = []
    train = fitting.train

    def counted(config: Any, parts: Any, *rest: Any) -> Any:
        seen.append(len(parts.train.texts))
        return train(config, parts, *rest)

    monkeypatch.setattr(fitting, "train", counted)
    tuned = found(reviews, tmp_path / "m")
    assert seen == [97, 97, 97, 108]  # of 120, 12 to validate on, 11 left aside
    assert tuned.exact
    check = tuned.outcome.check
    assert check is not None
    assert check.winner["texts"] == 11
    assert load(tuned.path).texts == 108
    assert (
        "On 11 texts that nothing was chosen by: accuracy" in (tuned.path / "README.md").read_text()
    )


def test_ctrl_c_in_the_last_training_delivers_the_trial_and_resume_ends_it(
    reviews: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "ENOUGH", 120)
    whole = found(reviews, tmp_path / "whole")

    class Press(Callback):
        """Ctrl-C when the last training, of which alone epochs are told, has had its first."""

        def epoch(self, row: Mapping[str, Any]) -> None:
            signal.raise_signal(signal.SIGINT)

    tuned = found(reviews, tmp_path / "m", watcher=Press())
    assert tuned.interrupted
    assert not tuned.exact
    assert load(tuned.path).texts == 97
    assert (tmp_path / "m.partial" / f"final-{tuned.outcome.winner.number}").is_dir()
    tuned = found(reviews, tmp_path / "m", resume=True)
    assert tuned.exact
    assert weights(tuned.path) == weights(whole.path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m", "whole"]


def test_with_the_time_over_the_defaults_are_still_trained_to_the_end(
    reviews: Corpus, tmp_path: Path
) -> None:
    tuned = found(reviews, tmp_path / "m", minutes=1e-9, settings={**TINY, "epochs": 3})
    assert [(t.state, len(t.figures)) for t in tuned.outcome.trials] == [("stopped", 1)]
    assert len(load(tuned.path).history) == 3
    assert tuned.exact


# --- errors


def test_errors(reviews: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m"
    with pytest.raises(ConfigError, match="minutes, trials or both"):
        tune(*reviews, out)
    with pytest.raises(ConfigError, match="minutes of a search > 0, they are 0"):
        tune(*reviews, out, minutes=0)
    with pytest.raises(ConfigError, match="trials of a search >= 1, they are 0"):
        tune(*reviews, out, trials=0)
    with pytest.raises(ConfigError, match="needs validation texts"):
        found(reviews, out, valid=0)
    with pytest.raises(ConfigError, match="a setting that is not given"):
        found(reviews, out, settings={name: getattr(BASE, name) for name in SPACE})
    with pytest.raises(ConfigError, match="unknown setting"):
        found(reviews, out, settings={"no": 1})
    with pytest.raises(DataError):
        found((reviews[0], []), out)
    assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(OutputError, match="not an empty folder"):
        found(reviews, out)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'carryline\[tune\]'"):
        found(reviews, tmp_path / "n")


def test_trials_of_the_preset_auto_are_compared_by_a_figure(
    reviews: Corpus, tmp_path: Path
) -> None:
    """On texts that none of them was trained on: `folds` and `keep=last` cannot be had."""
    settings = {**TINY, "linear": 500}
    model = found(reviews, tmp_path / "m", 2, preset="auto", settings=settings)
    assert (model.config.preset, model.config.folds) == ("auto", 0)
    assert model.config.keep == "macro_f1"
    assert load(model.path).trained.linear is not None
    for odd in ({"folds": 3}, {"keep": "last"}):
        with pytest.raises(ConfigError, match=f"{next(iter(odd))} of a search is"):
            found(reviews, tmp_path / "odd", settings={**TINY, **odd})
