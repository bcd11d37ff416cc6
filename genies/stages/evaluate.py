"""The stage ``evaluate``: fitted interventions give each test pair of their targets a probability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.data.reading import SplitPairs, read_test
from genies.digests import code_digest
from genies.engine.tokens import SCORED_VIEW
from genies.errors import DataError, StoreError
from genies.evaluation.judge import judge
from genies.files import read_json
from genies.interventions.registry import load, module_of
from genies.making import MADE_OF, data_roles, made_of, stem_roles
from genies.stages.stored import stored_pairs
from genies.stages.targets import targets_of
from genies.store.fits import fits_folder
from genies.store.manifest import Activations
from genies.store.reference import ReferenceStores


def evaluate_fits(
    *pairs: str,
    fits: Path,
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    reference: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Give every test pair of the targets a probability.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what; default: every fit on every file.
        fits: manifest of ``genies fit``.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        reference: the same of the reference model, where the intervention reads one.
        cache: the cache folder.
        output: folder of the parquet files, one for each source.
    """
    from genies.evaluation.evaluations import write_evaluation

    by_name = {file.parent.name: file for file in data_roles(test).values()}
    extracted = Activations(activations, cache)
    referred = ReferenceStores(reference, cache) if reference else None
    known: dict[str, SplitPairs] = {}
    manifest = read_json(fits, "intervention", "fits")
    digests: dict[str, str] = manifest["fits"]
    code = code_digest(__name__, module_of(manifest["intervention"]))
    for source, names in targets_of(pairs, digests, by_name).items():
        if source not in digests:
            raise StoreError(f"{fits}: names no fit on {source}; delete it and run snakemake again")
        intervention = load(fits_folder(cache, digests[source]), manifest["intervention"])
        frames, tests = [], [by_name[name] for name in names if name in by_name]
        for name in names:
            if name not in by_name:
                raise DataError(f"{name}: target of {source}, but its test.json was not given")
            if name not in known:
                known[name] = read_test(by_name[name], extracted.reading, extracted.left_out(name, "test"))
            target = known[name]
            stores = extracted.stores(name, "test", intervention.predict_views)
            compared = None
            if referred:
                policy = extracted.stores(name, "test", [SCORED_VIEW])[SCORED_VIEW]
                compared = referred.store(name, "test", policy, [pair.example for pair in target.pairs])
            stored = stored_pairs(intervention, target, stores, intervention.reads_test_labels, compared)
            frames.append(judge(intervention, stored, target))
        manifests = {**stem_roles("activations", activations), **stem_roles("reference", reference)}
        inputs = {"fits": fits, **manifests, **data_roles(tests)}
        stated = {MADE_OF: made_of(code, inputs), "targets": list(names)}
        write_evaluation(output / f"{source}.parquet", frames, stated)
