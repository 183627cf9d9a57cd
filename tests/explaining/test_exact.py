"""The linear part's words: they add up, and each has what it would take along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from carryline.explaining import exact
from carryline.model.linear import Linear
from carryline.text.bags import Bags
from carryline.text.vectors import Vectors
from carryline.training import linear
from lexicons import vectors_file

TEXTS = [
    "the film of the night",
    "good good film",
    "bad",
    "never read, never seen!",
    "",
    "…",
    "a b",
]
OFTEN = [*TEXTS[:4] * 5, "the night was bad", "a good night"]


@pytest.fixture(scope="module", params=[(1, False), (1, True), (3, True)])
def part(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Linear:
    outputs, with_bags = request.param
    file: Path = vectors_file(tmp_path_factory.mktemp("vectors") / "some.safetensors")
    bags = Bags(Vectors.load(file)) if with_bags else None
    targets = np.arange(len(OFTEN)) % max(2, outputs)
    found: Linear = linear.fit(OFTEN, targets, outputs, bags, features=500)[0]
    return found


@pytest.mark.parametrize("text", [*TEXTS, "Film, the FILM: the film"])
def test_parts_add_up(part: Linear, text: str) -> None:
    """To the logits: sums of float32 in another order, of magnitudes below 10."""
    each = exact.parts(part, text, 1)
    np.testing.assert_allclose(
        each.sum(axis=0) + part.arrays["bias"], part.logits([text], 1)[0], rtol=0, atol=1e-5
    )


def test_a_pair_is_of_both_its_words(part: Linear) -> None:
    """With nothing but one pair to tell, both of its words have the same part."""
    arrays = {name: np.zeros_like(a) if name.endswith("weight") else a
              for name, a in part.arrays.items()}  # fmt: skip
    alone = Linear(arrays, part.bags)
    place = alone.ngrams.places(["good", "film"])[0]
    pair = place.features[place.share == 0.5][0]
    arrays["words.weight"][pair] = 1.0
    each = exact.parts(Linear(arrays, part.bags), "good film", 1)
    assert (each[0] == each[1]).all() and (each[0] > 0).all()


def test_a_word_that_comes_again_has_an_even_part_each_time(part: Linear) -> None:
    arrays = {name: np.zeros_like(a) if name.startswith(("bags.w", "words.w")) else a
              for name, a in part.arrays.items()}  # fmt: skip
    each = exact.parts(Linear(arrays, part.bags), "film good film", 1)  # by characters alone
    np.testing.assert_allclose(each[0], each[2], rtol=1e-12)
    assert (each[0] != 0).any()
