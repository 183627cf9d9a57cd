"""How results are written for programs."""

from __future__ import annotations

import json
from typing import Any

import click


def echo_json(value: Any) -> None:
    """One JSON object on one line, in ASCII, so that every string survives every terminal."""
    click.echo(json.dumps(value))


def key(label: Any) -> str:
    """A label as JSON writes it in a key: `pos`, `3`, `true`."""
    return label if isinstance(label, str) else json.dumps(label)
