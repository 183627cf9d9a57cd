"""The picture of a trace: a band for each gate, the carry and the states, a column for each token,
the textbook's equation beside each band."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from carryline.errors import DataError
from carryline.evaluation.fonts import drawable
from carryline.evaluation.pictures import INK, new_figure, save_figure
from carryline.explaining.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TOKENS = 150  # that can be told apart
_SUM = r"W_{%s} x_t + U_{%s} h_{t-1} + b_{%s}"
_GATE, _NEW = rf"\sigma({_SUM})", rf"\tanh({_SUM})"


def _of(form: str, name: str) -> str:
    return form % (name, name, name)


# By cell, in the order in which they are drawn.
EQUATIONS: dict[str, dict[str, str]] = {
    "rnn": {"h": r"h_t = \tanh(W x_t + U h_{t-1} + b)"},
    "lstm": {
        **{name: f"{name}_t = {_of(_GATE, name)}" for name in "if"},
        "g": f"g_t = {_of(_NEW, 'g')}",
        "o": f"o_t = {_of(_GATE, 'o')}",
        "c": r"c_t = f_t \cdot c_{t-1} + i_t \cdot g_t",
        "h": r"h_t = o_t \cdot \tanh(c_t)",
    },
    "gru": {
        **{name: f"{name}_t = {_of(_GATE, name)}" for name in "rz"},
        "n": r"n_t = \tanh(W_n x_t + b_n + r_t \cdot (U_n h_{t-1} + b'_n))",
        "h": r"h_t = (1 - z_t) \cdot n_t + z_t \cdot h_{t-1}",
    },
    "carry": {
        **{name: f"{name}_t = {_of(_GATE, name)}" for name in "if"},
        "k": f"k_t = {_of(_NEW, 'k')}",
        "c": r"c_t = f_t \cdot c_{t-1} + i_t \cdot k_t",
        "h": r"h_t = \tanh(W_o x_t + U_o h_{t-1} + V_o c_{t-1} + b_o)",
    },
}
NAMES = {
    "i": "input gate", "f": "forget gate", "o": "output gate", "g": "candidate", "k": "candidate",
    "r": "reset gate", "z": "update gate", "n": "candidate", "c": "carry", "h": "state",
}  # fmt: skip
_GATES = "iforz"  # between 0 and 1


def plot_trace(trace: Trace, path: str | Path, units: int) -> None:
    """As a PNG, of the liveliest units.

    Raises `DataError` for no tokens and for too many, `OutputError` when `path` cannot be written,
    `MissingExtraError` without matplotlib.
    """
    bands, tokens = EQUATIONS[trace.cell.name], len(trace.pieces)
    if not 1 <= tokens <= MOST_TOKENS:
        raise DataError(f"a text that is drawn has 1 to {MOST_TOKENS} tokens, it has {tokens:,}")
    chosen = trace.liveliest(units)
    height = 0.7 + (0.5 + 0.045 * len(chosen)) * len(bands)
    figure = new_figure(max(7.0, 3.0 + 0.24 * tokens), height)
    every = figure.subplots(len(bands), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, equation) in zip(every, bands.items(), strict=True):
        _band(axes, name, _values(trace, name)[:, chosen], equation)
    _name_tokens(every[-1], trace)
    end = "first" if trace.direction == "forward" else "last"
    every[0].annotate(
        f"{trace.cell.name}, layer {trace.layer}, {trace.direction}: read from the {end} token on; "
        f"the {len(chosen)} units that vary most",
        (0, 1), (0, 22), "axes fraction", "offset points", fontsize=9, color=INK, weight="bold",
    )  # fmt: skip
    save_figure(figure, path)


def _values(trace: Trace, name: str) -> Any:
    if name == "h":
        return trace.states
    return trace.carry if name == "c" else trace.gates[name]


def _band(axes: Axes, name: str, values: Any, equation: str) -> None:
    """Gates from white (shut) to blue (open); others from orange through white to blue."""
    if name in _GATES:
        colours, low, high = "Blues", 0.0, 1.0
    else:
        most = float(abs(values).max(initial=0)) or 1.0
        most = max(most, 1.0) if name != "c" else most
        colours, low, high = "PuOr", -most, most
    image = axes.imshow(
        values.T, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high
    )
    axes.set_title(f"{NAMES[name]}   ${equation}$", loc="left", fontsize=9, color=INK)
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, aspect=8, ticks=[low, 0, high])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0, colors=INK)


def _name_tokens(axes: Axes, trace: Trace) -> None:
    shown, families = drawable([piece.strip() or "␣" for piece in trace.pieces], 16)
    axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=8, family=families, color=INK)
