"""The stage ``tune``: an intervention that reads texts with a model, fitted on one source and tested on its targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.data.reading import SplitPairs
from genies.digests import code_digest, file_sha256, value_digest
from genies.errors import DataError, StoreError
from genies.evaluation.evaluate import judge
from genies.evaluation.tables import read_evaluation
from genies.files import locked, read_json, whole_file, write_json, write_sealed
from genies.interventions.fit import fits_folder
from genies.interventions.registry import check_test, is_saved, load, make, module_of, name_of, save
from genies.models import hashes_file, model_digests
from genies.tuning.base import TextIntervention, TextPairs
from genies.tuning.shown import ShownTexts

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


def tune_source(
    intervention: str,
    parameters: dict[str, Any],
    model: Path,
    tokens: Path,
    train: Path,
    tests: Sequence[Path],
    device: str,
    cache: Path,
    manifest: Path,
    output: Path,
) -> None:
    """Fit on the source unless the cache has that fit, then test on every target that the cache has no test of.

    The model is loaded at most once.

    Args:
        intervention: name, or path of a Python file.
        parameters: keyword arguments of its class.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``; it says how splits are read.
        train: ``<source>/train.json``.
        tests: ``<target>/test.json`` of each target.
        device: torch device, or "auto".
        cache: the cache folder; the fit lies there by digest, with its checkpoints and its tests.
        manifest: JSON to write: ``arithmetic`` (what is computed in), ``fits`` (digest by source), ``training_log``,
            ``counts`` (by target).
        output: parquet file to write.
    """
    import polars as pl

    described, shown = read_json(model), ShownTexts(tokens, model)
    source = train.parent.name
    pairs = shown.texts(shown.training(train), "train")
    digest, fields = tuning_digest(intervention, parameters, described, pairs, device, cache)
    origin = {key: described[key] for key in ("weights_digest", "tokenizer_digest")}
    origin |= {"model": described["name"], "reading": asdict(shown.reading)}
    folder = fits_folder(cache, digest)
    frames, counts = [], {}
    with locked(folder.parent, [digest]):
        fitted = _fitted(intervention, parameters, described, pairs, device, folder, train, fields, origin)
        for test in tests:
            frame, counts[test.parent.name] = _tested(fitted, shown, test, folder / "tests")
            frames.append(frame)
    with whole_file(output) as partial:
        pl.concat(frames).write_parquet(partial)
    write_json(
        manifest,
        {
            "model": described["name"],
            "intervention": intervention,
            "parameters": parameters,
            "arithmetic": fields["dtype"],
            "fits": {source: digest},
            "training_log": list(fitted.training_log_),
            "counts": counts,
        },
    )


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


def _tested(
    fitted: TextIntervention, shown: ShownTexts, test: Path, folder: Path
) -> tuple[pl.DataFrame, dict[str, int]]:
    """A row per test pair (from the cache, if it has them), and the intervention's counts."""
    target = shown.test(test)
    texts = shown.texts(target, "test", fitted.reads_test_labels)
    known = folder / f"{_test_digest(target, texts)}.parquet"
    if known.with_suffix(".json").is_file():
        try:
            return read_evaluation(known), check_test(known)["counts"]
        except StoreError as error:
            log.warning("%s; testing again", error)
    frame = judge(fitted, texts, target)
    with whole_file(known) as partial:
        frame.write_parquet(partial)
    counts = dict(fitted.counts_)
    write_sealed(known.with_suffix(".json"), {"sha256": file_sha256(known), "counts": counts})
    return read_evaluation(known), counts


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


def _fitted(
    intervention: str,
    parameters: dict[str, Any],
    model: dict[str, Any],
    pairs: TextPairs,
    device: str,
    folder: Path,
    train: Path,
    fields: dict[str, Any],
    origin: dict[str, Any],
) -> TextIntervention:
    source = train.parent.name
    if is_saved(folder):
        log.info("%s on %s: in the cache", name_of(intervention), source)
        return load(folder, intervention).bind(model, device, folder)
    fresh: TextIntervention = make(intervention, parameters).bind(model, device, folder)
    try:
        fresh.fit(pairs)
    except DataError as error:
        raise DataError(f"{train}: {name_of(intervention)} cannot be fitted: {error}") from None
    save(fresh, folder, fields, origin)
    fresh.remove_checkpoint()
    log.info("%s on %s: fitted", name_of(intervention), source)
    return fresh
