"""Words of a text, as surface baselines count them."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Runs of letters, digits and underscores in lower case, in their order; punctuation is left out."""
    return _WORD.findall(text.lower())
