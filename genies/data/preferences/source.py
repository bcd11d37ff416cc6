"""Where a preference set is: local files, or a data set of the hub at one commit; and its files by split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import yaml

from genies.data.limits import printable
from genies.data.preferences.rows import SUFFIXES
from genies.errors import DataError, disk_full, first_line

LOG_IN = "give the hub a token that may read it (`hf auth login`, or HF_TOKEN)"
CARD_BYTES = 2**20
_SPLIT = re.compile(r"(?:^|[^a-z])(train|training|test|testing|validation|valid|val|dev|eval|evaluation)(?=$|[^a-z])")


@dataclass(frozen=True)
class Source:
    """A preference set.

    Attributes:
        name: as the user wrote it.
        files: local paths by the name that each has in the set.
        revision: commit of the hub's; None of local files.
        licence: as the hub's card states it; None where it is not known.
    """

    name: str
    files: dict[str, Path]
    revision: str | None = None
    licence: str | None = None


def split_of(name: str) -> str | None:
    """The split that a file's path names, "train" or "test"; validation sets are tests. None if it names none."""
    found = _SPLIT.findall(name.lower())
    return None if not found else "train" if found[-1].startswith("train") else "test"


def find(name: str, revision: str | None) -> Source:
    """A set's files: a local file, those of a folder, or those of a data set of the hub.

    A data set is ``owner/name``; a folder, a file or a pattern such as ``data/*_prefs-*`` may follow. A name that ends
    as a file does is local where it has two parts, or where its folder exists.

    Raises:
        DataError: there are none, they are of several sets, or the hub does not give them.
        DiskError: the disk of the hub's cache is full.
    """
    path = Path(name).expanduser()
    if path.exists():
        if revision is not None:
            raise DataError(f"{printable(name)}: a local path has no revision; leave --revision out")
        return Source(name, _local(path))
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) < 2:
        raise DataError(f"{printable(name)}: no such file or folder, and no data set of the hub (owner/name)")
    if name.endswith(SUFFIXES) and (len(path.parts) == 2 or path.parent.is_dir()):
        raise DataError(f"{printable(name)}: no such local file; check the path (of the hub: owner/name/file)")
    return _of_hub(name, revision)


def _local(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        if not path.name.endswith(SUFFIXES):
            raise DataError(f"{printable(str(path))}: of no known kind; give a file of {', '.join(SUFFIXES)}")
        return {path.name: path}
    names = [str(file.relative_to(path)) for file in sorted(path.rglob("*")) if file.is_file()]
    return {name: path / name for name in _chosen(names, printable(str(path)))}


def _chosen(names: Sequence[str], place: str) -> list[str]:
    """Files of a set among all of a folder's; parquet where a set has several kinds."""
    data = sorted(name for name in names if name.endswith(SUFFIXES) and not _is_about(name))
    kinds = [kind for kind in (".parquet", ".jsonl", ".jsonl.gz", ".ndjson", ".json.gz", ".json")
             if any(name.endswith(kind) for name in data)]  # fmt: skip
    if not kinds:
        raise DataError(f"{place}: holds no file of {', '.join(SUFFIXES)}")
    data = [name for name in data if name.endswith(kinds[0])]
    folders = sorted({str(PurePosixPath(name).parent) for name in data})
    if len(folders) > 1:
        listed = ", ".join(printable(folder) for folder in folders[:20])
        raise DataError(f"{place}: holds several sets; name one of its folders or files: {listed}")
    return data


def _is_about(name: str) -> bool:
    return PurePosixPath(name).name in ("dataset_infos.json", "metadata.json") or name.startswith(".")


def _of_hub(name: str, revision: str | None) -> Source:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HFValidationError, HTTPError

    owner, repository, *below = PurePosixPath(name).parts
    identifier, inside = f"{owner}/{repository}", "/".join(below)
    try:
        api = HfApi()
        commit = api.dataset_info(identifier, revision=revision).sha
        names = list(api.list_repo_files(identifier, revision=commit, repo_type="dataset"))
        wanted = [
            one for one in names
            if not inside or one == inside or one.startswith(f"{inside}/") or fnmatchcase(one, inside)
        ]  # fmt: skip
        if not wanted:
            raise DataError(f"{printable(name)}: the hub's repository has no such file or folder; check the name")
        chosen = wanted if wanted == [inside] else _chosen(wanted, printable(name))
        card = [one for one in names if one == "README.md"]
        files = {
            one: Path(hf_hub_download(identifier, one, revision=commit, repo_type="dataset"))
            for one in (*chosen, *card)
        }
    except (HTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise disk_full(error) or DataError(f"{printable(name)}: {_refusal(error, revision)}") from None
    licence = _licence(files.pop("README.md")) if card else None
    return Source(name, files, commit, licence)


def _refusal(error: Exception, revision: str | None) -> str:
    """Why the hub did not give a set, and what helps."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    reason = first_line(error)
    if isinstance(error, GatedRepoError):
        return f"gated on the hub; accept its terms on the set's page, then {LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"the hub has no revision {revision} of it; name another with --revision"
    if isinstance(error, RepositoryNotFoundError):
        return (
            "no such local file or folder, and no such data set on the hub, or a private one; "
            f"check the name, and for a private one {LOG_IN}"
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return f"the hub refuses it ({reason}); {LOG_IN}"
    failed = f"the download failed ({type(error).__name__}: {reason})"
    return f"no such local file or folder, and {failed}; run again, finished files are kept"


def _licence(card: Path) -> str | None:
    """The licence that the head of a card states."""
    with card.open("rb") as file:
        text = file.read(CARD_BYTES).decode("utf-8", "replace")
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        stated = yaml.load(head[1], yaml.BaseLoader) if head else None
    except (yaml.YAMLError, RecursionError):
        return None
    licence = stated.get("license") if isinstance(stated, dict) else None
    if isinstance(licence, list):
        licence = ", ".join(str(one) for one in licence)
    return printable(licence) if isinstance(licence, str) and licence else None
