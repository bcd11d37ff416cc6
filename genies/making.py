"""What a file of a run states of its making: the code and the inputs, by their digests; and what computed it.

Snakemake compares parameters with those that it recorded when a job began. So after a job that failed, a run that was
told to ignore changes, or files that were moved by hand, its record may hold what no file was made with. Therefore each
manifest and evaluation states it itself, and ``genies.plan.products`` compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genies import __version__
from genies.digests import file_sha256, installed_version, value_digest
from genies.errors import DataError

MADE_OF = "made_of"
"""Field of a manifest, and key of the metadata of an evaluation."""
MADE_WITH = "made_with"
"""Field of a record in the cache, and of manifests: what computed it."""


def made_of(code: str, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """What a file states: the digest of the ``code`` that made it, and the SHA-256 of each of its ``inputs``.

    Args:
        code: of ``genies.digests.code_digest``, as the rule has it among its parameters.
        inputs: the files by their roles, such as ``data/<distribution>/<split>``, which do not change when a run moves.
    """
    return {"code": code, "inputs": {role: file_sha256(path) for role, path in sorted(inputs.items())}}


def data_roles(files: Iterable[Path]) -> dict[str, Path]:
    """Files ``<distribution>/<split>.json`` by their roles.

    Raises:
        DataError: two of them are of distributions with one name, by which everything that is kept tells them apart.
    """
    roles: dict[str, Path] = {}
    for file in files:
        other = roles.setdefault(f"data/{file.parent.name}/{file.stem}", file)
        if other != file:
            raise DataError(f"{other} and {file}: two distributions are called {file.parent.name!r}; rename a folder")
    return roles


def stem_roles(kind: str, files: Iterable[Path]) -> dict[str, Path]:
    """Manifests of one kind by their roles."""
    return {f"{kind}/{file.stem}": file for file in files}


def member_roles(files: Iterable[Path]) -> dict[str, Path]:
    """Evaluations of the members of an ensemble, each in a folder with the member's name, by their roles."""
    return {f"member/{file.parent.name}": file for file in files}


def made_with(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What computes here and now, for the record of what is computed.

    Args:
        fields: those of the name of what is computed; they hold ``code`` and ``libraries``, as ``computed_by`` gives
            them, and where they decide it ``arithmetic`` (or ``dtype``) and ``device``.

    Returns:
        ``genies`` (version), ``code``, ``libraries`` (full version by name), ``arithmetic`` and ``device``; the last
        two are None where they decide nothing.
    """
    libraries = {name: installed_version(name) for name in fields["libraries"]}
    return {"genies": __version__, **_named(fields), "libraries": libraries}


def recorded_making(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What computed something in the cache, as its record says: several where others went on with it.

    Of a record without it, from an earlier version of genies, what the name states: libraries as major.minor.
    """
    fields = record.get("digest") or {}
    if record.get(MADE_WITH) or "libraries" not in fields:
        return list(record.get(MADE_WITH) or ())
    return [{"genies": None, **_named(fields), "libraries": fields["libraries"]}]


def grouped(makings: Iterable[tuple[Mapping[str, Any], str]]) -> list[tuple[dict[str, Any], list[str]]]:
    """Names of what was computed by what computed it: each distinct one once, in the order of the first."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for making, name in makings:
        found.setdefault(value_digest(making), (dict(making), []))[1].append(name)
    return list(found.values())


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    arithmetic = fields.get("arithmetic", fields.get("dtype"))
    return {"code": fields["code"], "arithmetic": arithmetic, "device": fields.get("device")}
