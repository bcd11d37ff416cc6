"""What extraction will cost in disk and time, told before it begins."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from genies.costs.rates import operations_per_second
from genies.costs.sketch import Sketch, multiplied_weights, read_config
from genies.data.options import Split
from genies.engine.forest import build_forest
from genies.engine.options import Extraction
from genies.engine.parts import Shape
from genies.errors import DiskError, ModelError
from genies.store.activations import PARTIAL
from genies.store.blocks import store_bytes
from genies.store.extraction import Extractor
from genies.store.requests import Request, requests_of
from genies.store.settled import Settled, missing_views, settled, store_digest, stored_shapes

ROOM = "make room, name another disk under folders.cache, or store less (extraction.layers, heads, dtype)"
"""What helps where the disk is too small."""

log = logging.getLogger(__name__)


@dataclass
class Outstanding:
    """What of some requests is not in the stores yet.

    Attributes:
        splits: how many lack a store.
        stores: view and number of texts of each store that is not complete.
        text_tokens: tokens of those texts, each by itself.
        distinct: distinct tokens of their trees over those, in the first of the splits.
        present: bytes that interrupted extractions have left of those stores.
    """

    splits: int = 0
    stores: list[tuple[str, int]] = field(default_factory=list)
    text_tokens: int = 0
    distinct: float = 1.0
    present: int = 0

    @property
    def texts(self) -> int:
        """Texts of all those stores."""
        return sum(texts for _, texts in self.stores)

    def bytes(self, shape: Shape, dtype: str) -> int:
        """Bytes that the stores will take on the disk beyond what is there of them."""
        whole = sum(store_bytes(stored_shapes(shape, view), dtype, texts) for view, texts in self.stores)
        return max(0, whole - self.present)


def outstanding(
    model: Mapping[str, Any], root: Path, settings: Sequence[Settled], requests: Iterable[Request]
) -> Outstanding:
    """What is missing of the requests' stores in ``root``; no model is loaded, and tokens are read split by split.

    A store counts as there if it is complete under any of the settings, which differ in arithmetic and device only.
    """
    found = Outstanding()
    for request in requests:
        first, *others = (missing_views(model, root, one, request) for one in settings)
        views = [view for view in first if all(view in other for other in others)]
        if not views:
            continue
        tokens = {view: request.tokens[view] for view in views}
        if not found.splits:
            forest = build_forest(tokens, model["eos_token"])
            found.distinct = sum(map(len, forest.trees)) / max(1, sum(len(table.ids) for table in tokens.values()))
        found.splits += 1
        found.stores += [(view, len(table)) for view, table in tokens.items()]
        found.text_tokens += sum(len(table.ids) for table in tokens.values())
        for view in views:
            names = (store_digest(model, request.tokens_digests[view], one)[0] for one in settings)
            found.present += max(_size(root / f"{PARTIAL}{name}" / "data.zarr") for name in names)
    return found


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
    views: Mapping[Split, Sequence[str]],
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
    requests = requests_of(tokenized, distributions, views, cache)
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
