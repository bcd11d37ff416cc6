"""The stage ``gather``: what trainings left in the cache is put in its place in the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genies.errors import REPAIR, StoreError
from genies.evaluation.evaluations import read_evaluation, write_evaluation
from genies.files import read_json, write_json
from genies.making import MADE_OF, MADE_WITH
from genies.store.fits import check_test, fits_folder

if TYPE_CHECKING:
    import polars as pl


def gather_sources(*manifests: Path, cache: Path = Path("cache"), output: Path) -> None:
    """Write the evaluation and the manifest of every source, as jobs of ``genies tune`` left them in the cache.

    Args:
        *manifests: those of ``genies tune``, each ``<intervention>/groups/<group>.json``.
        cache: the cache folder.
        output: the run's folder, for ``evaluations/<model>/<intervention>/<source>.parquet`` and
            ``interventions/<model>/<intervention>/<source>.json``: ``model``, ``intervention``, ``parameters``,
            ``arithmetic``, ``fits``, ``made_with`` (by source), ``training_log``, ``counts`` (by target), ``read_as``.

    Raises:
        StoreError: a test that a manifest names is missing or damaged.
    """
    for folder in {path.parent for path in manifests}:
        # Other groups of an earlier configuration would keep their fits in use.
        for stale in set(folder.glob("*.json")).difference(manifests):
            stale.unlink()
    for path in manifests:
        manifest = read_json(path, "model", "intervention", "parameters", "made_of_source", "fits", "tests")
        common = {key: manifest[key] for key in ("model", "intervention", "parameters")}
        place = Path(manifest["model"]) / path.parents[1].name
        for source, fit in manifest["fits"].items():
            tests = manifest["tests"][source]
            folder = fits_folder(cache, fit) / "tests"
            frames = [_known_test(folder / f"{test}.parquet", path) for test in tests.values()]
            stated = {MADE_OF: manifest["made_of_source"][source], **common}
            evaluation = output / "evaluations" / place / f"{source}.parquet"
            write_evaluation(evaluation, frames, stated | {"targets": list(tests)})
            own = {key: manifest[key][source] for key in ("arithmetic", "training_log", "counts", "read_as")}
            own |= {"fits": {source: fit}, MADE_WITH: {source: manifest[MADE_WITH][source]}}
            write_json(output / "interventions" / place / f"{source}.json", stated | own)


def _known_test(test: Path, manifest: Path) -> pl.DataFrame:
    try:
        check_test(test)
        return read_evaluation(test)
    except StoreError:
        if not test.parents[1].is_dir():
            raise StoreError(f"{test.parents[1]}: the fit that {manifest} names is missing; {REPAIR}") from None
        raise StoreError(
            f"{test}: missing or damaged; delete {manifest}, which names it, and run snakemake again"
        ) from None
