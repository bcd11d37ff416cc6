"""Provenance: what a run's results were made of and with, in one JSON file beside them."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from genies import __version__
from genies.config.sections import Config
from genies.digests import PACKAGE_FOLDER, file_sha256
from genies.files import read_json, write_json
from genies.interventions.registry import name_of
from genies.plan.plan import Plan
from genies.plan.products import check_results


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
        [plan.files.model(model) for model in plan.models],
        plan.data.files,
        plan.methods.own_code,
        results,
        output,
        tokens=[plan.files.tokens(model) for model in plan.models],
        activations=[manifest for model in plan.models for manifest in plan.files.activations(model)],
        tuned=plan.files.all_trained,
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
            ``stored``), ``examples`` (by ``distribution/split`` how many were ``drawn`` of those ``available``),
            ``own_code`` (SHA-256 by path as given) and ``results`` (SHA-256 by name).
        digests: SHA-256 by name of other data that was read.
        tokens: manifests of ``genies tokenize``; which examples are drawn is the same for every model.
        activations: manifests of ``genies extract``.
        tuned: manifests of ``genies tune``, by source.
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
