"""The stage ``evaluate``: fitted interventions give each test pair of their targets a probability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.data.reading import SplitPairs, read_test
from genies.digests import code_digest
from genies.errors import DataError, StoreError
from genies.evaluation.judge import judge
from genies.files import read_json
from genies.interventions.registry import load, module_of
from genies.making import MADE_OF, data_roles, made_of, stem_roles
from genies.store.fits import fits_folder
from genies.store.manifest import Activations
from genies.store.pairs import StoredPairs


def evaluate_fits(
    fits: Path,
    targets: dict[str, Sequence[str]],
    files: Sequence[Path],
    manifests: Sequence[Path],
    cache: Path,
    output: Path,
) -> None:
    """Evaluate every fit of an intervention on its targets: one parquet file per source in the folder ``output``.

    Args:
        fits: manifest of ``genies fit``.
        targets: target names by source.
        files: ``<distribution>/test.json`` of every target.
        manifests: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of the parquet files.
    """
    from genies.evaluation.tables import write_evaluation

    activations = Activations(manifests, cache)
    by_name = {file.parent.name: file for file in files}
    known: dict[str, SplitPairs] = {}
    manifest = read_json(fits, "intervention", "fits")
    digests: dict[str, str] = manifest["fits"]
    code = code_digest(__name__, module_of(manifest["intervention"]))
    for source, names in targets.items():
        if source not in digests:
            raise StoreError(f"{fits}: names no fit on {source}; delete it and run snakemake again")
        intervention = load(fits_folder(cache, digests[source]), manifest["intervention"])
        frames, tests = [], [by_name[name] for name in names if name in by_name]
        for name in names:
            if name not in by_name:
                raise DataError(f"{name}: target of {source}, but its test.json was not given")
            if name not in known:
                known[name] = read_test(by_name[name], activations.reading, activations.left_out(name, "test"))
            target = known[name]
            stores = activations.stores(name, "test", intervention.predict_views)
            labelled = intervention.reads_test_labels
            pairs = StoredPairs(target.pairs, stores, target.best_first, labelled, target.cluster)
            frames.append(judge(intervention, pairs, target))
        inputs = {"fits": fits, **stem_roles("activations", manifests), **data_roles(tests)}
        stated = {MADE_OF: made_of(code, inputs), "targets": list(names)}
        write_evaluation(output / f"{source}.parquet", frames, stated)
