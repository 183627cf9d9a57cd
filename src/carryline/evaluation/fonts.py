"""Names that matplotlib can draw without a warning, whatever characters they are made of."""

from __future__ import annotations

from carryline.evaluation.metrics import name

_FONT = "DejaVu Sans"  # comes with matplotlib


def drawable(names: list[str], longest: int) -> tuple[list[str], list[str]]:
    """Names as matplotlib can draw them, shortened, and the families of fonts to do it with.

    What matplotlib's own font lacks is drawn with the installed font that has most of it; what
    that lacks too is written as escapes. A `$` begins no formula.
    """
    missing = {ord(c) for text in names for c in text} - _characters(_FONT)
    families = [_FONT]
    if missing:
        second = _richest_font(missing)
        if second:
            families.append(second)
            missing -= _characters(second)
    escaped = {c: chr(c).encode("unicode_escape").decode() for c in missing}
    shown = [name(text.translate(escaped), longest).replace("$", r"\$") for text in names]
    return shown, families


def _characters(family: str) -> set[int]:
    """What the font that matplotlib takes for a family can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=family), fallback_to_default=False))
    return set(font.get_charmap()) if font.scalable else set()


def _richest_font(wanted: set[int]) -> str | None:
    from matplotlib.font_manager import fontManager

    most, richest = 0, None
    upright = {e.name for e in fontManager.ttflist if (e.style, e.weight) == ("normal", 400)}
    for family in sorted(upright):
        if family.startswith("Last Resort"):  # has a box for every character
            continue
        try:
            found = len(wanted & _characters(family))
        except (OSError, RuntimeError, ValueError):  # a font that was removed or is damaged
            continue
        if found > most:
            most, richest = found, family
    return richest
