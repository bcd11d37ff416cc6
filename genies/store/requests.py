"""What an extraction is asked for: stores of splits, by what ``tokenize`` wrote of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genies.data.options import Split
from genies.engine.reads import EVERYTHING, Reads
from genies.engine.tokens import Tokens, select_tokens
from genies.store.parts import example_keys
from genies.store.tokens import read_tokens, tokens_path


@dataclass(frozen=True)
class Request:
    """The stores of one split.

    Attributes:
        distribution, split: which one.
        tokens: its tokens by view.
        tokens_digests: names of those tokens.
        reads: which features are stored by view; of a view that is not among them, everything.
    """

    distribution: str
    split: str
    tokens: Mapping[str, Tokens]
    tokens_digests: Mapping[str, str]
    reads: Mapping[str, Reads] = field(default_factory=dict)
    _keys: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, compare=False, repr=False)

    def reads_of(self, view: str) -> Reads:
        """Features that are stored under a view."""
        return self.reads.get(view, EVERYTHING)

    def keys(self, view: str) -> tuple[np.ndarray, np.ndarray]:
        """Examples and their keys under a view, see ``example_keys``."""
        if view not in self._keys:
            self._keys[view] = example_keys(self.tokens[view], view)
        return self._keys[view]

    def selected(self, views: Iterable[str], examples: np.ndarray) -> dict[str, Tokens]:
        """Tokens of some examples, int64 (n,), by view."""
        found = {}
        for view in views:
            table = self.tokens[view]
            rows = np.flatnonzero(np.isin(table.example, examples))
            found[view] = table if len(rows) == len(table) else select_tokens(table, rows.tolist())
        return found


def requests_of(
    tokenized: Mapping[str, Any],
    distributions: Collection[str],
    reads: Mapping[Split, Mapping[str, Reads]],
    cache: Path,
) -> Iterator[Request]:
    """A request for each split; each with tokens of its own, so that those of one split at a time are in memory.

    Args:
        tokenized: the manifest of ``tokenize``.
        distributions: those whose splits are asked for.
        reads: features that are asked for, by split and view.
        cache: the folder with the tokens.
    """
    wanted: dict[tuple[str, Split], dict[str, str]] = {}
    for entry in tokenized["tokens"]:
        if entry["distribution"] in distributions and entry["view"] in reads[entry["split"]]:
            wanted.setdefault((entry["distribution"], entry["split"]), {})[entry["view"]] = entry["digest"]
    for (distribution, split), digests in wanted.items():
        yield Request(distribution, split, LazyTokens(cache, digests), digests, reads[split])


class LazyTokens(dict[str, Tokens]):
    """Tokens by view, read from the cache when first asked for."""

    def __init__(self, cache: Path, digests: dict[str, str]) -> None:
        """Remember where each view's tokens are."""
        super().__init__()
        self._cache = cache
        self._digests = digests

    def __missing__(self, view: str) -> Tokens:
        self[view] = read_tokens(tokens_path(self._cache, self._digests[view]))
        return self[view]
