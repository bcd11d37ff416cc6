"""Grids of hyper-parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def grid(values: Mapping[str, Sequence[Any] | Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    """Every combination of the parameters' values; ``{low, high, count}`` stands for a logarithmic grid."""
    axes = []
    for choices in values.values():
        if isinstance(choices, Mapping):
            choices = np.geomspace(choices["low"], choices["high"], int(choices["count"])).tolist()
        axes.append(choices)
    for combination in itertools.product(*axes):
        yield dict(zip(values, combination, strict=True))
