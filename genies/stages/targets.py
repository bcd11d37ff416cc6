"""Sources and targets as verbs take them: ``SOURCE:TARGET``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from genies.errors import ConfigError


def targets_of(pairs: Sequence[str], sources: Iterable[str] = (), targets: Iterable[str] = ()) -> dict[str, list[str]]:
    """Targets by source.

    Args:
        pairs: ``SOURCE:TARGET`` each.
        sources: those that have all of ``targets`` where no pair is given.
        targets: see ``sources``.

    Raises:
        ConfigError: a pair lacks its source or its target.
    """
    if not pairs:
        return {source: list(targets) for source in sources}
    found: dict[str, list[str]] = {}
    for pair in pairs:
        source, _, target = pair.partition(":")
        if not source or not target:
            raise ConfigError(f"{pair}: no SOURCE:TARGET; give the names of two distributions, a colon between")
        found.setdefault(source, []).append(target)
    return found
