"""Classes of interventions by what they saw: only those that saw the same are ranked together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, get_args

from genies.interventions.base import Saw

if TYPE_CHECKING:
    from genies.interventions.base import Intervention

NOTHING, UNKNOWN = "nothing", "unknown"
OF_SOURCES = "source labels"
OF_TARGETS: Saw = "target labels"
Classes = Mapping[str, str]
"""The class of each intervention by its name, as ``class_of`` gives it; who is not in it is ``UNKNOWN``."""


def saw_by(intervention: Intervention) -> Collection[str] | None:
    """What an intervention saw with its parameters; None where it does not declare it.

    Where a published rule reads test labels, that is texts and labels of the target, too.
    """
    if intervention.saw is None or not intervention.reads_test_labels:
        return intervention.saw
    return {*intervention.saw, "target texts", OF_TARGETS}


def together(members: Iterable[Collection[str] | None]) -> Collection[str] | None:
    """What several saw that judge together; None where it is not known of one of them."""
    every = list(members)
    return None if any(saw is None for saw in every) else {one for saw in every for one in saw or ()}


def class_of(saw: Collection[str] | None) -> str:
    """What was seen, in words: some of ``genies.interventions.base.Saw``, ``NOTHING``, or ``UNKNOWN`` of None."""
    if saw is None:
        return UNKNOWN
    return ", ".join(one for one in get_args(Saw) if one in saw) or NOTHING


def without_target_labels(names: Iterable[str], classes: Classes) -> list[str]:
    """Those of some interventions that are known not to have seen labels of targets.

    One of which nothing is declared counts as one that has; one that is in no class, as in tables that were made
    without them, does not.
    """
    kept = (name for name in names if classes.get(name) != UNKNOWN)
    return [name for name in kept if OF_TARGETS not in classes.get(name, NOTHING).split(", ")]
