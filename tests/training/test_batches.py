"""In what order the texts of an epoch are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.training import batches
from carryline.training.batches import epoch_batches
from runs import config_of


@given(st.integers(1, 300), st.booleans(), st.integers(1, 40), st.integers(1, 400))
def test_an_epoch_reads_every_text_once(count: int, by_length: bool, size: int, held: int) -> None:
    batching = "length" if by_length else "shuffle"
    config = config_of(batching=batching, batch_size=size, shuffle_buffer=held)
    chosen = epoch_batches(config, np.arange(count)[::-1] % 17, 1)
    assert sorted(map(len, chosen))[1:] == [size] * (len(chosen) - 1)  # one may be short
    order = np.concatenate(chosen)
    assert sorted(order) == list(range(count))
    if not by_length:  # the buffer gives what it has read: of `held` texts, no later one
        assert (order < np.arange(count) + held).all()


def test_a_shuffle_buffer_gives_any_of_those_it_holds() -> None:
    config, lengths = config_of(batching="shuffle", shuffle_buffer=5), np.ones(50, np.int64)
    firsts = [epoch_batches(config, lengths, epoch)[0][0] for epoch in range(400)]
    assert (np.bincount(firsts) > 40).tolist() == [True] * 5


def test_texts_of_similar_length_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.random.default_rng(0).integers(0, 500, 1000)
    monkeypatch.setattr(batches, "POOL", 25)
    for size, batching, least, most in [
        (20, "length", 10, 30), (10, "length", 10, 30), (20, "shuffle", 400, 500)
    ]:  # fmt: skip
        chosen = epoch_batches(config_of(batch_size=size, batching=batching), lengths, 1)
        assert least < np.mean([np.ptp(lengths[batch]) for batch in chosen]) < most
        shortest = [int(lengths[batch].min()) for batch in chosen]
        assert shortest != sorted(shortest)  # short and long batches come in turn


@pytest.mark.parametrize("batching", ["length", "shuffle"])
def test_batches_depend_on_seed_and_epoch_alone(batching: str) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        config = config_of(batching=batching, seed=seed)
        return [b.tolist() for b in epoch_batches(config, np.arange(200) % 7, epoch)]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(2, 1)
    assert order(1, 1) != order(1, 2)
