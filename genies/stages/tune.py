"""The stage ``tune``: an intervention that reads texts with a model, fitted on sources and tested on their targets."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.data.reading import SplitPairs
from genies.devices import claim_gpus
from genies.digests import code_digest, computed_by, file_sha256, value_digest
from genies.errors import DataError, GeniesError, StoreError
from genies.evaluation.evaluations import read_evaluation
from genies.evaluation.judge import judged
from genies.files import whole_file, write_json, write_sealed
from genies.interventions.registry import load, make, module_of, name_of, save
from genies.interventions.text import TextIntervention, TextPairs, reading_texts
from genies.interventions.training.loaded import LoadedModel
from genies.locks import locked
from genies.making import MADE_OF, MADE_WITH, data_roles, made_of
from genies.models.adapters import model_digests, pinned_files
from genies.models.describe import read_model
from genies.models.files import PinnedFiles, hashes_file
from genies.models.load import try_tokenizer
from genies.spent import FIT, TEST, noted
from genies.stages.shown import ShownTexts
from genies.stages.targets import targets_of
from genies.store.fits import check_test, fits_folder, is_saved, read_making

if TYPE_CHECKING:
    pass

PAIRS_AT_ONCE = 2**14
"""Test pairs whose texts are in memory at a time, unless one target has more."""
NAMED_TARGETS = 2
"""Of more, a progress bar gives the number alone."""

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
    files: Sequence[PinnedFiles]

    def check_files(self) -> None:
        """Refuse a model whose files are not those that the fit's name is made of."""
        for files in self.files:
            files.check()

    @property
    def label(self) -> str:
        return f"{self.model['name']} {name_of(self.intervention)}"

    def bound(self, intervention: TextIntervention, folder: Path, label: str) -> TextIntervention:
        """The intervention with the job's model, and what stands on its progress bars."""
        intervention.bind(self.model, self.device, folder)
        intervention.loaded_model, intervention.progress_label, intervention.cache = self.loaded, label, self.cache
        return intervention


def tune_sources(
    intervention: str,
    *pairs: str,
    parameters: Mapping[str, Any] = {},
    model: Path,
    tokens: Path,
    train: Sequence[Path],
    test: Sequence[Path],
    device: str = "auto",
    cache: Path = Path("cache"),
    output: Path,
    _loaded: LoadedModel | None = None,
) -> None:
    """Fit an intervention that reads texts on each source, and test it on its targets.

    A fit or a test that the cache has is taken from there. The sources come one after the other. The model is loaded
    when the first fit or test needs it, and then serves all sources; where every weight is trained, each source that is
    not in the cache loads it. What a source has made is in the cache before the next one begins.

    Args:
        intervention: name, or path of a Python file.
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        parameters: keyword arguments of its class.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``; it says how splits are read.
        train: ``<source>/train.json`` of each source.
        test: ``<target>/test.json`` of each target.
        device: torch device, or "auto".
        cache: the cache folder; a fit lies there by digest, with its checkpoints and its tests.
        output: JSON to write: what it is ``made_of``, ``model``, ``intervention``, ``parameters``, and by source what
            of that concerns it (``made_of_source``), the ``arithmetic`` (what is computed in), what computed the fit
            (``made_with``), the ``fits`` and ``tests`` (digests; those of tests by target), ``training_log``,
            ``counts`` (by target) and ``read_as`` (how a finished model reads texts).
        _loaded: where a model that an earlier call has loaded may be; default: nothing is loaded yet.

    Raises:
        GeniesError: as fitting and testing raise it, of the same class, the source being named in front.
    """
    inputs = {"model": model, "tokens": tokens, **data_roles([*train, *test])}
    claim_gpus(device)
    described, shown = read_model(model), ShownTexts(tokens, model)
    files = [PinnedFiles.of(described), *_other_files(intervention, parameters, cache)]
    job = _Job(intervention, dict(parameters), described, shown, device, cache, _loaded or LoadedModel(), files)
    by_name, targets = {file.parent.name: file for file in test}, targets_of(pairs)
    code = code_digest(__name__, module_of(intervention))
    kinds = ("made_of_source", "arithmetic", MADE_WITH, "fits", "tests", "training_log", "counts", "read_as")
    made: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for number, file in enumerate(train, start=1):
        source = file.parent.name
        log.info("%s on %s (%d of %d)", job.label, source, number, len(train))
        own = [by_name[target] for target in targets[source]]
        made["made_of_source"][source] = made_of(code, {"model": model, "tokens": tokens, **data_roles([file, *own])})
        try:
            for key, value in _tune(job, file, own).items():
                made[key][source] = value
        except GeniesError as error:
            raise type(error)(f"{name_of(intervention)} on {source}: {error}") from error
        # PEFT's models hold themselves: what was trained leaves memory before more is loaded.
        gc.collect()
    common = {"model": described["name"], "intervention": intervention, "parameters": dict(parameters)}
    write_json(output, {MADE_OF: made_of(code, inputs), **common, **made})


def _tune(job: _Job, train: Path, tests: Sequence[Path]) -> dict[str, Any]:
    """Fit on one source and test on its targets. Returns its part of the manifest."""
    source = train.parent.name
    pairs = job.shown.texts(job.shown.training(train), "train")
    digest, fields = tuning_digest(job.intervention, job.parameters, job.model, pairs, job.device, job.cache)
    folder, label = fits_folder(job.cache, digest), f"{job.label} on {source}"
    fitted = _loaded(job, folder, label) if is_saved(folder) else None
    tested = _known_tests(fitted, job.shown, tests, folder / "tests") if fitted else None
    if fitted is None or tested is None:
        with locked(folder.parent, [digest], label):
            fitted = fitted or _fitted(job, pairs, folder, train, fields)
            tested = _tested(job, fitted, tests, folder / "tests", label)
    digests = {target: name for target, (name, _) in tested.items()}
    counts = {target: counted for target, (_, counted) in tested.items()}
    made = {"fits": digest, "tests": digests, MADE_WITH: read_making(folder), "read_as": dict(fitted.read_as_)}
    return {"arithmetic": fields["dtype"], "training_log": list(fitted.training_log_), "counts": counts, **made}


def tuning_digest(
    intervention: str, parameters: dict[str, Any], model: dict[str, Any], pairs: TextPairs, device: str, cache: Path
) -> tuple[str, dict[str, Any]]:
    """Name of a fit, and the fields that it is the digest of: class, code, parameters, models, arithmetic, texts."""
    from genies.engine.arithmetic import arithmetic, resolve_device

    kind, place = reading_texts(make(intervention, parameters)), resolve_device(device)
    others = [model_digests(other, hashes_file(cache)) for other in kind.other_models(parameters)]
    fields = {
        "intervention": name_of(intervention),
        "parameters": kind.get_params(),
        **computed_by(module_of(intervention)),
        "models": [[m["weights_digest"], m["tokenizer_digest"]] for m in (model, *others)],
        "eos_token": model["eos_token"],
        "context": model["context"],
        "dtype": arithmetic(kind.dtype, place),
        "device": place.type,
        "pairs": value_digest(pairs.content()),
    }
    return value_digest(fields), fields


@dataclass(frozen=True)
class _Shown:
    """A target as an intervention reads it, and the name of its test."""

    target: SplitPairs
    texts: TextPairs
    digest: str


def _tested(
    job: _Job, fitted: TextIntervention, tests: Sequence[Path], folder: Path, label: str
) -> dict[str, tuple[str, dict[str, float]]]:
    """Name of each target's test, which is in ``folder`` afterwards, and the intervention's counts."""
    tested: dict[str, tuple[str, dict[str, float]]] = {}
    waiting: list[_Shown] = []
    for test in tests:
        shown = _shown_test(fitted, job.shown, test)
        if (counts := _kept_counts(folder / f"{shown.digest}.parquet")) is not None:
            tested[shown.target.name] = shown.digest, counts
            continue
        waiting.append(shown)
        if sum(len(each.texts) for each in waiting) >= PAIRS_AT_ONCE:
            tested |= _test_together(job, fitted, waiting, folder, label)
            waiting = []
    if waiting:
        tested |= _test_together(job, fitted, waiting, folder, label)
    return {test.parent.name: tested[test.parent.name] for test in tests}


def _test_together(
    job: _Job, fitted: TextIntervention, shown: Sequence[_Shown], folder: Path, label: str
) -> dict[str, tuple[str, dict[str, float]]]:
    """Test on several targets at once, so that they share batches."""
    names = [each.target.name for each in shown]
    fitted.progress_label = f"{label} → {', '.join(names) if len(names) <= NAMED_TARGETS else f'{len(names)} targets'}"
    total = sum(len(each.texts) for each in shown)
    shares = {f"{TEST}/{each.digest}": len(each.texts) / max(1, total) for each in shown}
    job.check_files()
    with noted([folder.parent], shares):
        predictions = fitted.predict_each([each.texts for each in shown])
    job.check_files()
    tested = {}
    for each, said in zip(shown, predictions, strict=True):
        frame = judged(fitted, said.probability, said.scores, each.texts, each.target)
        kept = folder / f"{each.digest}.parquet"
        with whole_file(kept) as partial:
            frame.write_parquet(partial)
        counts = dict(said.counts)
        write_sealed(kept.with_suffix(".json"), {"sha256": file_sha256(kept), "counts": counts})
        tested[each.target.name] = each.digest, counts
    return tested


def _other_files(intervention: str, parameters: Mapping[str, Any], cache: Path) -> list[PinnedFiles]:
    """Files of the models that an intervention reads in addition to the run's; their chat templates are tried first."""
    others = make(intervention, parameters).other_models(parameters)
    found = [files for other in others for files in pinned_files(other, hashes_file(cache))]
    for files in found:
        try_tokenizer(files.folder, hashes_file(cache))
    return found


def _known_tests(
    fitted: TextIntervention, shown: ShownTexts, tests: Sequence[Path], folder: Path
) -> dict[str, tuple[str, dict[str, float]]] | None:
    """What ``_tested`` would return if every test is in ``folder``; nothing is written."""
    known = {}
    for test in tests:
        digest = _shown_test(fitted, shown, test).digest
        counts = _kept_counts(folder / f"{digest}.parquet")
        if counts is None:
            return None
        known[test.parent.name] = digest, counts
    return known


def _shown_test(fitted: TextIntervention, shown: ShownTexts, test: Path) -> _Shown:
    target = shown.test(test)
    texts = shown.texts(target, "test", fitted.reads_test_labels)
    return _Shown(target, texts, kept_test_digest(target, texts)[0])


def _kept_counts(kept: Path) -> dict[str, float] | None:
    """The counts that were kept with a test; None where the test is not there, or damaged."""
    if not kept.with_suffix(".json").is_file():
        return None
    try:
        counts = check_test(kept)["counts"]
        read_evaluation(kept)
    except StoreError as error:
        log.warning("%s; testing again", error)
        return None
    return counts


def kept_test_digest(target: SplitPairs, texts: TextPairs) -> tuple[str, dict[str, Any]]:
    """Name of a test of a fit, and the fields that it is the digest of: all that is judged and stated of the pairs."""
    fields = {
        "target": target.name,
        "places": [(*target.framed.place(pair), *target.framed.texts(pair)) for pair in target.pairs],
        "clusters": target.cluster.tolist(),
        "answers": [target.framed.answer(pair) for pair in target.pairs],
        "texts": value_digest(texts.content()),
        "best_first": target.best_first.tolist(),
        **computed_by("genies.evaluation.judge"),
    }
    return value_digest(fields), fields


def _loaded(job: _Job, folder: Path, label: str) -> TextIntervention:
    log.info("%s: in the cache", label)
    return job.bound(reading_texts(load(folder, job.intervention)), folder, label)


def _fitted(job: _Job, pairs: TextPairs, folder: Path, train: Path, fields: dict[str, Any]) -> TextIntervention:
    label = f"{job.label} on {train.parent.name}"
    if is_saved(folder):
        return _loaded(job, folder, label)
    fresh = job.bound(reading_texts(make(job.intervention, job.parameters)), folder, label)
    job.check_files()
    with noted([folder], FIT):
        try:
            fresh.fit(pairs)
        except DataError as error:
            raise DataError(f"{train}: cannot be fitted: {error}") from None
    origin = {key: job.model[key] for key in ("weights_digest", "tokenizer_digest")}
    origin |= {"model": job.model["name"], "reading": job.shown.reading.remembered()}
    job.check_files()
    save(fresh, folder, fields, origin)
    fresh.remove_checkpoint()
    log.info("%s: fitted", label)
    return fresh
