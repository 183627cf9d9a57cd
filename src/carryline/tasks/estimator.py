"""What scikit-learn asks of an estimator, without importing it: parameters, tags, classes, a name.

`clone`, `Pipeline`, `GridSearchCV` and `cross_val_score` take whatever answers to these. Texts are
the column X, labels y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from carryline.errors import ConfigError
from carryline.model import config as configuration
from carryline.model.config import FOLLOWED, PRESETS, Config
from carryline.text.data import Label

if TYPE_CHECKING:
    from sklearn.utils import Tags

SETTINGS = tuple(field.name for field in fields(Config) if field.name != "preset")
Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """Settings as scikit-learn's parameters: `preset`, and every setting of `Config` that is not to
    be as the preset has it; None leaves it to the preset."""

    def __init__(self, preset: str, settings: Mapping[str, Any]) -> None:
        self._preset, self._given = preset, dict(settings)
        self._config = self._configured()

    @property
    def config(self) -> Config:
        """The settings that `fit` trains with."""
        return self._config

    @property
    def given(self) -> set[str]:
        """The names of the settings that are not to be as the preset has them."""
        return {name for name, value in self._given.items() if value is not None}

    @property
    def width_given(self) -> bool:
        """Whether somebody set the width of the embedding: vectors of another one are refused."""
        return self._given.get("embedding") is not None

    @property
    def classes(self) -> list[Label]:
        """The labels that can be predicted, in the order of probabilities; none before `fit`."""
        raise NotImplementedError

    @property
    def classes_(self) -> NDArray[Any]:
        """[classes] `classes` as an array."""
        if not self.classes:
            raise AttributeError("classes_: this classifier is not trained yet: call fit first")
        return as_array(self.classes)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """`preset` and the settings given; None for those as the preset has them."""
        return {"preset": self._preset, **{name: self._given.get(name) for name in SETTINGS}}

    def set_params(self: Self, **params: Any) -> Self:
        """Change settings for the next `fit`. Raises `ConfigError`, and then changes none."""
        before = self._preset, self._given
        self._preset = params.pop("preset", self._preset)
        self._given = {**self._given, **params}
        try:
            self._config = self._configured()
        except ConfigError:
            self._preset, self._given = before
            raise
        return self

    def _configured(self) -> Config:
        given = {name: value for name, value in self._given.items() if value is not None}
        return configuration.preset(self._preset, **given)

    def _adopt(self, config: Config) -> None:
        """Take over the settings of a model: its preset, and what it has otherwise."""
        self._preset = config.preset if config.preset in PRESETS else "base"
        usual = PRESETS[self._preset]
        decided = FOLLOWED if self._preset == "auto" else ()
        names = [
            name
            for name in SETTINGS
            if name in decided or getattr(config, name) != getattr(usual, name)
        ]
        self._given = {name: getattr(config, name) for name in names}
        self._config = config

    def _call(self) -> str:
        """How an estimator like this one is made."""
        given = [f"{name}={value!r}" for name, value in self._given.items() if value is not None]
        return f"{type(self).__name__}({', '.join([repr(self._preset), *given])})"

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.classes)

    def __sklearn_tags__(self) -> Tags:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            no_validation=True,
        )


def as_array(labels: list[Label]) -> NDArray[Any]:
    """[labels]; of Python's objects where NumPy has no type that holds them all as they are."""
    array = np.array(labels)
    if "nan" in labels:  # in an array of strings it would be taken for a missing one
        return np.array(labels, object)
    if array.ndim == 1 and array.tolist() == labels and len({type(x) for x in labels}) < 2:
        return array
    return np.array(labels, object)
