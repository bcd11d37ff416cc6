"""The stage ``extract``: the activation stores of the splits that ``tokenize`` has written the tokens of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genies.costs.extraction import tell_costs
from genies.data.options import Split
from genies.devices import claim_gpus
from genies.digests import code_digest
from genies.engine.options import Extraction
from genies.engine.reads import Reads, from_flags, to_flags
from genies.files import read_json, write_json
from genies.making import MADE_OF, MADE_WITH, grouped, made_of, recorded_making
from genies.models.describe import read_model
from genies.options import deciding
from genies.store.extraction import Extractor
from genies.store.requests import requests_of
from genies.store.settled import store_digest
from genies.store.statistics import describe
from genies.store.writer import ADOPTED

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
    """Compute the parts of activation stores that are missing.

    The model is loaded only if one is missing.

    Args:
        *distributions: names of distributions in the token manifest.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``.
        train_views: views of training splits, each with what is stored under it: ``VIEW:FEATURE+FEATURE`` of ``heads``,
            ``inner`` and ``final`` (layers of the residual stream before and after the final norm) and
            ``log_probability``; of a view alone, everything.
        test_views: likewise of test splits.
        extraction: which layers and heads are stored at most, and how they are computed.
        cache: the cache folder.
        output: manifest to write: what it is ``made_of``, the ``model`` with its digests, the ``distributions``, the
            ``reading``, ``stores`` (records with distribution, split, view and digest of a part), ``features``
            (likewise with their names, by which fits know what they read, those of their ``tokens``, and what of them
            is read), ``checks`` of how exact packing was (by
            distribution and split), ``devices`` ("cpu", "cuda") that computed the stores, ``made_with`` (what else did,
            with the digests of the ``stores``), ``adopted`` (by digest, where stores are from those of other versions),
            ``left_out``, the ``options`` that decided them, and the ``extraction``, that is the same as settled.
    """
    claim_gpus(extraction.device)
    described, tokenized = read_model(model), read_json(tokens, "reading", "tokens", "left_out")
    root = Path(cache) / "activations"
    reads: dict[Split, dict[str, Reads]] = {"train": from_flags(train_views), "test": from_flags(test_views)}
    extractor = Extractor(described, root, extraction)
    tell_costs(extractor, requests_of(tokenized, distributions, reads, cache))
    stores, features = [], []
    for request in requests_of(tokenized, distributions, reads, cache):
        for view, parts in extractor.extract(request).items():
            place = {"distribution": request.distribution, "split": request.split, "view": view}
            name, _ = store_digest(described, request.tokens_digests[view], extractor.settled)
            flags = to_flags({view: request.reads_of(view)})
            of_tokens = {"tokens": request.tokens_digests[view], "reads": flags[0]}
            features.append({**place, "digest": name, **of_tokens})
            stores += [{**place, "digest": part} for part in parts]
    made = made_of(code_digest(__name__), {"model": model, "tokens": tokens})
    options = {"options": deciding(extraction), "extraction": extractor.settled.deciding()}
    read = {"distributions": list(distributions), **_read_of(described, tokenized, distributions)}
    found = {"stores": stores, "features": features, **_recorded(root, stores)}
    write_json(output, {MADE_OF: made, **read, **found, **options})
    log.info("%s: %s", described["name"], describe(extractor.statistics))


def _read_of(model: Mapping[str, Any], tokenized: Mapping[str, Any], distributions: Sequence[str]) -> dict[str, Any]:
    """What was read, by which model."""
    left_out = {k: v for k, v in tokenized["left_out"].items() if k.rsplit("/", 1)[0] in distributions}
    digests = {name: model[name] for name in ("weights_digest", "tokenizer_digest")}
    return {"model": model["name"], **digests, "reading": tokenized["reading"], "left_out": left_out}


def _recorded(root: Path, stores: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """How the stores were made, as the manifest records it."""
    described = {store["digest"]: read_json(root / store["digest"] / "store.json") for store in stores}
    checks: dict[tuple[str, str], Any] = {}
    for store in stores:  # parts that were computed together have one self-test; stated is the least exact one
        place, check = (store["distribution"], store["split"]), described[store["digest"]]["check"]
        checks[place] = max(checks.get(place, check), check, key=_inexact)
    makings = [(making, digest) for digest, store in described.items() for making in recorded_making(store)]
    return {
        "checks": [{"distribution": name, "split": split, **checks[name, split]} for name, split in checks],
        "devices": sorted({store["device"] for store in described.values()}),
        MADE_WITH: [{**making, "stores": made} for making, made in grouped(makings)],
        ADOPTED: {digest: store[ADOPTED] for digest, store in described.items() if ADOPTED in store},
    }


def _inexact(check: Mapping[str, Any]) -> tuple[bool, float]:
    return not check["packed"], check["relative_difference"]
