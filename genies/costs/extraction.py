"""What extraction will cost in disk and time, told before it begins."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from genies.costs.rates import operations_per_second
from genies.costs.sketch import Sketch, multiplied_weights, read_config
from genies.data.options import Split
from genies.engine.forest import build_forest
from genies.engine.options import Extraction
from genies.engine.reads import Reads
from genies.engine.shape import Shape
from genies.errors import DiskError, ModelError
from genies.store.activations import PARTIAL
from genies.store.blocks import store_bytes
from genies.store.extraction import Extractor
from genies.store.held import Held
from genies.store.parts import Lack, Parts, part_name
from genies.store.requests import Request, requests_of
from genies.store.settled import Settled, look_up, part_texts, settled

ROOM = "make room, name another disk under folders.cache, or store less (extraction.layers, heads, dtype)"
"""What helps where the disk is too small."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """Examples of a split that lack the same features under a view.

    Attributes:
        request: of the split.
        view: under which they lack them.
        examples: their numbers, ascending, int64 (n,).
        texts: how many texts those are.
        held: the features; None where the model is not known yet: all that is read.
    """

    request: Request
    view: str
    examples: np.ndarray
    texts: int
    held: Held | None

    def of(self, shape: Shape) -> Held:
        """The features of a model of this shape."""
        return self.held or Held.of(self.request.reads_of(self.view), shape, self.view)


@dataclass
class Outstanding:
    """What of some requests is not in the stores yet.

    Attributes:
        splits: how many lack something.
        parts: the parts that are to be added.
        names: of each the fields that its name may be made of, but for its features.
        text_tokens: tokens of those texts, each by itself.
        distinct: distinct tokens of their trees over those, in the first of the splits.
        root: folder of the stores.
    """

    root: Path
    splits: int = 0
    parts: list[Due] = field(default_factory=list)
    names: list[list[dict[str, Any]]] = field(default_factory=list)
    text_tokens: int = 0
    distinct: float = 1.0

    @property
    def texts(self) -> int:
        """Texts of all those parts."""
        return sum(part.texts for part in self.parts)

    def bytes(self, shape: Shape, dtype: str) -> int:
        """Bytes that the parts will take on the disk beyond what interrupted extractions have left of them."""
        total = 0
        for due, fields in zip(self.parts, self.names, strict=True):
            held = due.of(shape)
            names = (part_name({**own, "features": held.to_json()}) for own in fields)
            present = max(_size(self.root / f"{PARTIAL}{name}" / "data.zarr") for name in names)
            total += max(0, store_bytes(held.shapes(shape), dtype, due.texts) - present)
        return total


def outstanding(
    model: Mapping[str, Any], root: Path, settings: Sequence[Settled], requests: Iterable[Request]
) -> Outstanding:
    """What the parts in ``root`` lack of the requests; no model is loaded, and tokens are read split by split.

    What is there under one of the settings, which differ in arithmetic and device only, is not lacking.
    """
    found, parts = Outstanding(root), Parts(root)
    for request in requests:
        lacks = min((look_up(model, parts, one, request).lacks for one in settings), key=_examples_in)
        if not lacks:
            continue
        if not found.splits:
            tokens = request.selected(lacks[0].views, lacks[0].examples)
            forest = build_forest(tokens, model["eos_token"])
            found.distinct = sum(map(len, forest.trees)) / max(1, sum(len(table.ids) for table in tokens.values()))
        found.splits += 1
        for lack in lacks:
            for view, held in lack.views.items():
                table = request.selected([view], lack.examples)[view]
                known, keys = request.keys(view)
                keys = keys[np.searchsorted(known, lack.examples)]
                # Without its tokens, so that those of one split at a time are in memory.
                slim = replace(request, tokens={})
                found.parts.append(Due(slim, view, lack.examples, len(table), held))
                found.names.append([part_texts(model, view, one, lack.examples, keys) for one in settings])
                found.text_tokens += len(table.ids)
    return found


def _examples_in(lacks: Sequence[Lack]) -> int:
    return sum(len(lack.examples) * len(lack.views) for lack in lacks)


def tell_costs(extractor: Extractor, requests: Iterable[Request]) -> None:
    """Log what is still to be computed; the model is loaded unless nothing is.

    The time is that of the model's matrix products at the rate of one timed here, so a lower bound.

    Raises:
        DiskError: the stores would not fit on the disk.
    """
    found = outstanding(extractor.model, extractor.root, [extractor.settled], requests)
    if not found.splits:
        return
    decoder = extractor.decoder()
    needed, free = found.bytes(decoder.shape, extractor.options.dtype), free_bytes(extractor.root)
    distinct = found.distinct * found.text_tokens
    weights = multiplied_weights(decoder.blocks, decoder.model.config.get_text_config())
    rate = operations_per_second(decoder.shape.hidden, decoder.dtype, decoder.device)
    log.info(
        "to compute: %d texts of %d splits, about %.2g distinct tokens; %.2f GiB of disk (%.1f GiB free); "
        "at least %s at %.3g GFLOP/s",
        found.texts, found.splits, distinct, needed / 2**30, free / 2**30, _readable(2 * weights * distinct / rate),
        rate / 1e9,
    )  # fmt: skip
    if needed > free:
        raise DiskError(
            f"{extractor.root}: the activations take {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            f"{ROOM}"
        )


def check_disk(
    described: Mapping[str, Any],
    tokenized: Mapping[str, Any],
    reads: Mapping[Split, Mapping[str, Reads]],
    extraction: Extraction,
    cache: Path,
) -> None:
    """Log what disk the extraction of all that was tokenized for a model takes, by the manifests of both.

    Extraction may run on another machine, with another arithmetic. So a store counts as there already if it is complete
    in any arithmetic that a device may have for the dtype.

    Raises:
        DiskError: it would not fit.
    """
    distributions = {entry["distribution"] for entry in tokenized["tokens"]}
    requests = requests_of(tokenized, distributions, reads, cache)
    here = settled(extraction, described)
    kinds = ("cpu", "cuda") if extraction.device == "auto" else (here.device,)
    computed = dict.fromkeys((extraction.dtype, "float32"))
    anywhere = [replace(here, arithmetic=one, device=kind) for one, kind in product(computed, kinds)]
    _tell_disk(described, Path(cache) / "activations", anywhere, requests)


def _tell_disk(model: Mapping[str, Any], root: Path, settings: Sequence[Settled], requests: Iterable[Request]) -> None:
    """Log what all of a model's stores take on the disk, before any of them is begun.

    The model's configuration suffices for it. What is in the stores already, under any of the settings, does not count;
    these differ in arithmetic only.

    Raises:
        DiskError: they would not fit.
    """
    found = outstanding(model, root, settings, requests)
    if not found.splits:
        return
    try:
        options = settings[0].options
        shape = Sketch.of(read_config(Path(model["path"])), options.layer_numbers, options.head_numbers).shape
    except ModelError as error:
        log.warning("%s: what its activations take on the disk is told when it is loaded (%s)", model["name"], error)
        return
    needed, free = found.bytes(shape, options.dtype), free_bytes(root)
    told = f"{model['name']}: {found.texts} texts to extract take {needed / 2**30:.2f} GiB under {root}"
    if needed > free:
        raise DiskError(f"{told}, where {free / 2**30:.1f} GiB are free: {ROOM}")
    log.info("%s (%.1f GiB free)", told, free / 2**30)


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists."""
    folder = Path(folder).absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
