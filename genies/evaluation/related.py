"""Shifts that have a distribution in common, by its name or by its texts, which several distributions may share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl

from genies.errors import StoreError
from genies.evaluation.table import Table

Shift = tuple[str, str, str]
"""Source, target and reference."""
PART = 0.1
"""From more than this part of the smaller test split on, two distributions count as one where shifts are held out."""
SHARED = Table(
    "shared_texts.csv",
    {**dict.fromkeys(("first", "second"), pl.String), **dict.fromkeys(("examples", "shared"), pl.Int64)},
    optional=True,
)
"""Columns of ``shared_texts.csv``: a row per two distributions whose test splits share texts, a prompt and a response;
splits are compared whole, whatever the limit. ``first`` has no more ``examples`` than ``second``, and ``shared`` counts
those of them of which a text, or a near duplicate of it, is in the test split of ``second``."""
Names = Mapping[str, str]
"""One name for all of some distributions that count as one, by their own names."""
APART: Names = MappingProxyType({})
"""Where every name is a distribution of its own, or it is not known which are not."""


def read_shared(folder: Path) -> pl.DataFrame:
    """``shared_texts.csv`` of a run; no rows where it is not there.

    Raises:
        StoreError: it is damaged. A row without its counts would let copies pass for distributions of their own.
    """
    shared = SHARED.read(folder)
    if sum(shared.null_count().row(0)):
        raise StoreError(f"{folder / SHARED.file}: a row has an empty field; delete it and run snakemake again")
    return shared


def one_name(shared: pl.DataFrame) -> dict[str, str]:
    """One name for distributions of which more than ``PART`` of the texts are the same, directly or by way of others.

    Args:
        shared: columns as in ``SHARED``.
    """
    found: dict[str, str] = {}
    for first, second in shared.filter(pl.col("shared") > PART * pl.col("examples")).select("first", "second").rows():
        old, new = found.get(first, first), found.get(second, second)
        found |= {first: new, second: new, **{name: new for name, known in found.items() if known == old}}
    return found


def related(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two shifts have a distribution in common, in whatever role."""
    return not {*one}.isdisjoint(other)


def between(shifts: Sequence[Shift], names: Names = APART) -> tuple[np.ndarray, np.ndarray]:
    """Whether each two of g shifts are related, bool (g, g), and numbers of their sources, int64 (g,).

    Args:
        shifts: the shifts.
        names: one for all distributions that have the same texts.
    """
    named = [tuple(names.get(name, name) for name in shift) for shift in shifts]
    alike = np.array([[related(one, other) for other in named] for one in named])
    return alike, np.unique([source for source, *_ in named], return_inverse=True)[1]
