"""Other wordings of views: views that ask the same in other words. Their templates are in ``views.yaml``.

Wording 0 of a view is the view itself, wording 1 of ``yes`` is the view ``yes_1``. Views that are read together, as
``yes`` and ``no`` are, have their wordings under the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import Protocol, Self, TypeVar

from genies.data.views import VIEWS


class Joined(Protocol):
    """What is read of a view for several readers, such as ``genies.engine.reads.Reads``."""

    def __or__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Joined)


def _wordings(view: str) -> int:
    return sum(1 for _ in takewhile(lambda number: f"{view}_{number}" in VIEWS, count(1)))


WORDINGS: dict[str, int] = {view: number for view in VIEWS if (number := _wordings(view))}
"""How many further wordings there are, by view; views that ask nothing have none."""
MOST = min(WORDINGS.values())
"""As many wordings as every view has that has any."""


def wording(view: str, number: int) -> str:
    """The view that asks what a view asks, in other words; the view itself where it has none, and of number 0.

    Args:
        view: name of an original.
        number: of the wording, at most ``MOST``.
    """
    return f"{view}_{number}" if number and view in WORDINGS else view


def reworded(read: Mapping[str, T], number: int) -> dict[str, T]:
    """What is read by view, and the same under wordings 1 to ``number`` of those views that have any; sorted by name.

    A wording that is read as a view of its own, too, is read for both.
    """
    found = dict(read)
    for view in read:
        for name in {wording(view, one) for one in range(1, number + 1)} - {view}:
            found[name] = found[name] | read[view] if name in found else read[view]
    return dict(sorted(found.items()))
