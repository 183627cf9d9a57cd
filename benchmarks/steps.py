"""Where a training step's time goes: into each compiled kernel, and into what is around them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

import common
from batches import Batches, ours
from carryline.bench import seconds
from carryline.recurrence import _kernels
from carryline.recurrence.cells import CELLS
from common import Result

# What the kernels are called in a report. One that is not here stands under its own name.
PARTS = {
    "recurrence_forward": "recurrence, forward",
    "recurrence_backward": "recurrence, backward",
    "matmul": "products",
    "outer": "weight gradients",
    "adam": "Adam",
    "adam_rows": "Adam, embedding and its rows",
    "squares": "clipping",
    "dropout": "dropout",
    **dict.fromkeys(("pack_gates", "pack_panels", "pack_products"), "packing"),
    **dict.fromkeys(("plan", "positions", "time_major", "distinct"), "plan"),
    **dict.fromkeys(("gates_size", "panels_size", "products_size", "saved_width"), "looking up"),
    "instruction_set": "looking up",
}
PRODUCTS = ("matmul", "outer")
RECURRENCE = "recurrence, "
ELSE = "Python and NumPy"


def part_of(kernel: str, given: tuple[Any, ...], widths: set[int]) -> str:
    """The part to which a call of a kernel counts.

    widths: gates * hidden of the recurrent layers. A product is theirs if a matrix of it is so
    wide.
    """
    name = PARTS.get(kernel, kernel)
    matrices = [a for a in given if isinstance(a, np.ndarray) and a.ndim > 1]
    if kernel in PRODUCTS and any(a.shape[-1] in widths for a in matrices):
        return RECURRENCE + name
    return name


@contextmanager
def replaced(new: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """As long as this lasts, new(name, kernel) is called for each kernel."""
    public = {n: k for n, k in vars(_kernels).items() if callable(k) and not n.startswith("_")}
    try:
        for name, kernel in public.items():
            setattr(_kernels, name, new(name, kernel))
        yield
    finally:
        for name, kernel in public.items():
            setattr(_kernels, name, kernel)


class Clock:
    """Seconds and calls of each part; widths: see `part_of`."""

    def __init__(self, widths: set[int]) -> None:
        self.widths = widths
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def timed(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """`kernel`, its calls counted: some half a microsecond more for each."""

        def call(*given: Any) -> Any:
            results: list[Any] = []
            taken = seconds(lambda: results.append(kernel(*given)))
            part = part_of(name, given, self.widths)
            self.seconds[part] += taken
            self.calls[part] += 1
            return results[0]

        return call


def split(batches: Batches, threads: int, rounds: int) -> Result:
    """Carryline's training step by its parts: the fastest of `rounds` passes over all batches,
    after two without timers. Milliseconds and calls are a step's in the mean.

    without_recurrence: of a step whose recurrence's kernels do nothing, so that whatever else it
    reads is in a cache; outside_recurrence: of a whole one, less what these took.
    """
    steps, config = ours(batches, threads), batches.config
    steps()
    steps()
    widths = {CELLS[config.cell].gates * hidden for hidden in config.hidden}
    passes = []
    for _ in range(rounds):
        clock = Clock(widths)
        with replaced(clock.timed):
            passes.append((seconds(steps), clock))
    whole, clock = min(passes, key=lambda one: one[0])
    found = parts(whole, clock, len(batches.ragged))
    with replaced(partial(left_out, widths)):
        least = min(seconds(steps) for _ in range(rounds + 1))
    return found | {"without_recurrence": 1e3 * least / len(batches.ragged)}


def left_out(widths: set[int], name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """`kernel`, which does nothing where it is the recurrence's."""
    if PARTS.get(name, "").startswith(RECURRENCE):
        return lambda *_: None
    if name not in PRODUCTS:
        return kernel

    def call(*given: Any) -> Any:
        return None if part_of(name, given, widths).startswith(RECURRENCE) else kernel(*given)

    return call


def parts(whole: float, clock: Clock, count: int) -> Result:
    """Of `count` steps that took `whole` seconds together: the longest part first, `ELSE` last."""
    taken = dict(sorted(clock.seconds.items(), key=lambda one: -one[1]))
    taken[ELSE] = whole - sum(taken.values())
    recurrence = sum(t for name, t in taken.items() if name.startswith(RECURRENCE))
    return {
        "milliseconds": 1e3 * whole / count,
        "outside_recurrence": 1e3 * (whole - recurrence) / count,
        "parts": [
            {
                "part": name,
                "milliseconds": 1e3 * t / count,
                "share": t / whole,
                "calls": clock.calls.get(name, 0) / count,
            }
            for name, t in taken.items()
        ],
    }


def table(found: Result) -> str:
    """What `split` found."""
    rows = [["", "ms a step", "share", "calls a step"]]
    for part in found["parts"]:
        calls = f"{part['calls']:.1f}" if part["calls"] else ""
        rows.append([part["part"], f"{part['milliseconds']:.3f}", f"{part['share']:.1%}", calls])
    rows.append(["whole step", f"{found['milliseconds']:.3f}", "100.0%", ""])
    return common.table(rows)


def line(found: Result) -> str:
    """What `split` found, in one line."""
    return (
        f"outside the recurrence's kernels: {found['outside_recurrence']:.2f} ms a step "
        f"of {found['milliseconds']:.2f} ms; "
        f"a step without these {found['without_recurrence']:.2f} ms"
    )
