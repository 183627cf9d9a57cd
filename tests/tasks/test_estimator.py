"""scikit-learn's own tools take a `TextClassifier` for one of theirs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted

from carryline import TextClassifier, load
from carryline.errors import ConfigError
from carryline.tasks.estimator import SETTINGS, as_array

Tiny = dict[str, Any]


@pytest.fixture(scope="module")
def told(corpus: Any) -> Any:
    """The texts that hold a word which gives their label away."""
    texts, labels = np.array(corpus[0]), np.array(corpus[1])
    return texts[texts != ""], labels[texts != ""]


@pytest.fixture(scope="module")
def quick(tiny: Tiny) -> Tiny:
    return {**tiny, "epochs": 8, "pooling": "max", "batch_size": 8}


# --- what scikit-learn does with it


def test_cross_validation(told: Any, quick: Tiny) -> None:
    scores = cross_val_score(TextClassifier(**quick), *told, cv=3, params={"threads": 1})
    assert scores.shape == (3,)
    assert scores.mean() > 0.8
    predicted = cross_val_predict(TextClassifier(**quick), *told, cv=3, method="predict_proba")
    assert predicted.shape == (len(told[0]), 2)


def test_grid_search_over_settings_and_presets(told: Any, quick: Tiny) -> None:
    small = {name: value for name, value in quick.items() if name != "preset"}
    grid = {"preset": ["lecture", "small"], "hidden": [4, (4, 4)]}
    search = GridSearchCV(TextClassifier(**small), grid, cv=2, refit=False)
    search.fit(*told, threads=1)
    tried = [TextClassifier(**small).set_params(**p).config for p in search.cv_results_["params"]]
    assert {(c.preset, c.hidden, c.cell) for c in tried} == {
        (preset, hidden, cell)
        for preset, cell in (("lecture", "lstm"), ("small", "gru"))
        for hidden in ((4,), (4, 4))
    }
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_a_pipeline(told: Any, quick: Tiny) -> None:
    lower = FunctionTransformer(lambda texts: np.char.lower(texts))
    pipeline = Pipeline([("lower", lower), ("classify", TextClassifier(**quick))])
    pipeline.set_params(classify__epochs=3)
    pipeline.fit(*told, classify__threads=1)
    assert pipeline.named_steps["classify"].config.epochs == 3
    assert (pipeline.predict(np.char.upper(told[0])) == pipeline.predict(told[0])).all()
    assert pipeline.classes_.tolist() == ["bad", "good"]


def test_a_clone_is_untrained_and_has_the_same_settings(trained: TextClassifier) -> None:
    again = clone(trained)
    assert again.config == trained.config
    assert not again.classes
    check_is_fitted(trained)
    with pytest.raises(NotFittedError):
        check_is_fitted(again)
    assert is_classifier(again)
    settings = {"hidden": [8, 4], "learning_rate": 1, "epochs": 3}
    params = clone(TextClassifier("base", **settings)).get_params()
    assert {name: params[name] for name in settings} == settings


# --- parameters


def test_parameters_are_what_was_given() -> None:
    classifier = TextClassifier("small", epochs=3)
    params = classifier.get_params()
    assert params.keys() == {"preset", *SETTINGS}
    assert {n: v for n, v in params.items() if v is not None} == {"preset": "small", "epochs": 3}
    assert TextClassifier(**params).config == classifier.config
    assert classifier.set_params(preset="base", clip=2.0) is classifier
    assert classifier.config == TextClassifier("base", epochs=3, clip=2.0).config
    assert classifier.set_params(epochs=None).config == TextClassifier("base", clip=2.0).config


def test_a_setting_that_is_refused_changes_nothing() -> None:
    classifier = TextClassifier("small", epochs=3)
    before = classifier.config
    for bad in ({"epochs": 0}, {"depth": 1}, {"preset": "huge"}, {"seed": 1, "clip": -1.0}):
        with pytest.raises(ConfigError):
            classifier.set_params(**bad)
        assert classifier.config == before
        assert TextClassifier(**classifier.get_params()).config == before


def test_new_settings_leave_the_trained_model_as_it_is(
    corpus: Any, tiny: Tiny, tmp_path: Any
) -> None:
    classifier = (
        TextClassifier(**tiny, hidden=4) if "hidden" not in tiny else TextClassifier(**tiny)
    )
    classifier.fit(*corpus, threads=1)
    before, summary = classifier.predict_proba(corpus[0]), classifier.summary()
    classifier.set_params(hidden=16, dense=0)
    assert classifier.summary() == summary
    classifier.save(tmp_path / "model")
    assert (load(tmp_path / "model").predict_proba(corpus[0]) == before).all()


def test_a_loaded_model_has_its_settings(model: Any, trained: TextClassifier, make: Any) -> None:
    again = load(model)
    assert again.config == trained.config
    assert clone(again).config == trained.config
    other = make(preset="somebody's")
    assert other.config.preset == "somebody's"
    assert replace(clone(other).config, preset="somebody's") == other.config


# --- what it says of itself


def test_repr(trained: TextClassifier) -> None:
    assert repr(TextClassifier("small", epochs=3)) == "TextClassifier('small', epochs=3)"
    shown = repr(trained)
    assert shown.startswith("<TextClassifier('lecture', vocabulary=300, ")
    assert ": 2 classes (bad, good); " in shown
    assert f"{trained.parameters:,} parameters; validation accuracy 0." in shown


def test_classes_as_an_array(trained: TextClassifier) -> None:
    assert trained.classes_.tolist() == trained.classes
    with pytest.raises(AttributeError, match="not trained yet"):
        TextClassifier().classes_  # noqa: B018
    several: list[list[Any]] = [
        ["a", "b"],
        [1, 2],
        [0.5, 2.5],
        [False, True],
        [1, "a"],
        [1, 2.5],
        ["a\0", "b"],
    ]
    assert as_array(["nan", "x"]).dtype == object  # no NaN of NumPy's
    for labels in several:
        array = as_array(labels)
        assert array.tolist() == labels
        assert [type(x) for x in array.tolist()] == [type(x) for x in labels]


def test_weights_of_a_score(trained: TextClassifier) -> None:
    texts = ["good film", "bad film"]
    right = trained.predict(texts).tolist()
    wrong = [right[0], "good" if right[1] == "bad" else "bad"]
    assert trained.score(texts, wrong) == 0.5
    assert trained.score(texts, wrong, sample_weight=[3, 1]) == 0.75


# --- scikit-learn's checks of estimators

TABLE = "cuts columns out of its table, which for texts is one column"
REFUSED = {
    "check_fit_score_takes_y": "the arguments are called texts and labels",
    "check_estimators_unfitted": "raises CarrylineError, since scikit-learn is not imported",
    "check_do_not_raise_errors_in_init_or_set_params": "settings are checked when they are given",
    "check_set_params": "settings are checked when they are given",
    "check_classifier_data_not_an_array": "gives a DataFrame, of which one column must be named",
    "check_estimator_sparse_array": "asks scipy for a form that one column cannot have",
    "check_sample_weights_pandas_series": "gives a DataFrame, of which one column must be named",
    "check_sample_weights_shape": TABLE,
    "check_sample_weights_not_overwritten": TABLE,
    "check_sample_weight_equivalence_on_dense_data": "the arguments are called texts and labels",
    "check_classifiers_one_label_sample_weights": TABLE,
    "check_dont_overwrite_parameters": TABLE,
    "check_f_contiguous_array_estimator": TABLE,
    "check_methods_sample_order_invariance": TABLE,
    "check_methods_subset_invariance": TABLE,
    "check_fit2d_1sample": TABLE,
    "check_fit2d_1feature": TABLE,
    "check_dict_unchanged": TABLE,
}


class OnTable(TextClassifier):
    """Says that it takes tables of numbers, or scikit-learn would check nothing at all. It is given
    their first column, and reads the numbers as texts."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def name_of(check: Any) -> str:
    return str(getattr(check, "func", check).__name__)


def checks() -> list[Any]:
    """Those that apply to texts must pass, the others fail, for the reason that is listed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not inherit from BaseEstimator
        found = [check for _, check in estimator_checks_generator(OnTable("small", epochs=1))]
    assert {name_of(check) for check in found} > REFUSED.keys()
    fails = {
        name: pytest.mark.xfail(strict=True, reason=reason) for name, reason in REFUSED.items()
    }
    return [pytest.param(check, marks=fails.get(name_of(check), [])) for check in found]


@pytest.mark.parametrize("check", checks(), ids=name_of)
def test_estimator_checks(check: Callable[..., Any]) -> None:
    check(OnTable("small", epochs=1))
