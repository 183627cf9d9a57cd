"""What `tune` searches: a line a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from carryline.model.config import Config


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, of two digits, so that a command with them can be read and copied;
    log: even by their ratio, not by their difference."""

    low: float
    high: float
    log: bool = False

    def with_default(self, value: Any) -> Range:
        return Range(min(self.low, value), max(self.high, value), self.log)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log)

    def coded(self, value: Any) -> float:
        """A value of the setting as Optuna holds it."""
        return float(value)

    def value(self, coded: Any) -> Any:
        """The way back."""
        return float(f"{coded:.2g}")


@dataclass(frozen=True)
class Steps:
    """Some values in their order, of which neighbours are alike."""

    values: tuple[Any, ...]

    def with_default(self, value: Any) -> Steps:
        return Steps(tuple(sorted({*self.values, value})))

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(0, len(self.values) - 1)

    def coded(self, value: Any) -> int:
        """A value of the setting as Optuna holds it."""
        return self.values.index(value)

    def value(self, coded: Any) -> Any:
        """The way back."""
        return self.values[coded]


@dataclass(frozen=True)
class Choice:
    """Some words, none of them nearer to another than to the rest."""

    values: tuple[str, ...]

    def with_default(self, value: Any) -> Choice:
        return Choice(tuple(dict.fromkeys((*self.values, value))))

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def coded(self, value: Any) -> str:
        """A value of the setting as Optuna holds it."""
        return str(value)

    def value(self, coded: Any) -> Any:
        """The way back."""
        return coded


Kind = Range | Steps | Choice
Space = dict[str, Kind]

# Any setting of `Config` may stand here; the value that the preset has is added where a line lacks
# it. Ten minutes are ten to a hundred trials: a line is as wide as what is known to be right on
# some data, and no wider. What only saves time (precision), is no matter of degree (mask), or
# decides what is right (keep, seed) is not searched.
SPACE: Space = {
    "learning_rate": Range(3e-4, 1e-2, log=True),  # base has 0.002: about six times less, five more
    "dropout": Range(0.0, 0.7),
    "hidden": Steps(((32,), (64,), (64, 64), (128,), (128, 128))),  # 256 costs four times 128
    "embedding": Steps((32, 64, 128, 256)),
    "cell": Choice(("lstm", "gru", "carry")),  # not rnn, which forgets
    "pooling": Choice(("concat", "max", "mean", "last")),
    "batch_size": Steps((32, 64, 128)),  # 16 takes the time of 32 twice
    "epochs": Steps((4, 6, 8, 12)),  # how long the cosine is; the best epoch is kept anyway
    "weight_decay": Steps((0.0, 0.01, 0.03, 0.1)),  # times the rate, so less does nothing
    "average": Steps((0.0, 0.9, 0.97, 0.99)),  # over about 10, 30, 100 steps
    "vocabulary": Steps((2048, 4096, 8185, 16384)),
}


def searched(base: Config, given: Iterable[str]) -> Space:
    """What is to be searched around these defaults; a setting that is given is fixed."""
    fixed = set(given)
    return {
        name: kind.with_default(getattr(base, name))
        for name, kind in SPACE.items()
        if name not in fixed
    }


def defaults(base: Config, space: Space) -> dict[str, Any]:
    """The settings of the first trial."""
    return {name: getattr(base, name) for name in space}


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them: a list for a tuple."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
