"""What an extraction is asked for: stores of splits, by what ``tokenize`` wrote of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genies.data.options import Split
from genies.engine.tokens import Tokens
from genies.store.tokens import read_tokens, tokens_path


@dataclass(frozen=True)
class Request:
    """The stores of one split: its tokens under each view, and the digests of those tokens."""

    distribution: str
    split: str
    tokens: Mapping[str, Tokens]
    tokens_digests: Mapping[str, str]


def requests_of(
    tokenized: Mapping[str, Any], distributions: Collection[str], views: Mapping[Split, Sequence[str]], cache: Path
) -> Iterator[Request]:
    """A request for each split; each with tokens of its own, so that those of one split at a time are in memory.

    Args:
        tokenized: the manifest of ``tokenize``.
        distributions: those whose splits are asked for.
        views: those that are asked for, by split.
        cache: the folder with the tokens.
    """
    wanted: dict[tuple[str, Split], dict[str, str]] = {}
    for entry in tokenized["tokens"]:
        if entry["distribution"] in distributions and entry["view"] in views[entry["split"]]:
            wanted.setdefault((entry["distribution"], entry["split"]), {})[entry["view"]] = entry["digest"]
    for (distribution, split), digests in wanted.items():
        yield Request(distribution, split, LazyTokens(cache, digests), digests)


class LazyTokens(dict[str, Tokens]):
    """Tokens by view, read from the cache when first asked for: complete stores need none."""

    def __init__(self, cache: Path, digests: dict[str, str]) -> None:
        """Remember where each view's tokens are."""
        super().__init__()
        self._cache = cache
        self._digests = digests

    def __missing__(self, view: str) -> Tokens:
        self[view] = read_tokens(tokens_path(self._cache, self._digests[view]))
        return self[view]
