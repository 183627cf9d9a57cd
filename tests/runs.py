"""Training runs in tests: a small network on token ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carryline.model.config import Config
from carryline.recurrence.ragged import Ragged
from carryline.training.loop import Labelled, Run, train
from carryline.training.progress import Callback

VOCABULARY, TOKENS = 40, 73  # of the problem below


def config_of(**settings: Any) -> Config:
    small = {"embedding": 8, "hidden": 8, "dense": 8, "epochs": 3, "batch_size": 8}
    return Config().replace(**small, learning_rate=0.01).replace(**settings)


def problem(texts: int = 20, classes: int = 2, shift: int = 0) -> Labelled:
    """Token ids by arithmetic alone; the first one gives the class away."""
    rows = [[1 + (text * 7 + at * 3) % 39 for at in range(text % 9)] for text in range(texts)]
    targets = [(sum(row[:1]) + shift) % classes for row in rows]
    return Labelled(Ragged.from_lists(rows), np.array(targets, np.int64))


def trained(
    config: Config, data: Labelled | None = None, valid: Labelled | None = None, *,
    classes: int = 2, threads: int = 1, folder: Path | None = None, resume: bool = False,
    progress: Any = None,
) -> Run:  # fmt: skip
    source = folder if resume else None
    run = Run(config, classes, VOCABULARY, threads, progress or Callback(), folder, source)
    train(run, data or problem(), valid)
    return run


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[n] == other[n]).all() for n in one)
