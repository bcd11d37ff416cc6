"""Provenance: what a run's results were made of and with, in one JSON file beside them."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from genies import __version__
from genies.config.sections import Config
from genies.digests import PACKAGE_FOLDER, file_sha256, value_digest
from genies.files import read_json, write_json
from genies.interventions.registry import name_of
from genies.making import MADE_WITH, grouped
from genies.plan.plan import Plan
from genies.plan.products import check_results
from genies.store.writer import ADOPTED

OF_ONE_STORE = ("from", "texts", "largest_difference")
"""Fields of an adoption that every store has for itself."""


def state_provenance(*results: Path, config: Mapping[str, Any], output: Path) -> None:
    """Check that results are what is configured, and state what they come from.

    Args:
        *results: files to bind to the statement.
        config: the run's configuration.
        output: JSON to write.

    Raises:
        StoreError: a file of the run was made otherwise.
    """
    plan = Plan(Config(**config))
    check_results(plan)
    write_provenance(
        config,
        [*(plan.files.model(model) for model in plan.models.every), *plan.models.rewards.values()],
        plan.data.files,
        plan.methods.own_code,
        results,
        output,
        tokens=[plan.files.tokens(model) for model in plan.models],
        activations=[manifest for model in plan.models.every for manifest in plan.files.activations(model)],
        tuned=plan.fits.all_trained,
        fits=plan.fits.of_probes,
    )


def write_provenance(
    config: Mapping[str, Any],
    models: Sequence[Path],
    data: Sequence[Path],
    own_code: Sequence[Path],
    results: Sequence[Path],
    output: Path,
    digests: Mapping[str, str] | None = None,
    tokens: Sequence[Path] = (),
    activations: Sequence[Path] = (),
    tuned: Sequence[Path] = (),
    fits: Sequence[Path] = (),
) -> None:
    """State what the results come from.

    Args:
        config: the run's whole configuration, seeds included.
        models: model manifests; they hold revision and digests.
        data: ``<distribution>/<split>.json`` of all that was read.
        own_code: Python files of the user's own that ran.
        results: files to bind to this statement, by their SHA-256.
        output: JSON to write: ``genies`` (version), ``commit``, ``uncommitted_changes`` (None outside a git checkout),
            ``python``, ``platform``, ``packages`` (version by name), ``configuration``, ``models``, ``data``,
            ``arithmetic`` (records with ``model``, ``of``, ``computed`` and, for activations, ``devices`` and
            ``stored``), ``made_with`` (what computed activations and fits: records with ``model``, ``of``, ``which`` of
            them, and what ``genies.making.made_with`` gives), ``adopted`` (activations of other versions that
            ``genies cache adopt`` took over: records with ``model``, ``which`` and what the adoption states),
            ``examples`` (by ``distribution/split`` how many were ``drawn`` of those ``available``), ``own_code``
            (SHA-256 by path as given) and ``results`` (SHA-256 by name). Packages and commit are those of the process
            that writes this.
        digests: SHA-256 by name of other data that was read.
        tokens: manifests of ``genies tokenize``; which examples are drawn is the same for every model.
        activations: manifests of ``genies extract``.
        tuned: manifests of ``genies tune``, by source.
        fits: manifests of ``genies fit``, each in a folder with the name of its model.
    """
    commit, dirty = source_state(PACKAGE_FOLDER)
    write_json(
        output,
        {
            "genies": __version__,
            "commit": commit,
            "uncommitted_changes": dirty,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "packages": package_versions(),
            "configuration": dict(config),
            "models": [read_json(path, "name", "revision") for path in models],
            "arithmetic": [*_of_activations(activations), *_of_fits(tuned)],
            MADE_WITH: [*_stores_made_with(activations), *_fits_made_with([*fits, *tuned])],
            ADOPTED: [*_adopted(activations)],
            "data": {f"{path.parent.name}/{path.stem}": file_sha256(path) for path in data} | dict(digests or {}),
            "examples": {place: counts for path in tokens for place, counts in _examples(path).items()},
            "own_code": {str(path): file_sha256(path) for path in own_code},
            "results": {path.name: file_sha256(path) for path in results},
        },
    )


def _examples(tokens: Path) -> dict[str, dict[str, int]]:
    manifest = read_json(tokens, "available", "examples")
    return {
        place: {"drawn": count, "available": manifest["available"][place]}
        for place, count in manifest["examples"].items()
    }


def _of_activations(manifests: Sequence[Path]) -> list[dict[str, Any]]:
    """What each model's activations were computed in, on which devices, and what they are stored in."""
    devices: dict[tuple[str, str, str], set[str]] = {}
    for manifest in (read_json(path, "model", "extraction", "devices") for path in manifests):
        kind = manifest["model"], manifest["extraction"]["arithmetic"], manifest["extraction"]["dtype"]
        devices.setdefault(kind, set()).update(manifest["devices"])
    return [
        {"model": model, "of": "activations", "computed": computed, "devices": sorted(used), "stored": stored}
        for (model, computed, stored), used in devices.items()
    ]


def _of_fits(manifests: Sequence[Path]) -> list[dict[str, Any]]:
    """What interventions that read texts computed in, once for each model and intervention."""
    read = [read_json(path, "model", "intervention", "arithmetic") for path in manifests]
    kinds = {(m["model"], name_of(m["intervention"]), m["arithmetic"]): None for m in read}
    return [{"model": model, "of": name, "computed": computed} for model, name, computed in kinds]


def _stores_made_with(manifests: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What computed each model's stores; they are named ``distribution/split view``."""
    made: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for manifest in (read_json(path, "model", "stores") for path in manifests):
        places = _places(manifest)
        found = made.setdefault(manifest["model"], [])
        for making in manifest.get(MADE_WITH, ()):
            found += [(_without_stores(making), places[digest]) for digest in making["stores"]]
    for model, makings in made.items():
        yield from _listed(model, "activations", makings)


def _places(manifest: Mapping[str, Any]) -> dict[str, str]:
    """``distribution/split view`` of each store, by digest."""
    return {s["digest"]: f"{s['distribution']}/{s['split']} {s['view']}" for s in manifest["stores"]}


def _adopted(manifests: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Every adoption of a store, those that are alike but for store and sample together."""
    alike: list[tuple[dict[str, Any], str]] = []
    samples: dict[tuple[str, str], dict[str, Any]] = {}
    for manifest in (read_json(path, "model", "stores") for path in manifests):
        places = _places(manifest)
        for digest, records in manifest.get(ADOPTED, {}).items():
            for record in records:
                common = {key: value for key, value in record.items() if key not in OF_ONE_STORE}
                alike.append(({"model": manifest["model"], **common}, places[digest]))
                key = value_digest(alike[-1][0]), places[digest]
                samples[key] = {name: record[name] for name in OF_ONE_STORE}
    for common, names in grouped(alike):
        yield {**common, "which": {name: samples[value_digest(common), name] for name in names}}


def _without_stores(making: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in making.items() if key != "stores"}


def _fits_made_with(manifests: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What computed the fits of each model and intervention; they are named by their sources."""
    made: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = {}
    for path in manifests:
        manifest = read_json(path, "intervention")
        kind = manifest.get("model", path.parent.name), name_of(manifest["intervention"])
        by_source = manifest.get(MADE_WITH, {})
        made.setdefault(kind, []).extend((making, source) for source in by_source for making in by_source[source])
    for kind, makings in made.items():
        yield from _listed(*kind, makings)


def _listed(model: str, of: str, makings: Sequence[tuple[dict[str, Any], str]]) -> Iterator[dict[str, Any]]:
    """A record for each distinct making; ``which`` is "all" where it is that of all of them."""
    everything = {name for _, name in makings}
    for making, names in grouped(makings):
        which = "all" if set(names) == everything else sorted(set(names))
        yield {"model": model, "of": of, "which": which, **making}


def package_versions() -> dict[str, str]:
    """Installed version of every package that genies requires, by name."""
    required = [line for line in requires("genies") or () if "extra ==" not in line]
    names = sorted(name[0] for line in required if (name := re.match(r"[A-Za-z0-9._-]+", line)))
    return {name: version(name) for name in names}


def source_state(folder: Path) -> tuple[str | None, bool | None]:
    """Git commit of the checkout that a folder lies in, and whether tracked files differ from it; None outside one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
