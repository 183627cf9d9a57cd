"""`carryline explain`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from carryline.cli import options
from carryline.cli.output import echo_json
from carryline.errors import OutputError

if TYPE_CHECKING:
    from rich.text import Text

    from carryline.explaining.explanation import Explanation, Span

SHOWN = 8  # words that are listed for the label, and against it
FOR, AGAINST = (47, 125, 209), (226, 120, 20)


@click.command("explain", short_help="Show each word's part in a decision.")
@options.model
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--label", help="Explain this label (default: the most probable one of each text).")
@click.option(
    "--way",
    type=click.Choice(["gradients", "occlusion"]),
    default="gradients",
    show_default=True,
    help="How a word's part in the recurrent network is found: by integrated gradients, whose "
    "parts add up, or by occlusion, what is lost without the word. In the linear part it is exact.",
)
@click.option(
    "--by",
    type=click.Choice(["words", "sentences"]),
    default="words",
    show_default=True,
    help="What has a part.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a page with the coloured texts, whole or not at all.",
)
@options.threads
@options.as_json
def command(
    model: str,
    texts: tuple[str, ...],
    label: str | None,
    way: str,
    by: str,
    html: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Show why MODEL decides as it does on each TEXT, or on each line of standard input.

    Shows the text, its words coloured on a terminal (blue: for the label, orange: against it), and
    the words with the largest parts in the label's score: how far its logit is above the others'
    mean, or of two labels the log-odds.

    \b
      carryline explain model "A film to remember, though not for the right reasons."
      carryline explain model --by sentences --html page.html < review.txt
    """
    if html is not None and not html.parent.is_dir():
        raise OutputError(f"--html must be in a folder that exists; {html.parent} does not")
    if not texts and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("nothing to explain: give TEXT or a pipe")
    from carryline.tasks.classifier import load

    classifier = load(model)
    chosen = texts or tuple(options.read(["-"], labelled=False, piped=True).texts)
    found = [classifier.explain(text, label, way=way, by=by, threads=threads) for text in chosen]
    if html is not None:
        _write(html, found, model)
    for explanation in found if as_json else ():
        echo_json(explanation.to_dict())
    if not as_json and html is None:
        for number, explanation in enumerate(found):
            if number:
                click.echo()
            _show(explanation)


def _write(path: Path, found: Sequence[Explanation], model: str) -> None:
    from carryline.explaining.page import page
    from carryline.files import write_whole

    title = f"What {Path(model).name} reads"
    write_whole(path, page(found, title).encode(errors="backslashreplace"))
    click.echo(f"wrote {len(found):,} explained texts to {path}", err=True)


def _show(explanation: Explanation) -> None:
    """The label, the text, and the strongest words in two columns of numbers."""
    from rich.console import Console

    from carryline.evaluation.metrics import name

    console = Console(highlight=False, soft_wrap=True)
    click.echo(f"{name(explanation.label)}  {explanation.probability:.4f}")
    console.print(_coloured(explanation))
    if not explanation.spans:
        return
    click.echo(f"\n{'part':>7} {'linear':>8} {'recurrent':>10}")
    for span in _listed(explanation):
        shown = explanation.of(span).strip() or repr(explanation.of(span))
        click.echo(
            f"{span.part:+7.2f} {span.linear:+8.2f} {span.recurrent:+10.2f}  {_short(shown)}"
        )
    click.echo(f"{explanation.rest:+7.2f} {'':8} {'':10}  (of no word)")
    click.echo(f"{explanation.score:+7.2f} {'':8} {'':10}  the score")
    for span in explanation.spans if explanation.spans[0].after else ():
        _show_after(explanation, span)


def _show_after(explanation: Explanation, span: Span) -> None:
    """How probable the label is when the text ends here."""
    assert span.after is not None
    chance = span.after[explanation.classes.index(explanation.label)]
    bar = "█" * round(20 * chance)
    click.echo(f"{chance:7.4f}  {bar:<20}  {_short(explanation.of(span).strip())}")


def _listed(explanation: Explanation) -> list[Span]:
    ordered = explanation.strongest()
    if len(ordered) <= 2 * SHOWN:
        return ordered
    return ordered[:SHOWN] + ordered[-SHOWN:]


def _short(text: str, most: int = 60) -> str:
    from carryline.text.tokens import visible

    shown = visible(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _coloured(explanation: Explanation) -> Text:
    """The text; a ground as deep as a span's part, on a terminal that has colours."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    from carryline.text.tokens import visible

    largest = max((abs(span.part) for span in explanation.spans), default=0.0) or 1.0
    text = Text()
    for span in explanation.spans:
        written = "\n".join(map(visible, explanation.of(span).split("\n")))
        bare = written.lstrip(" ")
        text.append(written[: len(written) - len(bare)])
        depth = abs(span.part) / largest
        if depth < 0.1 or not bare.strip():
            text.append(bare)
            continue
        ground = [round(255 - depth * (255 - c)) for c in (FOR if span.part > 0 else AGAINST)]
        style = Style(color=Color.from_rgb(0, 0, 0), bgcolor=Color.from_rgb(*ground))
        text.append(bare, style)
    return text
