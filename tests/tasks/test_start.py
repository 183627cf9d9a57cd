"""What a run begins with: the layer that comes with word vectors, where it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline import TextClassifier, load
from carryline.model.config import Config
from carryline.model.lexicon import Lexicon
from carryline.tasks.start import read_layer
from carryline.text.vectors import Vectors
from lexicons import KNOWN, vectors_file

NAMES = [f"recurrence.{n}_l0" for n in ("weight_ih", "weight_hh", "bias_ih")]
BOTH = {*NAMES, *(f"{name}_reverse" for name in NAMES)}


def lexicon_of(file: Path, hidden: int) -> Lexicon:
    return Lexicon(Vectors.load(vectors_file(file, hidden=hidden)), b"", [])


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, sorted(BOTH)),
        ({"bidirectional": False}, NAMES),
        ({"hidden": (5, 3)}, sorted(BOTH)),
        ({"hidden": (3, 5)}, []),
        ({"hidden": (6,)}, []),
        ({"cell": "carry"}, []),
        ({"cell": "gru"}, []),
    ],
    ids=str,
)
def test_where_the_layer_fits(settings: Any, wanted: list[str], tmp_path: Path) -> None:
    config = Config(embedding=8, hidden=(5,)).replace(**settings)
    assert read_layer(config, lexicon_of(tmp_path / "v", 5)).keys() == set(wanted)
    assert read_layer(config, lexicon_of(tmp_path / "w", 0)) == {}
    assert read_layer(config, None) == {}


def test_a_run_begins_with_the_layer(
    tiny: dict[str, Any], corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate of next to nothing its weights stay those of the file; the model needs no other."""
    file = vectors_file(tmp_path / "v", hidden=5)
    settings = {n: v for n, v in tiny.items() if n != "embedding"}
    settings |= {"vectors": file, "hidden": 5, "cell": "lstm", "learning_rate": 1e-9, "epochs": 1}
    made = TextClassifier(**settings)
    made.fit(*corpus, valid=0.2, threads=1, out=tmp_path / "model", baseline=False, verbose=True)
    assert "begins as one that has learned to read" in capsys.readouterr().err
    layer = Vectors.load(file).layer
    assert layer is not None and layer.keys() == BOTH
    for name, value in layer.items():
        np.testing.assert_allclose(made.network.weights[name], value, rtol=0, atol=1e-6)
    file.unlink()
    again = load(tmp_path / "model")
    assert again.trained.lexicon is not None
    assert again.trained.lexicon.vectors.words == KNOWN
    assert (again.predict_proba(corpus[0]) == made.predict_proba(corpus[0])).all()
