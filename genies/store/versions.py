"""Stores of other versions: those that differ from a store that is wanted in code and libraries alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import value_digest
from genies.errors import StoreError
from genies.files import read_sealed
from genies.store.extraction import Extractor
from genies.store.requests import Request
from genies.store.settled import missing_views, store_digest
from genies.store.tokens import read_attributes, read_tokens, tokens_path

BY_VERSION = ("code", "libraries")
"""Fields of names in which an old store may differ."""


@dataclass(frozen=True)
class Old:
    """A complete store of another version: its name, the fields of it, and when it was written (seconds)."""

    name: str
    fields: Mapping[str, Any]
    written: float

    @cached_property
    def version(self) -> str:
        """Digest of the code and the libraries that it was computed with."""
        return value_digest([self.fields[name] for name in BY_VERSION])


@dataclass(frozen=True)
class Wanted:
    """A store that is not there under today's name, and those of other versions that may be the same."""

    request: Request
    view: str
    name: str
    fields: Mapping[str, Any]
    old: Sequence[Old]

    @property
    def place(self) -> str:
        """What it holds, for people."""
        return f"{self.request.distribution} {self.request.split}, {self.view}"

    def of(self, version: str) -> Old | None:
        """The old store of a version."""
        return next((old for old in self.old if old.version == version), None)


class OldStores:
    """The complete stores of a cache by what names them but code, libraries and the name of their tokens."""

    def __init__(self, cache: Path) -> None:
        """Read what every store states. Those that are damaged, or not complete, are passed over."""
        self._cache = cache
        self._kinds: dict[str, str | None] = {}
        self._found: dict[str, list[Old]] = {}
        for file in sorted((cache / "activations").glob("[!.]*/store.json")):
            try:
                description = read_sealed(file)
            except StoreError:
                continue
            fields, name = description.get("digest", {}), file.parent.name
            if description.get("complete") and set(BY_VERSION) <= fields.keys() and value_digest(fields) == name:
                self._found.setdefault(_kind(fields), []).append(Old(name, fields, file.stat().st_mtime))

    def of(self, name: str, fields: Mapping[str, Any]) -> list[Old]:
        """Stores with the same fields but for code and libraries, and equal tokens; the last written first."""
        found = [old for old in self._found.get(_kind(fields), ()) if old.name != name]
        alike = [old for old in found if self._same_tokens(old.fields["tokens"], fields["tokens"])]
        return sorted(alike, key=lambda old: (-old.written, old.name))

    def _same_tokens(self, one: str, other: str) -> bool:
        """Whether tokens, which other code or libraries may have named otherwise, are the same."""
        if one == other:
            return True
        kinds = [self._tokens_kind(name) for name in (one, other)]
        if None in kinds or kinds[0] != kinds[1]:
            return False
        try:
            ours, theirs = (vars(read_tokens(tokens_path(self._cache, name))) for name in (one, other))
        except StoreError:
            return False
        return all(np.array_equal(ours[name], theirs[name]) for name in ours)

    def _tokens_kind(self, name: str) -> str | None:
        """What names tokens but code and libraries; None where they are not in the cache, or damaged."""
        if name not in self._kinds:
            try:
                self._kinds[name] = _kind(read_attributes(tokens_path(self._cache, name))["fields"])
            except StoreError:
                self._kinds[name] = None
        return self._kinds[name]


def _kind(fields: Mapping[str, Any]) -> str:
    return value_digest({name: value for name, value in fields.items() if name not in (*BY_VERSION, "tokens")})


def wanted_stores(extractor: Extractor, request: Request, known: OldStores) -> list[Wanted]:
    """Stores of a request that are not there. One that is there but damaged is left to extraction."""
    found = []
    for view in missing_views(extractor.model, extractor.root, extractor.settled, request):
        name, fields = store_digest(extractor.model, request.tokens_digests[view], extractor.settled)
        if not (extractor.root / name).exists():
            found.append(Wanted(request, view, name, fields, known.of(name, fields)))
    return found
