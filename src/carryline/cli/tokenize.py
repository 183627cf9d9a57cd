"""`carryline tokenize`."""

from __future__ import annotations

import click

from carryline.cli import options
from carryline.cli.output import echo_json


@click.command("tokenize", short_help="Show the pieces a model cuts texts into.")
@options.model
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@options.as_json
def command(model: str, texts: tuple[str, ...], as_json: bool) -> None:
    """Show the pieces that MODEL cuts each TEXT into, each beside its number.

    \b
      carryline tokenize model "TensorFlow is cool."
    """
    from carryline.tasks.classifier import load

    tokenizer = load(model).tokenizer
    width = len(str(tokenizer.size - 1))
    for number, text in enumerate(texts):
        ids = tokenizer.encode(text)
        pieces = tokenizer.pieces(ids)
        if as_json:
            echo_json({"text": text, "ids": ids, "pieces": pieces})
            continue
        if number:
            click.echo()
        for token, piece in zip(ids, pieces, strict=True):
            click.echo(f"{token:>{width}}  {piece}")
