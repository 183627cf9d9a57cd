"""The trials of a search over settings: which one won, and how that is told."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPLETE, PRUNED, STOPPED, FAILED = "complete", "pruned", "stopped", "failed"
NAMES = {"loss": "loss", "accuracy": "accuracy", "macro_f1": "macro F1"}
BEST = 5  # trials in the table
FEWEST, SHUFFLES, LUCK = 10, 1000, 0.95  # trials to say what mattered; see `importance`
GROUPS = 4  # values of a number at most that are groups of their own


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    state: complete; pruned: ended as worse than others; stopped: by the end of the budget or by
    Ctrl-C; failed: its loss was not finite, or its settings do not go together. settings: the
    searched ones, as JSON has them. figures: after each epoch the best so far on the validation
    part. ended: seconds since the search began.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    figures: Sequence[float]
    seconds: float
    ended: float

    @property
    def figure(self) -> float | None:
        return self.figures[-1] if self.figures else None


@dataclass(frozen=True)
class Check:
    """Figures of `metrics.evaluate` on texts that were used for nothing else; None for the defaults
    where they have won."""

    winner: Mapping[str, Any]
    defaults: Mapping[str, Any] | None


@dataclass(frozen=True)
class Outcome:
    """What a search found. keep: the figure that was compared, on so many texts; defaults: the
    settings of the first trial; retrained: whether the model was
    trained once more, in full and on the checking texts too."""

    trials: Sequence[Trial]
    keep: str
    texts: int
    defaults: Mapping[str, Any]
    check: Check | None = None
    retrained: bool = False

    @property
    def winner(self) -> Trial:
        return best(self.trials, self.keep)[0]

    def different(self, trial: Trial) -> dict[str, Any]:
        """What the trial has otherwise than the defaults."""
        return {k: v for k, v in trial.settings.items() if v != self.defaults[k]}

    def counts(self) -> str:
        """As in `14 trials (6 pruned)`."""
        states = [trial.state for trial in self.trials]
        odd = [f"{states.count(s)} {s}" for s in (PRUNED, STOPPED, FAILED) if s in states]
        number = f"{len(states):,} trial{'s' if len(states) != 1 else ''}"
        return f"{number} ({', '.join(odd)})" if odd else number


def sign(keep: str) -> int:
    """1 when more is better."""
    return -1 if keep == "loss" else 1


def best(trials: Sequence[Trial], keep: str) -> list[Trial]:
    """Those that may win, the best first, of equals the earlier one: the complete ones, or when
    there is none the first trial."""
    complete = [trial for trial in trials if trial.state == COMPLETE]
    if not complete:
        return [trial for trial in trials if trial.figures][:1]
    return sorted(complete, key=lambda trial: -sign(keep) * (trial.figure or 0.0))


def importance(trials: Sequence[Trial]) -> dict[str, tuple[float, float]]:
    """How much each setting mattered, the most important first: the share of the variance of the
    figures' ranks that is between the setting's values (numbers of many values: between the lower,
    middle and upper third of the trials), and the share that luck alone stays below in 95 of 100
    cases, found by shuffling the figures. Empty for fewer than ten trials.

    A trial that was ended early counts with the figure it had: worse than the others it was anyway.
    """
    ranked = [trial for trial in trials if trial.figure is not None]
    if len(ranked) < FEWEST:
        return {}
    figures = np.array([trial.figure for trial in ranked])
    ranks = (figures[:, None] > figures).sum(1) + (figures[:, None] == figures).sum(1) / 2
    draw = np.random.default_rng(0)
    shuffled = np.stack([ranks, *(draw.permutation(ranks) for _ in range(SHUFFLES))])
    found = {}
    for name in ranked[0].settings:
        groups = _groups([trial.settings[name] for trial in ranked])
        shares = _between(shuffled - ranks.mean(), groups)
        found[name] = float(shares[0]), float(np.quantile(shares[1:], LUCK))
    return dict(sorted(found.items(), key=lambda pair: pair[1][1] - pair[1][0]))


def _groups(values: list[Any]) -> NDArray[np.int64]:
    """[values] the number of each one's group."""
    different = sorted({word(value) for value in values})
    if len(different) <= GROUPS or not all(type(value) is float for value in values):
        return np.array([different.index(word(value)) for value in values])
    return np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)


def _between(ranks: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """[drawings] of ranks less their mean [drawings, trials], the share of the variance that is
    between groups."""
    members = groups == np.unique(groups)[:, None]  # [groups, trials]
    sums, counts = ranks @ members.T, members.sum(1)
    total = (ranks**2).sum(1)
    shares: NDArray[np.float64] = (sums**2 / counts).sum(1) / np.maximum(total, 1e-12)
    return shares


def told(settings: Mapping[str, Any]) -> str:
    """Settings that differ from the defaults, for people."""
    return ", ".join(f"{k} {word(v)}" for k, v in settings.items()) or "the defaults"


def table(outcome: Outcome) -> Iterator[str]:
    """The best trials for a terminal, and how far their figures can be trusted."""
    found = best(outcome.trials, outcome.keep)[:BEST]
    yield f"the best of {outcome.counts()}, by {NAMES[outcome.keep]} of {outcome.texts:,} texts"
    yield f"trial  {NAMES[outcome.keep]:>8}  seconds  epochs  different from the defaults"
    for trial in found:
        yield (
            f"{trial.number:>5}  {trial.figure:>8.4f}  {trial.seconds:>7.1f}  "
            f"{len(trial.figures):>6}  {told(outcome.different(trial))}"
        )
    yield from caveats(outcome)


def caveats(outcome: Outcome) -> Iterator[str]:
    """What the winner's figure is worth."""
    which = "lowest" if outcome.keep == "loss" else "highest"
    yield (
        f"The {which} of many figures on the same {outcome.texts:,} texts is so partly by luck: "
        "on others the model will do a little worse."
    )
    if outcome.check is None:
        yield "How much, only texts can say that nothing was chosen by; none were left aside."
        return
    winner, usual = outcome.check.winner, outcome.check.defaults
    beside = "" if usual is None else f"; the defaults: {_figures(usual)}"
    yield f"On {winner['texts']:,} texts that nothing was chosen by: {_figures(winner)}{beside}."
    if usual is not None and sign(outcome.keep) * (winner[outcome.keep] - usual[outcome.keep]) <= 0:
        yield f"There the search has gained nothing in {NAMES[outcome.keep]}."
    if outcome.retrained:
        yield "The model here was then trained with the same settings on those texts too."
    else:
        yield "The model here was trained without them: Ctrl-C came before it was on all."


def section(outcome: Outcome, drawn: bool) -> str:
    """Of the model card."""
    winner = outcome.winner
    first = next(trial for trial in outcome.trials if trial.number == 0)
    usual = "" if first.figure is None else f", the defaults {first.figure:.4f}"
    parts = [
        "## Tuned",
        f"Its settings were found by a search of {outcome.counts()}. On the validation texts trial "
        f"{winner.number} had a {NAMES[outcome.keep]} of {winner.figure:.4f}{usual}. "
        + " ".join(caveats(outcome)),
    ]
    changed = outcome.different(winner)
    if changed:
        rows = [
            f"| `{key}` | `{word(value)}` | `{word(outcome.defaults[key])}` |"
            for key, value in changed.items()
        ]
        head = ["| setting | found | default |", "| --- | ---: | ---: |"]
        parts.append("\n".join([*head, *rows]))
    parts.append("Every trial is in `trials.csv`.")
    if drawn:
        parts.append("![What mattered in the search](plots/tuning.png)")
    return "\n\n".join(parts)


def as_csv(outcome: Outcome) -> str:
    """A trial a row, with every searched setting."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(
        ["number", "state", outcome.keep, "seconds", "epochs_done", "ended", *outcome.defaults]
    )
    for t in outcome.trials:
        figure = "" if t.figure is None else t.figure
        settings = [word(t.settings[name]) for name in outcome.defaults]
        times = round(t.seconds, 3), round(t.ended, 3)
        writer.writerow([t.number, t.state, figure, times[0], len(t.figures), times[1], *settings])
    return lines.getvalue()


def _figures(metrics: Mapping[str, Any]) -> str:
    return f"accuracy {metrics['accuracy']:.4f}, macro F1 {metrics['macro_f1']:.4f}"


def word(value: Any) -> str:
    """A setting's value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)
