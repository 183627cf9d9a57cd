"""`carryline bench`."""

from __future__ import annotations

from typing import Any

import click

from carryline.cli import options
from carryline.cli.output import echo_json


@click.command("bench", short_help="Measure what Carryline does on this machine.")
@options.threads
@options.as_json
def command(threads: int | None, as_json: bool) -> None:
    """Measure what this machine does, in under a minute: its peak, and tokens a second of training
    and predicting by the lecture preset, on made-up texts as long as film reviews.

    The peak is that of fp32 multiply-adds. The share counts every product of every token; those of
    its vector are done once for many tokens, so predicting can pass it.

    \b
      carryline bench
      carryline bench --threads 1 --json
    """
    from carryline import bench

    facts = bench.measure(threads, lambda message: click.echo(message, err=True))
    if as_json:
        echo_json(facts)
        return
    rows = _rows(facts)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values for people."""
    used = facts["instruction_set"]
    others = [name for name in facts["instruction_sets"] if name != used]
    also = f" (this machine also runs {', '.join(others)})" if others else ""
    return [
        ("processor", facts["cpu"]),
        ("cores", f"{facts['cores']}, {facts['threads']} threads used"),
        ("instruction set", used + also),
        ("fp32 peak", f"{facts['peak_flops'] / 1e9:,.0f} GFLOP/s"),
        ("memory", f"{facts['copy_rate'] / 1e9:,.1f} GB/s, read and written by copying"),
        ("training", _rate(facts["training"])),
        ("predicting", _rate(facts["inference"])),
        ("one text", f"{facts['one_text'] * 1e6:,.0f} microseconds for 240 tokens"),
    ]


def _rate(figures: dict[str, float] | None) -> str:
    if figures is None:
        return "not measured: torch is not installed; pip install 'carryline[torch]'"
    share = f"{figures['share_of_peak']:.0%} of the peak"
    return f"{figures['tokens_per_second']:,.0f} tokens/s in batches of 64, {share}"
