"""Sizes of models, and their order by it.

A model's size is what its name states, as in ``llama-7b`` or ``pythia-1.4b-deduped``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d{1,3})x)?(\d{1,6}(?:\.\d{1,6})?)([kmbt])(?![a-z0-9])", re.IGNORECASE)
UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def parameters(model: str) -> int | None:
    """How many parameters a model has by its name (``8x7b`` counts as 56 billion); None where that states no size."""
    found = _SIZE.search(model)
    if not found:
        return None
    experts, count, unit = found.groups()
    return round(int(experts or 1) * float(count) * UNITS[unit.lower()]) or None


def by_size(models: Sequence[str]) -> list[str]:
    """The models from small to large; one whose size is unknown keeps its place in the list."""
    sizes = {model: size for model in models if (size := parameters(model))}
    known = iter(sorted(sizes, key=sizes.__getitem__))
    return [next(known) if model in sizes else model for model in models]


def family(model: str) -> str:
    """A model's name without its size."""
    return _SIZE.sub("", model, count=1)
