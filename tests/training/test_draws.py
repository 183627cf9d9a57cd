"""What is drawn: numbers of their own for each purpose, epoch and step."""

from __future__ import annotations

from itertools import product

import numpy as np

from carryline.training.draws import DROPOUT, ORDER, WEIGHTS, generator

FAR = 2**31 - 1


def test_every_place_has_numbers_of_its_own_which_stay_the_same() -> None:
    """None of the first 100 stands in another place's, whether a seed, purpose, epoch or step is
    the other one: 64-bit numbers, of which 20,000 agree once in 10^11 tries."""
    seeds, purposes = (0, 1, 2, 2**63 - 1), (WEIGHTS, ORDER, DROPOUT)
    places = list(product(seeds, purposes, (0, 1, 2, FAR), (0, 1, 2, FAR)))
    drawn = [generator(*place).integers(0, 1 << 64, 100, np.uint64) for place in places]
    assert len(np.unique(drawn)) == 100 * len(places)
    for place, numbers in zip(places, drawn, strict=True):
        again = generator(*place).integers(0, 1 << 64, 100, np.uint64)
        assert np.array_equal(again, numbers)


def test_a_step_may_draw_more_than_a_batch_can_need() -> None:
    """A step's numbers go on for 2^128 counts, then the next step's begin: a place far behind the
    first of a step is none of the next one's first."""
    first, following = generator(3, DROPOUT, 1, 0), generator(3, DROPOUT, 1, 1)
    philox = first.bit_generator
    assert isinstance(philox, np.random.Philox)
    philox.advance(1 << 100)
    assert first.bytes(64) != following.bytes(64)


def test_numbers_of_a_place_are_these() -> None:
    """Written down once: other ones would be other models for the same seed."""
    assert generator(7, DROPOUT, 2, 5).integers(0, 1000, 6).tolist() == [
        229, 383, 680, 877, 284, 802,
    ]  # fmt: skip
