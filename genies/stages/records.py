"""The stage ``records``: what a run read and how its trainings went, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genies.errors import StoreError
from genies.evaluation.records import CHECKS, REWARD_MODELS, SITES, TEXTS, TRAINING
from genies.evaluation.seen import Place, read_kinds
from genies.files import read_json
from genies.interventions.registry import name_of
from genies.stages.targets import targets_of


def write_records(
    *pairs: str,
    tokens: Sequence[Path],
    activations: Sequence[Path] = (),
    fits: Sequence[Path] = (),
    tuned: Sequence[Path] = (),
    overlap: Path | None = None,
    output: Path,
) -> None:
    """Count the texts that a run read, and join its training logs.

    Args:
        *pairs: ``SOURCE:TARGET`` of the shifts whose overlap is stated.
        tokens: manifests of ``genies tokenize``.
        activations: manifests of ``genies extract``.
        fits: manifests of ``genies fit``, each in a folder with the name of its model.
        tuned: manifests of ``genies tune``.
        overlap: ``overlap.parquet`` of the run; without it no overlap is stated.
        output: folder of ``texts.csv``, ``checks.csv``, ``sites.csv``, ``reward_models.csv`` and
            ``training.csv``.

    Raises:
        StoreError: a manifest or the table of overlaps is missing, damaged, or lacks what is asked for.
    """
    counts = {} if overlap is None else read_kinds(overlap)
    trained = [read_json(path, "fits", "training_log", "counts") for path in tuned]
    read = [read_json(path, "available", "examples", "left_out") for path in tokens]
    texts = [row for manifest in read for row in _splits(manifest, counts)]
    texts += [row for fit in trained for row in _changes(fit)]
    if overlap is not None:
        shifts = [(source, target) for source, names in targets_of(pairs).items() for target in names]
        texts += [row for manifest in read for row in _shifts(manifest["model"], shifts, counts, overlap)]
    training = [
        {"model": fit["model"], "intervention": name_of(fit["intervention"]), "source": _source(fit), **step}
        for fit in trained
        for step in fit["training_log"]
    ]
    extracted = [read_json(path, "model", "checks") for path in activations]
    checks = [{"model": manifest["model"], **check} for manifest in extracted for check in manifest["checks"]]
    finished = [row for fit in trained for row in _finished(fit)]
    written = {SITES: _sites(fits), CHECKS: checks, TEXTS: texts, TRAINING: training, REWARD_MODELS: finished}
    for table, rows in written.items():
        table.write(table.frame(rows), output)


def _sites(fits: Sequence[Path]) -> list[dict[str, Any]]:
    return [
        {
            "model": path.parent.name,
            "intervention": name_of(manifest["intervention"]),
            "source": source,
            **dict(zip(("layer", "head", "accuracy"), site, strict=True)),
            **dict(zip(("tied", "tied_kept"), manifest["edge_ties"][source] or (None, None), strict=True)),
        }
        for path in fits
        for manifest in [read_json(path, "intervention", "sites", "edge_ties")]
        for source, sites in manifest["sites"].items()
        for site in sites
    ]


def _splits(manifest: dict[str, Any], counts: Mapping[Place, Mapping[str, int]]) -> Iterator[dict[str, Any]]:
    for place, examples in manifest["examples"].items():
        distribution, _, split = place.rpartition("/")
        yield {
            **dict.fromkeys(TEXTS.columns),
            "model": manifest["model"],
            "distribution": distribution,
            "split": split,
            "examples": examples,
            "available": manifest["available"][place],
            "left_out": len(manifest["left_out"][place]),
            "shortened": len(manifest["shortened"][place]),
            "indistinct": manifest["indistinct"][place],
            "merged": manifest["merged"][place],
            **(counts.get((distribution, distribution), {}) if split == "test" else {}),
        }


def _shifts(
    model: str, shifts: Sequence[Place], counts: Mapping[Place, Mapping[str, int]], file: Path
) -> Iterator[dict[str, Any]]:
    for source, target in shifts:
        if (source, target) not in counts:
            raise StoreError(
                f"{file}: nothing is known of the overlap of {target} with {source}; delete it and run snakemake again"
            )
        place = {"model": model, "distribution": target, "split": "test", "source": source}
        yield {**dict.fromkeys(TEXTS.columns), **place, **counts[source, target]}


def _changes(fit: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for target, found in fit["counts"].items():
        counts = {name: found[name] for name in TEXTS.columns if name in found}
        if any(counts.values()):
            yield {
                **dict.fromkeys(TEXTS.columns),
                "model": fit["model"],
                "distribution": target,
                "split": "test",
                "intervention": name_of(fit["intervention"]),
                "source": _source(fit),
                **counts,
            }


def _finished(fit: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a finished reward model; none of other fits, nor of plug-ins, which state nothing of the kind."""
    for target, found in fit["counts"].items() if fit.get("read_as") else ():
        place = {"intervention": name_of(fit["intervention"]), "source": _source(fit), "distribution": target}
        values = {**fit["read_as"], **found}
        kept = {name: values[name] for name in REWARD_MODELS.columns if name in values}
        yield {**dict.fromkeys(REWARD_MODELS.columns), "model": fit["model"], **place, **kept}


def _source(fit: dict[str, Any]) -> str:
    """The one source of a fit of ``genies tune``."""
    return next(iter(fit["fits"]))
