"""Log-probabilities that the cache has already, in stores that were extracted with layers and heads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from genies.digests import value_digest
from genies.engine.tokens import SCORED_VIEW
from genies.store.activations import describe_store, is_complete
from genies.store.extraction import Extractor
from genies.store.requests import Request
from genies.store.settled import store_digest

BESIDE = ("layers", "heads")
"""Fields of a store's name that say what is stored beside log-probabilities."""


class ScoredStores:
    """The stores of a cache, by whose log-probabilities they hold and how those were computed."""

    def __init__(self, extractor: Extractor) -> None:
        """Nothing is read before the first request for log-probabilities alone."""
        self._extractor = extractor

    def of(self, request: Request) -> dict[str, str] | None:
        """The name of a complete store with the request's log-probabilities, whatever it holds beside them, by view.

        Returns:
            None where there is none, or layers, heads or another view are asked for: these have to be extracted.
        """
        options = self._extractor.options
        alone = options.layer_numbers == () and set(request.tokens_digests) == {SCORED_VIEW}
        if not alone:
            return None
        model, settled = self._extractor.model, self._extractor.settled
        name, fields = store_digest(model, request.tokens_digests[SCORED_VIEW], settled)
        names = [name, *self._known.get(_scores(fields), ())]
        found = next((each for each in names if is_complete(self._extractor.root, each)), None)
        return None if found is None else {SCORED_VIEW: found}

    @cached_property
    def _known(self) -> dict[str, list[str]]:
        """Names of stores that were there when this was first asked for."""
        known: dict[str, list[str]] = {}
        for file in sorted(self._extractor.root.glob("[!.]*/store.json")):
            if described := describe_store(self._extractor.root, file.parent.name):
                known.setdefault(_scores(described["digest"]), []).append(file.parent.name)
        return known


def _scores(fields: Mapping[str, Any]) -> str:
    """What decides log-probabilities, of the fields of a store's name."""
    return value_digest({name: value for name, value in fields.items() if name not in BESIDE})
