"""Numbers in words and digits, as the page has them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genies.evaluation.simultaneous import LEVEL

UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe\uffff]"
"""Characters that a name may not have on the page or in a drawing: they have no place in XML, or turn the direction of
the words and numbers around them. A pattern for ``re`` and for polars."""
REPLACED = "\ufffd"
MOST_DIGITS = 4
"""Of the end of an interval, behind the point."""
NAMED = 5
"""Shifts or methods that a sentence names at most."""
ROUNDING = 1e-9
"""Differences below this are those of floating-point arithmetic."""


def printable(text: str) -> str:
    """A name with a � for each character that it may not have."""
    return re.sub(UNPRINTABLE, REPLACED, text)


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading, with a true minus sign; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    # A value that rounds to zero has no sign.
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def span(low: float | None, high: float | None, digits: int = 3) -> str:
    """The ends of an interval for reading, each with as many digits, up to ``MOST_DIGITS``, as keep it off 0."""
    return f"{_end(low, digits)} to {_end(high, digits)}"


def _end(value: float | None, digits: int) -> str:
    if value is None or abs(value) <= ROUNDING:
        return number(value, digits)
    for count in range(digits, MOST_DIGITS + 1):
        if round(value, count):
            return number(value, count)
    return f"just {'above' if value > 0 else 'below'} 0"


def p_value(p: float | None) -> str:
    """A p-value for reading; one below the level of the tests never reads as the level."""
    if p is None:
        return "–"
    if p < 0.001:
        return "< 0.001"
    return f"< {LEVEL:g}" if p < LEVEL <= round(p, 3) else number(p)


def plural(noun: str, number: int) -> str:
    """``noun`` for ``number`` of them: its first word that can takes the plural."""
    if number == 1:
        return noun
    return noun.replace("entry", "entries") if noun.startswith("entry") else f"{noun}s"


def counted(number: int, noun: str) -> str:
    return f"{number} {plural(noun, number)}"


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """Names for reading: the first ``most``, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def percent(share: float) -> str:
    """A share in whole per cent, with a space that does not break."""
    return f"{100 * share:.0f}\u00a0%"


def size(count: int | None) -> str:
    """Bytes in the unit that leaves a number of few digits; a dash where there are none."""
    if count is None:
        return "–"
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:.3g}\u00a0{unit}"
    return f"{count}\u00a0B"
