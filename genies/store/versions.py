"""Parts of other versions: those that differ from what is wanted in code and libraries alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import value_digest
from genies.errors import StoreError
from genies.files import read_sealed
from genies.store.extraction import Extractor
from genies.store.held import Held
from genies.store.parts import OF_A_PART, Part, part_name, shape_of
from genies.store.requests import Request
from genies.store.settled import series_fields

BY_VERSION = ("code", "libraries")
"""Fields of names in which an old store may differ."""


@dataclass(frozen=True)
class Old:
    """A complete part of another version: what it says, the fields of its name, when it was written (seconds)."""

    part: Part
    fields: Mapping[str, Any]
    written: float

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.part.name

    @cached_property
    def version(self) -> str:
        """Digest of the code and the libraries that it was computed with."""
        return value_digest([self.fields[name] for name in BY_VERSION])


@dataclass(frozen=True)
class Wanted:
    """A part that is not there under today's name, and those of other versions that may be the same.

    Where there are none, the name is empty, and the part that extraction would make is another one.
    """

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
        """The old part of a version."""
        return next((old for old in self.old if old.version == version), None)


class OldStores:
    """The complete parts of a cache by the series that they would be in if code and libraries were another's."""

    def __init__(self, cache: Path) -> None:
        """Read what every part states. Those that are damaged, or not complete, are passed over."""
        self._found: dict[str, list[Old]] = {}
        for file in sorted((cache / "activations").glob("[!.]*/store.json")):
            try:
                description = read_sealed(file)
            except StoreError:
                continue
            fields, name = description.get("digest", {}), file.parent.name
            known = {*BY_VERSION, *OF_A_PART} <= fields.keys() and part_name(fields) == name
            if description.get("complete") and known:
                old = Old(Part.of(name, description), fields, file.stat().st_mtime)
                self._found.setdefault(_kind(fields), []).append(old)

    def of(self, fields: Mapping[str, Any]) -> list[Old]:
        """Parts of the same series but for code and libraries; the last written first."""
        ours = [fields[name] for name in BY_VERSION]
        found = [old for old in self._found.get(_kind(fields), ()) if [old.fields[n] for n in BY_VERSION] != ours]
        return sorted(found, key=lambda old: (-old.written, old.name))


def _kind(fields: Mapping[str, Any]) -> str:
    return value_digest({name: value for name, value in fields.items() if name not in (*BY_VERSION, *OF_A_PART)})


def wanted_stores(extractor: Extractor, request: Request, known: OldStores) -> list[Wanted]:
    """What of a request is not there, each with the old parts that hold it: all of whose examples the request has.

    A part that is there but damaged is left to extraction.
    """
    found: dict[str, Wanted] = {}
    for lack in extractor.look_up(request).lacks:
        for view, held in lack.views.items():
            series = series_fields(extractor.model, view, extractor.settled)
            alike = [old for old in known.of(series) if _helps(old.part, extractor, request, view, lack.examples, held)]
            for old in alike:
                fields = {**old.fields, **{name: series[name] for name in BY_VERSION}}
                name = part_name(fields)
                if not (extractor.root / name).exists():
                    one = found.setdefault(name, Wanted(request, view, name, fields, []))
                    found[name] = replace(one, old=[*one.old, *([] if old in one.old else [old])])
            if not alike:
                found[f"{view} {len(found)}"] = Wanted(request, view, "", {}, [])
    return list(found.values())


def _helps(
    part: Part, extractor: Extractor, request: Request, view: str, examples: np.ndarray, held: Held | None
) -> bool:
    """Whether a part serves a request and holds something that some of these examples lack, and nothing of others.

    What the configuration does not let be stored could not be compared.
    """
    known, keys = request.keys(view)
    if part.serves(known, keys) is None or not np.isin(part.examples, known).all():
        return False
    options = extractor.options
    shape = shape_of(extractor.model["name"], part.sizes, options.layer_numbers, options.head_numbers)
    stored = part.held
    allowed = {*stored.residual} <= {*shape.layers} and {*stored.head_layers} <= {*shape.head_layers}
    if not allowed or stored.heads not in ((), shape.heads):
        return False
    wanted = held or Held.of(request.reads_of(view), shape, view)
    return bool(stored.has(wanted).any() and np.isin(part.examples, examples).any())
