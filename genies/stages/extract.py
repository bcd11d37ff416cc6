"""The stage ``extract``: the activation stores of the splits that ``tokenize`` has written the tokens of."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from genies.costs.extraction import tell_costs, tell_disk
from genies.data.options import Split
from genies.devices import claim_gpus
from genies.digests import code_digest
from genies.engine.options import Extraction
from genies.engine.tokens import Tokens
from genies.files import read_json, write_json
from genies.making import MADE_OF, made_of
from genies.models.describe import read_model
from genies.options import deciding
from genies.store.extraction import Extractor, Request, describe, settled
from genies.store.tokens import read_tokens, tokens_path

log = logging.getLogger(__name__)


def extract_distributions(
    *distributions: str,
    model: Path,
    tokens: Path,
    train_views: Sequence[str] = (),
    test_views: Sequence[str] = (),
    extraction: Extraction = Extraction(),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Compute the activation stores that are missing.

    The model is loaded only if one is missing.

    Args:
        *distributions: names of distributions in the token manifest.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``.
        train_views: views of training splits.
        test_views: views of test splits.
        extraction: what is stored of each text, and how it is computed.
        cache: the cache folder.
        output: manifest to write: what it is ``made_of``, the ``model`` with its digests, the ``distributions``, the
            ``reading``, ``stores`` (records with distribution, split, view, digest), ``checks`` of how exact packing
            was (by distribution and split), ``devices`` ("cpu", "cuda") that computed the stores, ``left_out``, the
            ``options`` that decided them, and the ``extraction``, that is the same as settled.
    """
    claim_gpus(extraction.device)
    described, tokenized = read_model(model), read_json(tokens, "reading", "tokens", "left_out")
    root = Path(cache) / "activations"
    views: dict[Split, Sequence[str]] = {"train": train_views, "test": test_views}
    extractor = Extractor(described, root, extraction)
    tell_costs(extractor, _requests(tokenized, distributions, views, cache))
    stores, checks, devices = [], [], set()
    for request in _requests(tokenized, distributions, views, cache):
        place = {"distribution": request.distribution, "split": request.split}
        digests = extractor.extract(request)
        stores += [{**place, "view": view, "digest": digest} for view, digest in digests.items()]
        described_stores = [read_json(root / digest / "store.json") for digest in digests.values()]
        checks.append({**place, **described_stores[0]["check"]})
        devices |= {store["device"] for store in described_stores}
    left_out = {k: v for k, v in tokenized["left_out"].items() if k.rsplit("/", 1)[0] in distributions}
    write_json(
        output,
        {
            MADE_OF: made_of(code_digest(__name__), {"model": model, "tokens": tokens}),
            "model": described["name"],
            "distributions": list(distributions),
            "weights_digest": described["weights_digest"],
            "tokenizer_digest": described["tokenizer_digest"],
            "reading": tokenized["reading"],
            "stores": stores,
            "checks": checks,
            "devices": sorted(devices),
            "left_out": left_out,
            "options": deciding(extraction),
            "extraction": extractor.settled.deciding(),
        },
    )
    log.info("%s: %s", described["name"], describe(extractor.statistics))


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
    requests = _requests(tokenized, distributions, views, cache)
    here = settled(extraction, described)
    kinds = ("cpu", "cuda") if extraction.device == "auto" else (here.device,)
    computed = dict.fromkeys((extraction.dtype, "float32"))
    anywhere = [replace(here, arithmetic=one, device=kind) for one, kind in product(computed, kinds)]
    tell_disk(described, Path(cache) / "activations", anywhere, requests)


def _requests(
    tokenized: Mapping[str, Any], distributions: Collection[str], views: Mapping[Split, Sequence[str]], cache: Path
) -> Iterator[Request]:
    """A request for each split; each with tokens of its own, so that those of one split at a time are in memory."""
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
