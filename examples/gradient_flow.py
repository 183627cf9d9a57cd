"""How does the gradient travel through a sentence? One way back through a trained network, drawn.

    python examples/gradient_flow.py --output gradient_flow.png

Made-up reviews of four parts train a small bidirectional `lstm` to say whether the film was liked;
one part says so, the others are there to be passed over. Then the gradient of the loss goes back
over one sentence in the reference cells (`recurrence/cells.py`), a token at a time, from each
direction's last state, which alone is read. Drawn are its norms at every token: by the state h and
by the carry c of each direction, and by the token's embedding, to which both come down. Takes some
seconds and needs `carryline[plot]`; docs/backpropagation.md has the equations.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from carryline import TextClassifier
from carryline.model import network
from carryline.recurrence.cells import LSTM, step, step_backward
from carryline.training import losses, stages
from carryline.training.stages import Way

Array = NDArray[Any]
STATE, CARRY, WORD, INK, FAINT = "#c2410c", "#1f5fa8", "#0f8a6d", "#333f4d", "#e3e7ec"
WORDS = {"good": True, "great": True, "lovely": True, "bad": False, "dull": False, "awful": False}
OTHERS = ("the music", "the cast", "the ending", "the cinema")
ASIDES = (
    "we saw it on a rainy monday", "my sister came along with me", "the queue was very long",
    "they sell good coffee there", "it ran for two hours", "the seats were bad as ever",
)  # fmt: skip
SENTENCE, LABEL = "the cast was great but the film was not good and it ran for two hours", "bad"


def review(rng: np.random.Generator) -> tuple[str, str]:
    """Opinions of the film and of something else, and two asides, in any order; the label."""
    opinions, liked = [], False
    for subject in (str(rng.choice(OTHERS)), "the film"):
        word, turned = str(rng.choice(list(WORDS))), bool(rng.random() < 0.4)
        opinions.append(f"{subject} was {'not ' * turned}{word}")
        liked = WORDS[word] != turned
    text = ""
    for part in rng.permutation([*opinions, *rng.choice(ASIDES, 2, replace=False)]):
        text += f"{rng.choice([' and ', ' but ']) if text else ''}{part}"
    return text, "good" if liked else "bad"


def trained(texts: int, epochs: int) -> TextClassifier:
    rng = np.random.default_rng(0)
    reviews, labels = zip(*(review(rng) for _ in range(texts)), strict=True)
    classifier = TextClassifier(
        "lecture", vocabulary=600, embedding=16, hidden=32, dense=16, learning_rate=0.005,
        epochs=epochs,
    )  # fmt: skip
    return classifier.fit(reviews, labels, baseline=False, verbose=False)


@dataclass(frozen=True)
class Flow:
    """Norms of the gradient, as shares of that by the vector that the two last states make: by h_t
    and c_t [directions, tokens] and by the embeddings [tokens]."""

    tokens: list[str]
    state: Array
    carry: Array
    word: Array


def flow(classifier: TextClassifier, text: str, label: str) -> Flow:
    """Of the loss of one text, in float64."""
    model = classifier.trained
    weights = {name: value.astype(float) for name, value in model.network.weights.items()}
    ids = model.tokenizer.encode(text)
    x, count = weights["embedding.weight"][ids], len(ids)
    layer = list(network.layer(model.config, weights, 0).values())
    walks = list(range(count)), list(range(count))[::-1]
    visits = [visit(w, x, walk) for w, walk in zip(layer, walks, strict=True)]
    last = np.concatenate([visited[-1][0] for visited in visits])
    d_last = by_last(weights, last, model.classes.index(label))
    state, carry, d_x = np.zeros((2, count)), np.zeros((2, count)), np.zeros_like(x)
    for i, d_h in enumerate(np.split(d_last, 2)):
        d_c = np.zeros_like(d_h)
        for number, at in reversed(list(enumerate(walks[i]))):
            before, (h, c) = visits[i][number : number + 2]
            state[i, at] = np.linalg.norm(d_h)
            # h = o tanh(c): what reaches c by way of h, and what came back along the carry.
            carry[i, at] = np.linalg.norm(d_h * h / np.tanh(c) * (1 - np.tanh(c) ** 2) + d_c)
            by_x, d_h, d_c, _ = step_backward(LSTM, layer[i], x[at], *before, d_h, d_c)
            d_x[at] += by_x
    whole = np.linalg.norm(d_last)
    tokens = [piece.strip() for piece in model.tokenizer.pieces(ids)]
    return Flow(tokens, state / whole, carry / whole, np.linalg.norm(d_x, axis=1) / whole)


def visit(w: Any, x: Array, walk: Sequence[int]) -> list[tuple[Array, Array]]:
    """h and c before a direction's first token, and after each one."""
    zeros = np.zeros(w["weight_hh"].shape[1])
    visited = [(zeros, zeros)]
    for at in walk:
        visited.append(step(LSTM, w, x[at], *visited[-1]))
    return visited


def by_last(weights: dict[str, Array], last: Array, target: int) -> Array:
    """The gradient of the loss by both directions' last states, by way of the stages above."""
    way = Way()
    y = way(stages.dense(last[None], network.part(weights, "dense"), threads=1), "dense")
    a = way(stages.relu(y))
    z = way(stages.dense(a, network.part(weights, "head"), threads=1), "head")
    way(losses.loss(z, np.array([target]), None))
    d: Array = way.back(1.0)[0][0]
    return d


def draw(found: Flow, path: str) -> None:
    figure = Figure(figsize=(12.5, 7.4), dpi=144, layout="constrained", facecolor="white")
    forward, reverse, word = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    reverse.sharey(forward)
    end = len(found.tokens) - 1
    draw_direction(forward, found, 0, "forward direction, which ends at the right", end)
    draw_direction(reverse, found, 1, "reverse direction, which ends at the left", 0)
    forward.legend(loc="upper left", fontsize=11, frameon=False, labelcolor=INK)
    word.bar(range(end + 1), found.word, width=0.62, color=WORD)
    styled(word, "by the embedding of each token, where both directions come together")
    word.set_xticks(range(end + 1), found.tokens, fontsize=12, color=INK)
    word.set_xlim(-0.5, end + 0.5)
    figure.supylabel(
        "norm of the gradient, as a share of that by both last states", color=INK, fontsize=12
    )
    figure.savefig(path, format="png")


def draw_direction(axes: Axes, found: Flow, i: int, title: str, last: int) -> None:
    """last: the token whose state is read, from which the gradient goes back."""
    axes.plot(found.state[i], "o-", color=STATE, linewidth=2, markersize=5, label="by the state h")
    axes.plot(found.carry[i], "o-", color=CARRY, linewidth=2, markersize=5, label="by the carry c")
    axes.set_yscale("log")
    styled(axes, title)
    toward = -1 if last else 1
    axes.annotate(
        "", (last + 4.2 * toward, 0.09), (last + 0.2 * toward, 0.09),
        xycoords=("data", "axes fraction"), arrowprops={"arrowstyle": "-|>", "color": INK},
    )  # fmt: skip
    axes.text(
        last + 0.2 * toward, 0.13, "the way back", transform=axes.get_xaxis_transform(),
        ha="right" if last else "left", fontsize=11, color=INK,
    )  # fmt: skip


def styled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def table(found: Flow) -> str:
    lines = [f"{'':<8}{'forward h':>11}{'c':>9}{'reverse h':>11}{'c':>9}{'embedding':>11}"]
    (forward, reverse), (forward_c, reverse_c) = found.state, found.carry
    columns = (forward, forward_c, reverse, reverse_c, found.word)
    for token, *values in zip(found.tokens, *columns, strict=True):
        shown = (f"{v:>{w}.4f}" for v, w in zip(values, (11, 9, 11, 9, 11), strict=True))
        lines.append(f"{token:<8}{''.join(shown)}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="gradient_flow.png", help="the picture (PNG)")
    parser.add_argument("--texts", type=int, default=4000, help="reviews to train and validate on")
    parser.add_argument("--epochs", type=int, default=20)
    asked = parser.parse_args(arguments)
    classifier = trained(asked.texts, asked.epochs)
    found = flow(classifier, SENTENCE, LABEL)
    draw(found, asked.output)
    assert classifier.metrics is not None
    print(f"validation accuracy {classifier.metrics['accuracy']:.4f}; {SENTENCE!r}: {LABEL}\n")
    print(f"{table(found)}\n\nThe picture is {asked.output}.")


if __name__ == "__main__":
    main()
