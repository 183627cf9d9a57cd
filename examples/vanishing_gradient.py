"""How far back does a recurrent net hear? The gradient's size by distance, for the four cells.

    python examples/vanishing_gradient.py --output vanishing_gradient.png

Random vectors go through one layer; the loss reads the last state alone. Its gradient by the input
k steps before the end is what training can learn from a word at that distance. Drawn, on a log
scale: its norm as a share of that of the last input (distance 0), the median over seeds and the
range between the lowest and the highest, in three settings:

- as the modules are initialised (orthogonal recurrent weights, forget bias 1), inputs of size 1;
- the same with the gate that keeps memory opened by a bias of 3 (f of `lstm` and `carry`, z of
  `gru`), as training opens it when a task needs memory; `rnn` has no such gate;
- as initialised again, with inputs of size 0.05, about as quiet as an embedding before training.

The dashed line is the carry's straight track in `lstm`: c_t = f c_{t-1} + i g, so along it a step
back multiplies the gradient by f and by nothing else. Needs `carryline[torch,plot]`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from carryline.nn import MODULES, Recurrent
from carryline.recurrence.ragged import Ragged

Array = NDArray[np.float64]
COLORS = {"rnn": "#c2410c", "gru": "#8a94a0", "lstm": "#1f5fa8", "carry": "#0f8a6d"}
INK, FAINT = "#333f4d", "#e3e7ec"
LOWEST = 1e-30  # end of the scale; what is below leaves the picture


@dataclass(frozen=True)
class Setting:
    """keep: bias of the gate that keeps memory, None as initialised; size: of the inputs."""

    name: str
    keep: float | None
    size: float


SETTINGS = (
    Setting("as initialised", None, 1.0),
    Setting("memory gate opened: bias 3", 3.0, 1.0),
    Setting("as initialised, quiet inputs", None, 0.05),
)


@dataclass(frozen=True)
class Curves:
    """Of one cell in one setting: norms [seeds, length] by distance, as shares of distance 0.

    gradient: by the input. track: what the straight track alone would leave of it.
    """

    gradient: Array
    track: Array

    @property
    def median(self) -> Array:
        return np.asarray(np.median(self.gradient, axis=0))


def measure(setting: Setting, cell: str, sizes: argparse.Namespace) -> Curves:
    """The curves of all seeds; each is the median over the texts of a batch."""
    gradients, tracks = [], []
    for seed in range(sizes.seeds):
        torch.manual_seed(seed)
        # float64: after 200 steps the smallest norms are below what float32 can hold.
        module = MODULES[cell](sizes.hidden, sizes.hidden, threads=1, dtype=torch.float64)
        if setting.keep is not None and cell != "rnn":
            with torch.no_grad():
                keeping(module.get_parameter("bias_ih_l0"), sizes.hidden).fill_(setting.keep)
        tokens = sizes.texts * sizes.length
        x = setting.size * torch.randn(tokens, sizes.hidden, dtype=torch.float64)
        batch = Ragged(x.requires_grad_(), np.arange(sizes.texts + 1) * sizes.length)
        states, state = module(batch)
        h = state[0] if isinstance(state, tuple) else state
        h[0].matmul(torch.randn(sizes.hidden, dtype=h.dtype)).sum().backward()
        gradients.append(by_distance(batch.values.grad.norm(dim=1), sizes.texts))
        factors = track(module, batch.values.detach(), states.values.detach(), sizes.texts)
        tracks.append(by_distance(factors.flatten(), sizes.texts))
    return Curves(np.stack(gradients), np.stack(tracks))


def by_distance(norms: Tensor, texts: int) -> Array:
    """[texts * length] norms by position -> [length] by distance from the end, 1 at distance 0."""
    from_end = norms.view(texts, -1).flip(1)
    return np.asarray((from_end / from_end[:, :1]).median(dim=0).values.numpy())


def track(module: Recurrent, x: Tensor, states: Tensor, texts: int) -> Tensor:
    """[texts, length] what one factor a step alone leaves of a gradient on its way from the end.

    It is the keeping gate; for `rnn`, which has none, tanh's slope (root mean square over units:
    the recurrent weights, orthogonal, mix the units and do no more). x: [texts * length, input],
    states: [texts * length, hidden].
    """
    states = states.view(texts, -1, states.shape[1])
    if module.cell.name == "rnn":
        factors = (1 - states**2).square().mean(dim=2, keepdim=True).sqrt()
    else:
        w_x, w_h, bias = (
            keeping(module.get_parameter(name).detach(), states.shape[2])
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
        )
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        factors = torch.sigmoid(x.view(texts, -1, x.shape[1]) @ w_x.T + before @ w_h.T + bias)
    later = torch.cat([factors[:, 1:], torch.ones_like(factors[:, :1])], dim=1)
    products = later.flip(1).cumprod(dim=1).flip(1)
    return products.square().mean(dim=2).sqrt()


def keeping(gates: Tensor, hidden: int) -> Tensor:
    """The rows of the gate that keeps memory, the second: f of lstm and carry, z of gru."""
    return gates[hidden : 2 * hidden]


def kept_a_step(curve: Array) -> float:
    """The mean factor of one more step back, beyond the first steps."""
    begin = min(10, len(curve) // 2)
    return float((curve[-1] / curve[begin]) ** (1 / (len(curve) - 1 - begin)))


def result(curves: Curves, distances: Sequence[int]) -> dict[str, Any]:
    """What the table and the JSON line tell of a cell in a setting."""
    far = distances[-2]
    return {
        "gradient": {str(k): float(curves.median[k]) for k in distances},
        "range": {str(far): [float(f(curves.gradient[:, far])) for f in (np.min, np.max)]},
        "kept_a_step": kept_a_step(curves.median),
        "kept_by_track_alone": kept_a_step(np.asarray(np.median(curves.track, axis=0))),
    }


def table(results: dict[str, dict[str, Any]], distances: Sequence[int]) -> str:
    far = str(distances[-2])
    head = [*(f"k={k}" for k in distances), f"lowest..highest at {far}", "a step", "track alone"]
    lines = ["{:<8}".format("cell") + "".join(f"{h:>10}" for h in head[:-3])]
    lines[0] += f"{head[-3]:>24}{head[-2]:>9}{head[-1]:>13}"
    for setting, by_cell in results.items():
        lines += ["", setting]
        for cell, r in by_cell.items():
            low, high = r["range"][far]
            lines.append(
                f"{cell:<8}"
                + "".join(f"{value:>10.1e}" for value in r["gradient"].values())
                + f"{f'{low:.0e}..{high:.0e}':>24}{r['kept_a_step']:>9.3f}"
                + f"{r['kept_by_track_alone']:>13.3f}"
            )
    return "\n".join(lines)


def words(results: dict[str, dict[str, Any]]) -> str:
    """What is seen, in plain words and with the figures measured."""
    kept = [{cell: f"{r['kept_a_step']:.2f}" for cell, r in s.items()} for s in results.values()]
    start, opened, quiet = kept
    first = next(iter(results.values()))
    slope, gate = (f"{first[cell]['kept_by_track_alone']:.2f}" for cell in ("rnn", "lstm"))
    return f"""
Vanishing: a step back through rnn multiplies the gradient by tanh's slope and by U, step after
  step: geometric decay, a straight line on this scale. It keeps {start["rnn"]} a step.
The carry: c_t = f c_{{t-1}} + i g, so a step back multiplies by f. With f near 1 the gradient stays
  alive: opened, lstm keeps {opened["lstm"]} a step and carry {opened["carry"]}.
Not as it is usually told:
- A carry is not open by itself. With forget bias 1, f alone keeps {gate} (sigmoid(1) is 0.73).
  lstm keeps {start["lstm"]}, since gradient returns by way of its gates too: it fades as well, only
  later than rnn. The long memory comes with training, which opens f.
- gru begins with z near 0.5 and keeps {start["gru"]} a step: it must learn to open its gate first.
- rnn fades because its units saturate: tanh's slope alone keeps {slope}, and U, orthogonal, takes
  nothing. On quiet inputs tanh is nearly straight: rnn keeps {quiet["rnn"]}, lstm {quiet["lstm"]}.
- Nothing bounds an open carry: where a step keeps more than 1, the gradient grows."""


def draw(curves: dict[str, dict[str, Curves]], path: str) -> None:
    figure = Figure(figsize=(12.5, 4.6), dpi=144, layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(curves), sharey=True)
    for axes, (title, by_cell) in zip(panels, curves.items(), strict=True):
        draw_setting(axes, title, by_cell)
    panels[0].set_ylim(bottom=max(LOWEST, panels[0].get_ylim()[0]))
    panels[0].set_ylabel("gradient by the input,\nas a share of that at distance 0", color=INK)
    figure.savefig(path, format="png")


def draw_setting(axes: Axes, title: str, by_cell: dict[str, Curves]) -> None:
    for cell, curve in by_cell.items():
        low, high = curve.gradient.min(axis=0), curve.gradient.max(axis=0)
        axes.fill_between(range(len(low)), low, high, color=COLORS[cell], alpha=0.2, linewidth=0)
        label = f"{cell}: {kept_a_step(curve.median):.2f} a step"
        axes.plot(curve.median, color=COLORS[cell], linewidth=2, label=label)
    alone = np.asarray(np.median(by_cell["lstm"].track, axis=0))
    label = f"f of lstm alone: {kept_a_step(alone):.2f}"
    axes.plot(alone, "--", color=COLORS["lstm"], linewidth=1.2, label=label)
    axes.set_yscale("log")
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    axes.set_xlabel("distance from the last step", color=INK)
    axes.legend(loc="lower left", fontsize=9, frameon=False, labelcolor=INK, handlelength=1.4)
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="vanishing_gradient.png", help="the picture (PNG)")
    parser.add_argument("--length", type=int, default=200, help="steps of a text")
    parser.add_argument("--hidden", type=int, default=64, help="size of state and input")
    parser.add_argument("--texts", type=int, default=8, help="texts of a batch")
    parser.add_argument("--seeds", type=int, default=5)
    sizes = parser.parse_args(arguments)
    if sizes.length < 20:
        parser.error(f"a length of 20 or more shows how gradients fade, it is {sizes.length}")
    torch.set_num_threads(1)
    distances = [k for k in (1, 10, 50, 100) if k < sizes.length - 1] + [sizes.length - 1]
    curves = {s.name: {cell: measure(s, cell, sizes) for cell in COLORS} for s in SETTINGS}
    results = {
        name: {cell: result(c, distances) for cell, c in by_cell.items()}
        for name, by_cell in curves.items()
    }
    draw(curves, sizes.output)
    print(table(results, distances))
    print(words(results), f"\n\nThe picture is {sizes.output}.")
    print(json.dumps({**vars(sizes), "settings": results}))


if __name__ == "__main__":
    main()
