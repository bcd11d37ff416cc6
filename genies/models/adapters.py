"""Adapters of PEFT on a base: merged once, in float32, into a folder in the cache that is then a model like any other.

A conversion is named by a digest of the adapter's files and of the base's, of what it is to be (a language model, or a
sequence classifier with the adapter's head), of the versions of what merges them, and of the dtype.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from genies.digests import computed_by, value_digest
from genies.errors import ModelError
from genies.files import read_json
from genies.models import conversions, gguf, merging
from genies.models.files import (
    ADAPTER,
    REMEMBERED,
    PinnedFiles,
    digests_of,
    hashes_of,
    model_files,
    read_object,
)
from genies.models.find import fetch
from genies.models.gguf import is_gguf
from genies.models.load import refuse_layers
from genies.models.merging import DTYPE, Form, load_merged, read_config

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of what a merged folder holds."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (Path(folder) / ADAPTER).is_file()


@dataclass(frozen=True)
class Adapted:
    """An adapter and its base, both on this machine.

    Attributes:
        folder: the adapter's.
        base: folder of the base.
        hashes: SHA-256 by name of the adapter's files, and of the base's.
        named: the base as it is named: folder, GGUF file or hub id; and its revision.
    """

    folder: Path
    base: Path
    hashes: tuple[Mapping[str, str], Mapping[str, str]]
    named: tuple[str, str | None]

    @classmethod
    def of(cls, folder: Path, base: str | None, base_revision: str | None, remembered: Path) -> Adapted:
        """Find an adapter's base, or download it, and hash the files of both.

        Args:
            folder: the adapter's.
            base: folder, GGUF file or hub id of its base; None for the one that its configuration names.
            base_revision: the hub's revision of the base; None for the one that the configuration names.
            remembered: as ``genies.models.describe.describe_model`` takes it.

        Raises:
            ModelError: there is no such base, it is an adapter itself, or one of the two is not whole.
        """
        files = model_files(folder)
        name = base_of(folder, base)
        revision = base_revision or own_revision(folder, name)
        try:
            found = fetch(name, revision)
            own = model_files(found)
        except ModelError as error:
            raise ModelError(f"{folder / ADAPTER}: its base: {error}; or name another one under bases") from None
        if is_adapter(found):
            raise ModelError(f"{folder / ADAPTER}: its base {name} is an adapter, too; merge that one first")
        if is_gguf(found):
            (sha256,) = hashes_of(own, remembered).values()
            found = gguf.converted_folder(found, sha256, remembered.parent)
            own = model_files(found)
        refuse_layers(found, read_object(found / "config.json"))
        return cls(folder, found, (hashes_of(files, remembered), hashes_of(own, remembered)), (name, revision))

    def stated(self) -> dict[str, Any]:
        """What a manifest says of it: ``kind``, ``base`` as named and its asked revision, and digests of the base."""
        named, revision = self.named
        kind = read_config(self.folder)["peft_type"]
        return {"kind": kind, "base": named, "asked_base_revision": revision, **digests_of(dict(self.hashes[1]))}

    @property
    def pinned(self) -> list[PinnedFiles]:
        """The files of both."""
        adapter, base = self.hashes
        return [PinnedFiles(self.folder, adapter), PinnedFiles(self.base, base)]

    def merged(self, root: Path, form: Form, name: str) -> Path:
        """The folder with the merged model, which is made if it is not there.

        Args:
            root: folder of all conversions.
            form: what it is to be.
            name: of the model, for people.

        Raises:
            ModelError: adapter or base cannot be read, do not belong together, or cannot be merged; or a reward model
                is asked for and neither has its head.
            DiskError: the disk is full.
        """

        def load() -> Callable[[Path], None]:
            self._warn_of_another_base()
            return load_merged(self.folder, self.base, form, root / REMEMBERED)

        return conversions.converted_folder(root, self._fields(form), name, self.folder, load)

    def _warn_of_another_base(self) -> None:
        """Say so where the base has another name than the one trained on: shapes alone may fit by chance."""
        own, given = read_config(self.folder).get("base_model_name_or_path"), self.named[0]
        if isinstance(own, str) and own and Path(own).name.lower() != Path(given).name.lower():
            log.warning("%s: trained on %s, and put on %s, which has to have the same weights", self.folder, own, given)

    def _fields(self, form: Form) -> dict[str, Any]:
        versions = {name: version(name) for name in ("transformers", "peft")}
        adapter, base = map(dict, self.hashes)
        code = computed_by(__name__, merging.__name__)["code"]
        return {
            "format": FORMAT, "adapter": adapter, "base": base, "form": form, "dtype": DTYPE, "code": code, **versions,
        }  # fmt: skip


def base_of(folder: Path, given: str | None) -> str:
    """Folder or hub id of an adapter's base: the one given, else the one that its configuration names.

    Raises:
        ModelError: there is neither.
    """
    named = given or read_config(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ModelError(f"{Path(folder) / ADAPTER}: names no base_model_name_or_path; name its base under bases")
    return named


def own_revision(folder: Path, base: str) -> str | None:
    """Revision of the base that an adapter's own configuration names."""
    config = read_object(Path(folder) / ADAPTER)
    revision = config.get("revision") if config.get("base_model_name_or_path") == base else None
    return revision if isinstance(revision, str) and revision else None


class OtherModel(NamedTuple):
    """A model that an intervention reads in addition to the run's own.

    Attributes:
        identifier: folder or hub id of a model or an adapter; or the manifest (``.json``) of a tuned model.
        revision: on the hub.
        base, base_revision: of an adapter, as ``Adapted.of`` takes them.
    """

    identifier: str
    revision: str | None = None
    base: str | None = None
    base_revision: str | None = None


def is_pinned(model: OtherModel) -> bool:
    """Whether a model is named by the manifest of a model that a run tuned."""
    return model.identifier.endswith(".json")


def pinned_files(model: OtherModel, remembered: Path) -> list[PinnedFiles]:
    """The files of any model, a classifier too; of an adapter, its own and those of its base.

    Args:
        model: which.
        remembered: as ``genies.models.describe.describe_model`` takes it.
    """
    found = _find(model)
    if isinstance(found, PinnedFiles):
        return [found]
    if is_adapter(found):
        return Adapted.of(found, model.base, model.base_revision, remembered).pinned
    return [PinnedFiles(found, hashes_of(model_files(found), remembered))]


def model_digests(model: OtherModel, remembered: Path) -> dict[str, str]:
    """``weights_digest`` and ``tokenizer_digest`` of any model; arguments as ``pinned_files``."""
    digests = [digests_of(files.hashes) for files in pinned_files(model, remembered)]
    return (
        digests[0] if len(digests) == 1 else {key: value_digest([each[key] for each in digests]) for key in digests[0]}
    )


def reward_folder(model: OtherModel, remembered: Path) -> Path:
    """The folder of a finished reward model; of an adapter, that with the merged model, which is made if need be.

    Raises:
        ModelError: there is no such model, it is not whole, or an adapter lacks its head.
    """
    return _usable_folder(model, remembered, "reward model")


def language_folder(model: OtherModel, remembered: Path) -> Path:
    """The same of a causal language model, such as a judge.

    Raises:
        ModelError: there is no such model, or it is not whole.
    """
    return _usable_folder(model, remembered, "language model")


def _usable_folder(model: OtherModel, remembered: Path, form: Form) -> Path:
    found = _find(model)
    if isinstance(found, PinnedFiles):
        return found.folder
    if not is_adapter(found):
        model_files(found)
        return found
    adapted = Adapted.of(found, model.base, model.base_revision, remembered)
    return adapted.merged(remembered.parent, form, found.name)


def _find(model: OtherModel) -> Path | PinnedFiles:
    """The folder of a model, or the files that a manifest pins."""
    if is_pinned(model):
        return PinnedFiles.of(read_json(Path(model.identifier), "path", "files"))
    found = fetch(model.identifier, model.revision)
    if model.base and not is_adapter(found):
        raise ModelError(f"{found}: no adapter, so it has no base; leave base out")
    return found
