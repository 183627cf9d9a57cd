"""What Optuna is for: what to try next, and what to end early.

Every answer follows from the trials so far and the seed alone: a study is made anew for each from
the list of trials, which is all that is kept. So a search that was killed goes on as if it had not
been, and no database is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from carryline.errors import need
from carryline.evaluation.trials import COMPLETE, Trial, sign
from carryline.model.config import Config
from carryline.tasks.space import Space, defaults, plain

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# Trials before there is anything to learn from: drawn at random, but for a share of the settings
# which stay as the defaults have them. All of them drawn at once are rarely as good.
STARTUP, STAYING = 8, 0.5
ATTEMPTS = 50  # at settings that were not tried yet
# Runs are compared at the same tenth of their length, as the learning rate goes by that. In the
# first three it is still high, and what is best there often is not in the end; and a median of
# fewer than four is no measure.
TENTHS, PATIENT_TENTHS, FEWEST = 10, 3, 4


def check_packages() -> None:
    """Raises `MissingExtraError` without Optuna."""
    need("optuna", "tune", "a search over settings")


@dataclass(frozen=True)
class Proposals:
    """What to try in a space around the defaults `base`, given the trials so far."""

    base: Config
    space: Space

    def next(self, trials: Sequence[Trial]) -> dict[str, Any] | None:
        """The settings of the trial after these, as JSON has them: the defaults, then others than
        any before; None when there seem to be no others."""
        usual = plain(defaults(self.base, self.space))
        if not trials:
            return usual
        tried = [dict(trial.settings) for trial in trials]
        for attempt in range(ATTEMPTS):
            seeds = [self.base.seed, len(trials), attempt]
            coded = self._study(trials, seeds).ask(self._distributions()).params
            settings = plain({name: kind.value(coded[name]) for name, kind in self.space.items()})
            if len(trials) < STARTUP:
                draws = np.random.default_rng(seeds).random(len(usual))
                stays = [name for name, draw in zip(usual, draws, strict=True) if draw < STAYING]
                settings |= {name: usual[name] for name in stays}
            if settings not in tried:
                return settings
        return None

    def judge(
        self, trials: Sequence[Trial], settings: dict[str, Any]
    ) -> Callable[[Sequence[float]], bool]:
        """Whether the trial with these settings is hopeless, told from its figures so far: worse
        than the median of the complete ones at the same tenth of their runs."""
        study = self._study(trials, [0])
        study.enqueue_trial(self._coded(settings))
        trial = study.ask(self._distributions())
        told: set[int] = set()

        def hopeless(figures: Sequence[float]) -> bool:
            for tenth, figure in self._marks(settings, figures).items():
                if tenth not in told:
                    trial.report(figure, tenth)
                    told.add(tenth)
            return bool(trial.should_prune())

        return hopeless

    def _study(self, trials: Sequence[Trial], seeds: list[int]) -> Study:
        study = self._empty(seeds)
        study.add_trials(
            [
                self._frozen(
                    trial.settings,
                    trial.figure if trial.state == COMPLETE else None,
                    self._marks(trial.settings, self._whole(trial)),
                )
                for trial in trials
            ]
        )
        return study

    def _empty(self, seeds: list[int]) -> Study:
        import optuna

        state = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of every study
        try:
            return optuna.create_study(
                direction="maximize" if sign(self.base.keep) > 0 else "minimize",
                sampler=optuna.samplers.TPESampler(
                    seed=state, n_startup_trials=STARTUP, multivariate=True
                ),
                pruner=optuna.pruners.MedianPruner(FEWEST, PATIENT_TENTHS),
            )
        finally:
            optuna.logging.set_verbosity(before)

    def _frozen(
        self, settings: Any, figure: float | None, marks: dict[int, float] | None = None
    ) -> FrozenTrial:
        """A trial without a figure counts as pruned: worse than the complete ones."""
        from optuna.trial import TrialState, create_trial

        return create_trial(
            state=TrialState.PRUNED if figure is None else TrialState.COMPLETE,
            value=figure,
            params=self._coded(settings),
            distributions=self._distributions(),
            intermediate_values=marks or {},
        )

    def _whole(self, trial: Trial) -> Sequence[float]:
        """The figures of a complete trial to its last epoch, where patience ended it before."""
        if trial.state != COMPLETE:
            return trial.figures
        missing = self._epochs(trial.settings) - len(trial.figures)
        return [*trial.figures, *[trial.figures[-1]] * missing]

    def _marks(self, settings: Any, figures: Sequence[float]) -> dict[int, float]:
        """By tenths of the run, as far as it came, the figure after the epoch that completes it."""
        epochs = self._epochs(settings)
        ends = {tenth: -(-tenth * epochs // TENTHS) for tenth in range(1, TENTHS + 1)}
        return {tenth: figures[end - 1] for tenth, end in ends.items() if end <= len(figures)}

    def _epochs(self, settings: Any) -> int:
        return int(settings.get("epochs", self.base.epochs))

    def _coded(self, settings: Any) -> dict[str, Any]:
        typed = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return {name: kind.coded(typed[name]) for name, kind in self.space.items()}

    def _distributions(self) -> dict[str, Any]:
        return {name: kind.distribution() for name, kind in self.space.items()}
