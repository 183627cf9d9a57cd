"""One training step of the textbook's network by hand: every stage forward, then the way back.

    python examples/by_hand.py

Embedding 3, a bidirectional LSTM of 2, a dense layer of 3 with ReLU, one logit; three sentences, a
token a word. Prints what every stage gives, then the gradient of the loss by that and by all
weights (see docs/backpropagation.md); ends with status 1 where finite differences are others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carryline.model.config import Config
from carryline.model.network import layer, parameter_shapes, part
from carryline.recurrence import cells, kernels
from carryline.recurrence.ragged import Ragged
from carryline.training import losses, stages
from carryline.training.stages import Back, Gradients, Rows, States

Weights = dict[str, NDArray[np.float64]]
SENTENCES = {"a warm funny film": 1, "not funny": 0, "a long dull film": 0}  # 1: a good one
CONFIG = Config(cell="lstm", embedding=3, hidden=(2,), dense=3)
WORDS = ["<pad>", *dict.fromkeys(" ".join(SENTENCES).split())]  # a word's place is its id
BATCH = Ragged.from_lists([[WORDS.index(word) for word in text.split()] for text in SENTENCES])
PLAN = BATCH.plan  # texts by falling length; all first tokens, then all second ones
TEXTS = [list(SENTENCES)[text] for text in PLAN.order]
TARGETS = np.array(list(SENTENCES.values()))[PLAN.order]
GATES = [f"{gate}{unit}" for gate in "ifgo" for unit in (1, 2)]  # rows of W, U and b
MOST = 1e-6  # that a gradient may differ from a finite difference


class Stage(NamedTuple):
    """What a stage gave and what its rows are; its way back; the name of its weights."""

    title: str
    rows: Sequence[str]
    out: Any
    back: Back
    name: str = ""


def forward(weights: Weights) -> list[Stage]:
    """All stages, one after the other; the last one's output is the loss."""
    passed: list[Stage] = []

    def take(made: tuple[Any, Back], title: str, rows: Sequence[str], name: str = "") -> Any:
        passed.append(Stage(title, rows, *made, name))
        return made[0]

    ids, row = kernels.distinct(BATCH.values, PLAN, len(WORDS))
    made: tuple[Any, Back] = stages.embedding(weights["embedding.weight"], ids)
    e = take(made, "embedding: e = E[id], each word once", [WORDS[i] for i in ids], "embedding")
    packed = stages.packed(cells.LSTM, layer(CONFIG, weights, 0), "fp32", 1)
    made = stages.recurrence(packed, PLAN, e, row, 1)
    h = take(made, "recurrence: h_t, forward | reverse", tokens(), "recurrence")
    v = take(stages.pooling(h, "last"), "pooling: v, both directions' last states", TEXTS)
    y = take(stages.dense(v, part(weights, "dense"), 1), "dense: y = v Wᵀ + b", TEXTS, "dense")
    a = take(stages.relu(y), "ReLU: a = max(y, 0)", TEXTS)
    z = take(stages.dense(a, part(weights, "head"), 1), "head: z = a Wᵀ + b", TEXTS, "head")
    take(losses.loss(z, TARGETS, None), "loss: the mean of -log p of the true class", [""])
    return passed


def backward(passed: Sequence[Stage]) -> Gradients:
    """From the gradient of the loss by itself, 1, to those by all weights, each printed."""
    gradients: Gradients = {}
    d: Any = 1.0
    for stage in reversed(passed):
        print(f"\nby {stage.title}")
        show(stage.rows, d)
        d, own = stage.back(d)  # from that by the stage's output to that by its input
        show_weights(own)
        gradients |= {f"{stage.name}.{name}": value for name, value in own.items()}
    return gradients


def tokens() -> list[str]:
    """In the kernels' order: each token's sentence, with the token marked."""
    texts, going = [text.split() for text in TEXTS], np.diff(PLAN.starts)
    return [
        " ".join([*words[:step], f"[{words[step]}]", *words[step + 1 :]])
        for step, count in enumerate(going) for words in texts[:count]
    ]  # fmt: skip


def show(rows: Sequence[str], *blocks: Any) -> None:
    """Arrays side by side; of states those of all tokens, of their gradient the last ones'."""
    if isinstance(states := blocks[0], States):
        whole, last = states.all, np.array(states.last)
        rows, blocks = (TEXTS, (*last,)) if whole is None else (rows, (*np.split(whole, 2, 1),))
    for name, *values in zip(rows, *(np.reshape(b, (len(rows), -1)) for b in blocks), strict=True):
        shown = (" ".join(f"{v if abs(v) >= 5e-6 else 0:9.5f}" for v in block) for block in values)
        print(f"  {name:<{max(map(len, rows))}} {'  |'.join(shown)}")


def show_weights(own: Gradients) -> None:
    """The gradients by a stage's weights, a row an output; each direction's by themselves."""
    for _, group in groupby(own, lambda name: name.endswith("_reverse")):
        parts = {name: own[name] for name in group}
        print(f"  by {' | '.join(parts)}")
        first = next(iter(parts.values()))
        if not isinstance(first, Rows):  # whose values are those by the stage's output
            show(GATES if len(first) == len(GATES) else "123"[: len(first)], *parts.values())


def differences(weights: Weights, gradients: Gradients, step: float = 1e-5) -> dict[str, float]:
    """For each weight the largest |gradient - (loss(w + step) - loss(w - step)) / (2 step)|."""
    found = {}
    for name, weight in weights.items():
        gradient, slopes = gradients[name], np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            kept = weight[place]
            weight[place] = kept + step
            above = forward(weights)[-1].out
            weight[place] = kept - step
            slopes[place] = (above - forward(weights)[-1].out) / (2 * step)
            weight[place] = kept
        ids, values = gradient if isinstance(gradient, Rows) else (slice(None), gradient)
        slopes[ids] -= values  # by words that no text has they must be 0 already
        found[name] = float(np.abs(slopes).max())
    return found


def main() -> int:
    rng = np.random.default_rng(4)
    shapes = parameter_shapes(CONFIG, len(WORDS), outputs=1)
    weights: Weights = {name: rng.normal(0, 0.7, shape) for name, shape in shapes.items()}
    print("FORWARD")
    for stage in (passed := forward(weights)):
        print(f"\n{stage.title}")
        show(stage.rows, stage.out)
    print("\n\nBACKWARD: the gradient of the loss")
    found = differences(weights, backward(passed))
    print("\n\nBESIDE FINITE DIFFERENCES: the largest difference")
    for name, difference in found.items():
        print(f"  {name:<32}{difference:.1e}")
    largest = max(found.values())
    print(f"  {'all':<32}{largest:.1e} (right is at most {MOST:.0e})")
    return int(not largest <= MOST)


if __name__ == "__main__":
    sys.exit(main())
