"""What a file of a run states of its making: the code and the inputs, by their digests.

Snakemake compares parameters with those that it recorded when a job began. So after a job that failed, a run that was
told to ignore changes, or files that were moved by hand, its record may hold what no file was made with. Therefore each
manifest and evaluation states it itself, and ``genies.plan.products`` compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genies.digests import file_sha256

MADE_OF = "made_of"
"""Field of a manifest, and key of the metadata of an evaluation."""


def made_of(code: str, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """What a file states: the digest of the ``code`` that made it, and the SHA-256 of each of its ``inputs``.

    Args:
        code: of ``genies.digests.code_digest``, as the rule has it among its parameters.
        inputs: the files by their roles, such as ``data/<distribution>/<split>``, which do not change when a run moves.
    """
    return {"code": code, "inputs": {role: file_sha256(path) for role, path in sorted(inputs.items())}}


def data_roles(files: Iterable[Path]) -> dict[str, Path]:
    """Files ``<distribution>/<split>.json`` by their roles."""
    return {f"data/{file.parent.name}/{file.stem}": file for file in files}


def stem_roles(kind: str, files: Iterable[Path]) -> dict[str, Path]:
    """Manifests of one kind by their roles."""
    return {f"{kind}/{file.stem}": file for file in files}
