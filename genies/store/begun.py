"""Parts that were begun: which of them go on together, with the rows that they were begun with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from genies.digests import value_digest
from genies.store.activations import describe_store, has_begun
from genies.store.requests import Request


def begun_together(
    root: Path, request: Request, names: Mapping[str, str], beside: Sequence[str]
) -> list[tuple[list[str], dict | None]]:
    """Views by how their parts were begun: (views, description of such a part, None for new ones).

    Views that share trees are computed together, so that a part goes on with the rows that it was begun with, even
    where the others of its trees are complete by now.

    Args:
        root: folder of the parts.
        request: that they are parts of.
        names: of the parts, by view.
        beside: names of complete parts of the same examples.
    """
    found: dict[str, tuple[list[str], dict | None]] = {}
    for view, name in names.items():
        begun = describe_store(root, name)
        if begun is None:
            # Its description is lost, or a kill came between the making of these parts: a neighbour's tells.
            neighbours = [*names.values(), *(beside if has_begun(root, name) else ())]
            told = (describe_store(root, neighbour) for neighbour in neighbours)
            begun = next((other for other in told if other and view in other["computed_with"]), None)
        if begun and not set(begun["computed_with"]) <= set(request.tokens_digests):
            begun = None
        found.setdefault(value_digest(begun and begun["computed_with"]), ([], begun))[0].append(view)
    return list(found.values())
