"""An embedding that begins as word vectors: what is trained, what stays, and what is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carryline.model import network
from carryline.model.lexicon import rounded
from carryline.recurrence.ragged import Ragged
from carryline.text.vectors import Vectors
from carryline.training import loop, table
from carryline.training.loop import Labelled, Run
from carryline.training.losses import figures
from carryline.training.model import EMBEDDING
from carryline.training.progress import Callback
from carryline.training.table import Table
from runs import VOCABULARY, config_of, problem, same

OWN = 10  # rows of pieces
MATRIX = np.random.default_rng(0).standard_normal((VOCABULARY - OWN, 8)).astype(np.float32)
VECTORS = Vectors([f"w{n}" for n in range(len(MATRIX))], np.ones(len(MATRIX), np.int64), MATRIX, {})


def data(texts: int = 20, shift: int = 0, rows: range = range(1, 25)) -> Labelled:
    """The usual problem, in fewer rows: of the vectors some are never read."""
    usual = problem(texts, shift=shift)
    few = np.array(rows)[usual.ragged.values % len(rows)].astype(np.int32)
    return Labelled(usual.ragged.like(few), usual.targets)


def run_of(**settings: Any) -> Run:
    config = config_of(vectors="some", dense=0, **settings)
    return Run(config, 2, VOCABULARY, 1, Callback())


VALID = data(9, rows=range(20, 33))  # 25 … 32 in no training text


def trained(**settings: Any) -> Run:
    run = run_of(**settings)
    table.train(run, data(), VALID, VECTORS)
    return run


@pytest.mark.parametrize(
    "settings", [{}, {"weight_decay": 0.5}, {"average": 0.9}, {"mask": False, "clip": 0.1}]
)
def test_rows_that_no_training_text_has_stay_to_the_bit(settings: dict[str, Any]) -> None:
    weight = trained(**settings).best[EMBEDDING]
    assert weight.shape == (VOCABULARY, 8)
    assert (weight[25:] == MATRIX[25 - OWN :]).all()
    read = np.unique(data().ragged.values)
    assert (weight[read[read >= OWN]] != MATRIX[read[read >= OWN] - OWN]).any(axis=1).all()
    assert (rounded(weight[: read.max() + 1]) == weight[: read.max() + 1]).all()


def test_it_begins_with_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(loop, "train", lambda run, one, other: seen.extend([run, one, other]))
    run = run_of()
    with pytest.raises(KeyError):  # there is nothing to put back
        table.train(run, data(), VALID, VECTORS)
    begun = loop.first_weights(seen[0])[EMBEDDING]
    assert len(begun) == run.vocabulary < VOCABULARY
    assert (
        begun[seen[1].ragged.values] == table.first_rows(VECTORS, OWN, 0)[data().ragged.values]
    ).all()
    words = data().ragged.values >= OWN
    assert (begun[seen[1].ragged.values[words]] == MATRIX[data().ragged.values[words] - OWN]).all()
    assert (np.abs(table.first_rows(VECTORS, OWN, 0)[:OWN]) <= 0.0501).all()
    assert (
        table.first_rows(VECTORS, OWN, 0)[:OWN] != table.first_rows(VECTORS, OWN, 1)[:OWN]
    ).any()


def test_what_is_kept_is_what_was_measured() -> None:
    """To the bit: the whole embedding gives the figures of the epoch."""
    run = trained(epochs=2)
    logits = network.Network(run.config, run.best).logits(VALID.ragged, threads=1)
    best = min(run.history, key=lambda row: row["valid_loss"])
    assert figures(logits, VALID.targets, 2).items() <= best.items()


def test_pads_keep_their_place() -> None:
    found = Table.of(np.zeros((9, 2), np.float32), labelled([5, 3]), labelled([3, 7, 0]))
    assert found.trained.tolist() == [0, 3, 5]
    assert found.held.tolist() == [7]
    assert found.numbered(labelled([0, 7, 5])).ragged.values.tolist() == [0, 3, 2]
    assert Table.of(np.zeros((9, 2), np.float32), labelled([5]), None).held.tolist() == []


def labelled(ids: list[int]) -> Labelled:
    return Labelled(Ragged.from_lists([ids]), np.zeros(1, np.int64))


def test_without_validation_texts() -> None:
    one, other = run_of(), run_of()
    table.train(one, data(), None, VECTORS)
    table.train(other, data(), None, VECTORS)
    assert same(one.best, other.best)
    assert one.best[EMBEDDING].shape == (VOCABULARY, 8)
