"""Which features of a text are read: by an intervention under one of its views, and by all those of a run together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from functools import reduce
from typing import Literal

from genies.errors import ConfigError

Feature = Literal[
    "heads", "residual", "residual_inner", "residual_final", "log_probability", "reference_log_probability", "texts"
]
"""What an intervention declares: ``residual`` is every layer of the residual stream, ``residual_final`` the one after
the final norm, ``residual_inner`` all the others; ``reference_log_probability`` and ``texts`` are not in the stores of
the run's model."""
Declared = tuple[Feature, ...] | Mapping[str, tuple[Feature, ...]]
"""The same of an intervention, or by view where that differs."""


@dataclass(frozen=True)
class Reads:
    """Features that are read under one view.

    Attributes:
        heads: attention heads, of every layer.
        inner, final: the residual stream's layers before the final norm, and the one after it.
        log_probability: summed log-probability of each response, and over how many tokens.
    """

    heads: bool = False
    inner: bool = False
    final: bool = False
    log_probability: bool = False

    @classmethod
    def of(cls, declared: Iterable[Feature]) -> Reads:
        """What an intervention declares; one that declares nothing may read everything."""
        named = set(declared)
        if not named:
            return EVERYTHING
        return cls(
            heads="heads" in named,
            inner=not named.isdisjoint({"residual", "residual_inner"}),
            final=not named.isdisjoint({"residual", "residual_final"}),
            log_probability="log_probability" in named,
        )

    def __or__(self, other: Reads) -> Reads:
        return Reads(*(ours or theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))

    def words(self) -> str:
        """As flags have it, such as ``heads+final``."""
        return "+".join(field.name for field in fields(self) if getattr(self, field.name))


EVERYTHING = Reads(True, True, True, True)
SCORES = Reads(log_probability=True)


def declares(declared: Declared, feature: Feature) -> bool:
    """Whether a feature is declared, under any view."""
    return feature in (sum(declared.values(), ()) if isinstance(declared, Mapping) else declared)


def union(reads: Iterable[Reads]) -> Reads:
    """All that any of them reads."""
    return reduce(Reads.__or__, reads, Reads())


def to_flags(reads: Mapping[str, Reads]) -> list[str]:
    """``VIEW:FEATURE+FEATURE`` by view, as verbs take it, sorted."""
    return [f"{view}:{of_view.words()}" for view, of_view in sorted(reads.items())]


def from_flags(flags: Iterable[str]) -> dict[str, Reads]:
    """Features by view from ``VIEW:FEATURE+FEATURE`` each; of a view by itself, everything.

    Raises:
        ConfigError: a feature is unknown.
    """
    known = [field.name for field in fields(Reads)]
    found: dict[str, Reads] = {}
    for flag in flags:
        view, colon, words = flag.partition(":")
        named = list(filter(None, words.split("+")))
        if unknown := [word for word in named if word not in known]:
            raise ConfigError(f"{flag}: feature {unknown[0]!r} is unknown; there are {', '.join(known)}")
        found[view] = Reads(**dict.fromkeys(named, True)) if colon else EVERYTHING
    return found
