"""The stage ``tune``: an intervention that reads texts with a model, fitted on sources and tested on their targets."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.data.reading import SplitPairs
from genies.digests import code_digest, file_sha256, value_digest
from genies.errors import REPAIR, DataError, GeniesError, StoreError
from genies.evaluation.evaluate import judge
from genies.evaluation.tables import read_evaluation
from genies.files import locked, read_json, whole_file, write_json, write_sealed
from genies.interventions.fit import fits_folder
from genies.interventions.registry import check_test, is_saved, load, make, module_of, name_of, save
from genies.models import hashes_file, model_digests, read_model
from genies.tuning.base import TextIntervention, TextPairs
from genies.tuning.loaded import LoadedModel
from genies.tuning.shown import ShownTexts

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """What all sources of one job have in common."""

    intervention: str
    parameters: dict[str, Any]
    model: dict[str, Any]
    shown: ShownTexts
    device: str
    cache: Path
    loaded: LoadedModel

    @property
    def label(self) -> str:
        return f"{self.model['name']} {name_of(self.intervention)}"

    def bound(self, intervention: TextIntervention, folder: Path, label: str) -> TextIntervention:
        """The intervention with the job's model, and what stands on its progress bars."""
        intervention.bind(self.model, self.device, folder)
        intervention.loaded_model, intervention.progress_label = self.loaded, label
        return intervention


def tune_sources(
    intervention: str,
    parameters: dict[str, Any],
    model: Path,
    tokens: Path,
    train: Sequence[Path],
    targets: Mapping[str, Sequence[str]],
    tests: Sequence[Path],
    device: str,
    cache: Path,
    output: Path,
    loaded: LoadedModel | None = None,
) -> None:
    """Fit on each source unless the cache has that fit, then test on every target that the cache has no test of.

    The sources come one after the other. The model is loaded when the first fit or test needs it, and then serves all
    sources; where every weight is trained, each source that is not in the cache loads it. What a source has made is in
    the cache before the next one begins.

    Args:
        intervention: name, or path of a Python file.
        parameters: keyword arguments of its class.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``; it says how splits are read.
        train: ``<source>/train.json`` of each source.
        targets: target names by source.
        tests: ``<target>/test.json`` of each target.
        device: torch device, or "auto".
        cache: the cache folder; a fit lies there by digest, with its checkpoints and its tests.
        output: JSON to write: ``model``, ``intervention``, ``parameters``, and by source the ``arithmetic`` (what is
            computed in), the ``fits`` and ``tests`` (digests; those of tests by target), ``training_log`` and
            ``counts`` (by target).
        loaded: where a model that an earlier call has loaded may be; default: nothing is loaded yet.

    Raises:
        GeniesError: as fitting and testing raise it, of the same class, the source being named in front.
    """
    described, shown = read_model(model), ShownTexts(tokens, model)
    job = _Job(intervention, parameters, described, shown, device, cache, loaded or LoadedModel())
    files = {test.parent.name: test for test in tests}
    made: dict[str, dict[str, Any]] = {key: {} for key in ("arithmetic", "fits", "tests", "training_log", "counts")}
    for number, file in enumerate(train, start=1):
        source = file.parent.name
        log.info("%s on %s (%d of %d)", job.label, source, number, len(train))
        try:
            for key, value in _tune(job, file, [files[target] for target in targets[source]]).items():
                made[key][source] = value
        except GeniesError as error:
            raise type(error)(f"{name_of(intervention)} on {source}: {error}") from error
        # PEFT's models hold themselves: what was trained leaves memory before more is loaded.
        gc.collect()
    write_json(output, {"model": described["name"], "intervention": intervention, "parameters": parameters, **made})


def gather_sources(manifests: Sequence[Path], cache: Path, results: Path) -> None:
    """Write the evaluation and the manifest of every source, as jobs of ``tune_sources`` left them in the cache.

    Args:
        manifests: those of ``tune_sources``, each ``<intervention>/groups/<group>.json``.
        cache: the cache folder.
        results: the run's folder, for ``evaluations/<model>/<intervention>/<source>.parquet`` and
            ``interventions/<model>/<intervention>/<source>.json``: ``model``, ``intervention``, ``parameters``,
            ``arithmetic``, ``fits`` (digest by source), ``training_log``, ``counts`` (by target).

    Raises:
        StoreError: a test that a manifest names is missing or damaged.
    """
    import polars as pl

    for folder in {path.parent for path in manifests}:
        # Other groups of an earlier configuration would keep their fits in use.
        for stale in set(folder.glob("*.json")).difference(manifests):
            stale.unlink()
    for path in manifests:
        manifest = read_json(path, "model", "fits", "tests")
        place = Path(manifest["model"]) / path.parents[1].name
        for source, fit in manifest["fits"].items():
            tests = manifest["tests"][source].values()
            frames = [_known_test(fits_folder(cache, fit) / "tests" / f"{test}.parquet", path) for test in tests]
            with whole_file(results / "evaluations" / place / f"{source}.parquet") as partial:
                pl.concat(frames).write_parquet(partial)
            common = {key: manifest[key] for key in ("model", "intervention", "parameters")}
            own = {key: manifest[key][source] for key in ("arithmetic", "training_log", "counts")}
            write_json(results / "interventions" / place / f"{source}.json", common | {"fits": {source: fit}} | own)


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


def _tune(job: _Job, train: Path, tests: Sequence[Path]) -> dict[str, Any]:
    """Fit on one source and test on its targets. Returns its part of the manifest."""
    source = train.parent.name
    pairs = job.shown.texts(job.shown.training(train), "train")
    digest, fields = tuning_digest(job.intervention, job.parameters, job.model, pairs, job.device, job.cache)
    folder = fits_folder(job.cache, digest)
    digests, counts = {}, {}
    with locked(folder.parent, [digest]):
        fitted = _fitted(job, pairs, folder, train, fields)
        for test in tests:
            target = test.parent.name
            fitted.progress_label = f"{job.label} on {source} → {target}"
            digests[target], counts[target] = _tested(fitted, job.shown, test, folder / "tests")
    made = {"fits": digest, "tests": digests, "training_log": list(fitted.training_log_), "counts": counts}
    return {"arithmetic": fields["dtype"], **made}


def tuning_digest(
    intervention: str, parameters: dict[str, Any], model: dict[str, Any], pairs: TextPairs, device: str, cache: Path
) -> tuple[str, dict[str, Any]]:
    """Name of a fit, and the fields that it is the digest of: class, code, parameters, models, arithmetic, texts."""
    from genies.activations.decoder import resolve_device
    from genies.arithmetic import arithmetic

    kind = make(intervention, parameters)
    others = [model_digests(*other, hashes_file(cache)) for other in kind.other_models(parameters)]
    fields = {
        "intervention": name_of(intervention),
        "parameters": kind.get_params(),
        "code": code_digest(module_of(intervention)),
        "models": [[m["weights_digest"], m["tokenizer_digest"]] for m in (model, *others)],
        "dtype": arithmetic(kind.dtype, resolve_device(device)),
        "pairs": value_digest([pairs.prompt, pairs.first, pairs.second]),
    }
    return value_digest(fields), fields


def _tested(fitted: TextIntervention, shown: ShownTexts, test: Path, folder: Path) -> tuple[str, dict[str, int]]:
    """Name of the test of a target, which is in ``folder`` afterwards, and the intervention's counts."""
    target = shown.test(test)
    texts = shown.texts(target, "test", fitted.reads_test_labels)
    digest = _test_digest(target, texts)
    known = folder / f"{digest}.parquet"
    if known.with_suffix(".json").is_file():
        try:
            counts = check_test(known)["counts"]
            read_evaluation(known)
            return digest, counts
        except StoreError as error:
            log.warning("%s; testing again", error)
    frame = judge(fitted, texts, target)
    with whole_file(known) as partial:
        frame.write_parquet(partial)
    counts = dict(fitted.counts_)
    write_sealed(known.with_suffix(".json"), {"sha256": file_sha256(known), "counts": counts})
    return digest, counts


def _test_digest(target: SplitPairs, texts: TextPairs) -> str:
    """What decides a test beside the fit."""
    return value_digest(
        {
            "target": target.name,
            "places": [target.framed.place(pair) for pair in target.pairs],
            "texts": [texts.prompt, texts.first, texts.second, texts.example.tolist(), target.best_first.tolist()],
            "code": code_digest("genies.evaluation.evaluate"),
        }
    )


def _fitted(job: _Job, pairs: TextPairs, folder: Path, train: Path, fields: dict[str, Any]) -> TextIntervention:
    source, label = train.parent.name, f"{job.label} on {train.parent.name}"
    if is_saved(folder):
        log.info("%s on %s: in the cache", name_of(job.intervention), source)
        return job.bound(load(folder, job.intervention), folder, label)
    fresh = job.bound(make(job.intervention, job.parameters), folder, label)
    try:
        fresh.fit(pairs)
    except DataError as error:
        raise DataError(f"{train}: cannot be fitted: {error}") from None
    origin = {key: job.model[key] for key in ("weights_digest", "tokenizer_digest")}
    origin |= {"model": job.model["name"], "reading": job.shown.reading.presentation()}
    save(fresh, folder, fields, origin)
    fresh.remove_checkpoint()
    log.info("%s on %s: fitted", name_of(job.intervention), source)
    return fresh
