"""The stage ``fit``: an intervention fitted on the training pairs of every source, kept by digest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from genies.data.pairs import PairTexts
from genies.data.reading import SplitPairs, read_training
from genies.digests import code_digest, computed_by, value_digest
from genies.engine.reads import declares
from genies.errors import DataError
from genies.files import write_json
from genies.interventions.base import Intervention
from genies.interventions.registry import load, make, module_of, name_of, save
from genies.interventions.steps.site_probe import SiteProbe
from genies.locks import locked
from genies.making import MADE_OF, MADE_WITH, data_roles, made_of, stem_roles
from genies.spent import FIT, Meter, note
from genies.stages.stored import stored_pairs
from genies.store.fits import fits_folder, is_saved, read_making
from genies.store.manifest import Activations

log = logging.getLogger(__name__)


def fit_sources(
    intervention: str,
    *,
    parameters: Mapping[str, Any] = {},
    train: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Fit an intervention on the training pairs of its sources.

    A fit whose digest is in the cache is taken from there.

    Args:
        intervention: name, or path of a Python file.
        parameters: keyword arguments of its class.
        train: ``<distribution>/train.json`` of every source.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: manifest to write: what it is ``made_of``, ``fits`` (digest by source), ``sites`` (those that each fit
            chose), ``edge_ties`` (how many tied for the last place), ``out_of_fold_accuracy`` (on the training pairs),
            ``made_with`` (what computed each fit, by source) and the ``origin`` of the features.
    """
    inputs = {**stem_roles("activations", activations), **data_roles(train)}
    extracted = Activations(activations, cache)
    made = computed_by(module_of(intervention), "genies.store.pairs")
    found = {file.parent.name: _fit(intervention, parameters, file, extracted, made, cache) for file in train}
    write_json(
        output,
        {
            MADE_OF: made_of(code_digest(__name__, module_of(intervention)), inputs),
            "intervention": intervention,
            "parameters": dict(parameters),
            "fits": {source: one.folder.name for source, one in found.items()},
            "sites": {source: one.sites for source, one in found.items()},
            "edge_ties": {source: one.edge_ties for source, one in found.items()},
            "out_of_fold_accuracy": {source: one.out_of_fold_accuracy for source, one in found.items()},
            MADE_WITH: {source: read_making(one.folder) for source, one in found.items()},
            "origin": extracted.origin,
        },
    )
    reused = sum(one.reused for one in found.values())
    log.info("%s: fitted on %d sources, %d more were in the cache", intervention, len(found) - reused, reused)


class _Fit(NamedTuple):
    """A fit in the cache: its folder, what it says of itself, and whether it was there before."""

    folder: Path
    sites: Any
    edge_ties: Any
    out_of_fold_accuracy: float | None
    reused: bool

    @classmethod
    def of(cls, folder: Path, fitted: Intervention, reused: bool) -> _Fit:
        sites, ties = (fitted.chosen_sites(), fitted.edge_ties()) if isinstance(fitted, SiteProbe) else ([], None)
        return cls(folder, sites, ties, fitted.out_of_fold_accuracy(), reused)


def _fit(
    intervention: str,
    parameters: Mapping[str, Any],
    file: Path,
    extracted: Activations,
    made: Mapping[str, Any],
    cache: Path,
) -> _Fit:
    """The fit on one source, from the cache or made now."""
    unfitted, source = make(intervention, parameters), file.parent.name
    views = unfitted.fit_views
    split = read_training(file, extracted.reading, extracted.left_out(source, "train"))
    stores = {view: extracted.digest(source, "train", view) for view in views}
    if declares(unfitted.features, "texts"):
        stores["texts"] = value_digest(PairTexts.of(split.framed.examples, split.pairs, split.best_first))
    digest, fields = fit_digest(intervention, unfitted.get_params(), made, split, stores)
    folder = fits_folder(cache, digest)
    known = is_saved(folder)
    with nullcontext() if known else locked(folder.parent, [digest], f"{name_of(intervention)} on {source}"):
        if known or is_saved(folder):  # by another job, for which this one waited
            return _Fit.of(folder, load(folder, intervention), reused=True)
        meter, stored = Meter(), stored_pairs(unfitted, split, extracted.stores(source, "train", views))
        try:
            fitted = unfitted.fit(stored)
        except DataError as error:
            raise DataError(f"{file}: {intervention} cannot be fitted: {error}") from None
        note([folder], FIT, meter.read())
        # A fit that reads no features is that of every model.
        save(fitted, folder, fields, extracted.origin if views else None)
    return _Fit.of(folder, fitted, reused=False)


def fit_digest(
    intervention: str, parameters: dict[str, Any], made: Mapping[str, Any], split: SplitPairs, stores: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Name of a fit, and the fields that it is the digest of.

    Args:
        intervention: name or path.
        parameters: all of them.
        made: what ``computed_by`` says of its module.
        split: the pairs that it is fitted on.
        stores: names of the features that it reads, by view; a digest of the texts themselves where it reads those.
    """
    fields = {
        "intervention": name_of(intervention),
        "parameters": parameters,
        **made,
        "pairs": value_digest([[pair.example, pair.best, pair.worse] for pair in split.pairs]),
        "clusters": value_digest(split.cluster.tolist()),
        "stores": stores,
    }
    return value_digest(fields), fields
