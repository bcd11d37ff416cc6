"""The stage ``merge``: a trained fit as a model, by its adapter merged into the model that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genies.digests import code_digest
from genies.errors import ConfigError, StoreError
from genies.files import read_json, write_json
from genies.making import MADE_OF, made_of
from genies.models.adapters import Adapted
from genies.models.describe import describe_folder, read_model
from genies.models.files import ADAPTER, PinnedFiles, digests_of, hashes_file, hashes_of, model_files
from genies.models.merging import Form
from genies.store.fits import check_files, fits_folder


def merge_fit(
    name: str,
    *,
    fits: Path,
    model: Path,
    source: str,
    form: Form = "language model",
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Make a model of a fit and write the manifest that pins it.

    Args:
        name: of the tuned model.
        fits: manifest of ``genies tune`` that names the fit.
        model: manifest of the model that it was trained on.
        source: distribution that it was trained on.
        form: what it is to be: a language model, which a run reads, or a reward model with the trained head.
        cache: the cache folder.
        output: manifest to write: what it is ``made_of``, ``name``, ``form``, ``fit`` (digest) and ``source``, the
            ``adapter`` as of other adapters, ``converted``, ``path``, ``files`` and digests; of a language model also
            what else ``describe_model`` gives.

    Raises:
        ConfigError: the fit is no adapter.
        StoreError: the fit is missing or damaged.
        ModelError: the model's files are no longer those of its manifest.
    """
    digest = _named_fit(fits, source)
    described = read_model(model)
    folder = fits_folder(cache, digest)
    check_files(folder)
    if not (folder / ADAPTER).is_file():
        raise ConfigError(f"tuned_models: {name}: its intervention trains all weights, not an adapter; name lora")
    base = PinnedFiles.of(described)
    base.check()
    remembered = hashes_file(cache)
    hashes = hashes_of(model_files(folder), remembered)
    named = (described["identifier"], described["asked_revision"])
    adapted = Adapted(folder, base.folder, (hashes, base.hashes), named)
    merged = adapted.merged(remembered.parent, form, name)
    base.check()
    made = made_of(code_digest(__name__), {"fits": fits, "model": model})
    stated: dict[str, Any] = {"name": name, "form": form, "fit": digest, "source": source, "converted": merged.name}
    stated |= {"adapter": {**adapted.stated(), "base_revision": described["revision"]}}
    # As manifests of other models have them.
    stated |= {"identifier": name, "asked_revision": None, "revision": None}
    write_json(output, {MADE_OF: made, **stated, **_described(merged, form, remembered)})


def _named_fit(fits: Path, source: str) -> str:
    """Digest of the fit on a source that a manifest names.

    Raises:
        StoreError: it names none.
    """
    named = read_json(fits, "fits")["fits"]
    if not isinstance(named, dict) or not isinstance(named.get(source), str):
        raise StoreError(f"{fits}: names no fit on {source}; delete it and run snakemake again")
    return named[source]


def _described(folder: Path, form: Form, remembered: Path) -> dict[str, object]:
    if form == "language model":
        return describe_folder(folder, remembered)
    hashes = hashes_of(model_files(folder), remembered)
    return {"path": str(folder), "files": hashes, **digests_of(hashes)}
