"""Words of a text, as surface baselines count them."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"\w+")


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """Runs of letters, digits and underscores in lower case, in their order; punctuation is left out."""
    return tuple(_WORD.findall(text.lower()))
