"""The weights that a run begins with, where they are not fresh ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.model.config import Config
from carryline.model.lexicon import Lexicon
from carryline.tasks.fitted import Fitted
from carryline.text.data import Label
from carryline.training.progress import Callback

Start = dict[str, NDArray[np.float32]]


def start(
    config: Config,
    classes: list[Label],
    known: Fitted | None,
    lexicon: Lexicon | None,
    watcher: Callback,
) -> Start | None:
    """Those of the model that is trained further; else the layer that comes with the vectors."""
    if known is not None:
        return _further(known, classes, watcher)
    layer = read_layer(config, lexicon)
    if layer:
        watcher.message("the recurrent layer begins as one that has learned to read the vectors")
    return layer or None


def read_layer(config: Config, lexicon: Lexicon | None) -> Start:
    """The weights of the vectors' layer that fit the network: its first layer's, if that is an LSTM
    of the same size."""
    if lexicon is None or lexicon.vectors.layer is None or config.cell != "lstm":
        return {}
    shapes = network.parameter_shapes(config, 1, 1)
    return {n: v for n, v in lexicon.vectors.layer.items() if shapes.get(n) == v.shape}


def _further(known: Fitted, classes: list[Label], watcher: Callback) -> Start:
    """The weights to go on from, without the head when it is for other classes."""
    if classes == known.classes:
        watcher.message("going on from trained weights")
        return dict(known.network.weights)
    shared = len(set(map(str, classes)) & set(map(str, known.classes)))
    watcher.message(
        f"going on from trained weights with a new head: {len(classes)} classes, of which the "
        f"model knew {shared}"
    )
    return {n: value for n, value in known.network.weights.items() if not n.startswith("head.")}
