"""The cache as a whole: what lies in it, who uses it, whether it is sound, and what nobody needs any more."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from genies.errors import ConfigError, StoreError
from genies.files import PARTIAL, read_json
from genies.locks import LOCKS, locked
from genies.models import conversions
from genies.store.activations import ActivationStore, reopen
from genies.store.fits import RECORD_FILE, check_files, check_test
from genies.store.tokens import read_attributes, read_tokens
from genies.store.users import recorded

Kind = Literal["models", "tokens", "activations", "interventions"]
KINDS: tuple[Kind, ...] = ("models", "tokens", "activations", "interventions")
"""Models are those that were converted; others lie elsewhere."""


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes:
        kind: what it is.
        digest: its name.
        path: file or folder.
        size: bytes on the disk.
        age: seconds since it was last written.
        about: model, with distribution, split and view; or intervention and source. As far as it says.
        partial: whether it was begun and is not complete.
        users: runs whose manifests name it; those of other folders than the one given, by their absolute paths.
    """

    kind: Kind
    digest: str
    path: Path
    size: int
    age: float
    about: str
    partial: bool = False
    users: tuple[str, ...] = field(default=())


def entries(cache: Path, results: Path) -> list[Entry]:
    """Everything in the cache, largest first.

    Args:
        cache: the cache folder.
        results: folder of the runs, whose manifests tell who uses what, as do those of the folders that are recorded
            in the cache, where they can be read (``check_users``).
    """
    named = _named_anywhere(Path(cache), Path(results))
    found = []
    for kind, path in _paths(Path(cache)):
        digest = path.stem if kind == "tokens" else path.name.removeprefix(PARTIAL)
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        found.append(
            Entry(
                kind=kind,
                digest=digest,
                path=path,
                size=sum(file.stat().st_size for file in files),
                age=time.time() - max((file.stat().st_mtime for file in files), default=path.stat().st_mtime),
                about=_about(kind, path),
                partial=_is_partial(kind, path),
                users=tuple(sorted(named[kind].get(digest, ()))),
            )
        )
    return sorted(found, key=lambda entry: (-entry.size, entry.digest))


def _named_anywhere(cache: Path, results: Path) -> dict[Kind, dict[str, set[str]]]:
    named = named_digests(results)
    for other in recorded(cache):
        with suppress(StoreError):
            if other != results.resolve():
                for kind, digests in named_digests(other).items():
                    for digest, runs in digests.items():
                        named[kind].setdefault(digest, set()).update(str(other / run) for run in runs)
    return named


def check_users(cache: Path, results: Path, without_absent: bool = False) -> None:
    """Refuse to tell what nobody uses, unless every user can be asked.

    Args:
        cache: the cache folder.
        results: folder of the runs.
        without_absent: go on where a recorded folder of runs is not there.

    Raises:
        ConfigError: a recorded folder of runs is not there, or there is no manifest at all.
        StoreError: a folder or a manifest cannot be read.
    """
    others = recorded(cache)
    if not without_absent and (absent := [folder for folder in others if not folder.is_dir()]):
        raise ConfigError(
            f"{absent[0]}: recorded as a user of {cache}, but not there; name where it is now with --results, and add "
            "--gone if its runs are deleted or named so"
        )
    if not sum(_count_manifests(folder) for folder in (results, *others)):
        raise ConfigError(
            f"{results}: no manifest of a run is there, nor in a folder that {cache} knows of, so everything would "
            "seem unused; name the folder of the runs with --results, or delete the cache by hand"
        )


def _count_manifests(results: Path) -> int:
    return sum(1 for kind in KINDS for _ in _manifests(results, kind))


def named_digests(results: Path) -> dict[Kind, dict[str, set[str]]]:
    """Runs by digest, for each kind: what the manifests under ``results/<run>/`` name."""
    named: dict[Kind, dict[str, set[str]]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for run, _, digests in _manifests(results, kind):
            for digest in digests:
                named[kind].setdefault(digest, set()).add(run)
    return named


def _manifests(results: Path, kind: Kind) -> Iterator[tuple[str, Path, list[str]]]:
    """Run, path and named digests of every manifest of a kind.

    Raises:
        StoreError: a folder or a manifest cannot be read, or a file is no manifest.
    """
    for path in _files_of_runs(Path(results), kind):
        manifest = read_json(path)
        try:
            if kind == "interventions":
                digests = list(manifest["fits"].values())
            elif kind == "models":
                digests = [digest] if (digest := manifest.get("converted")) else []
            else:
                digests = [entry["digest"] for entry in manifest["tokens" if kind == "tokens" else "stores"]]
        except (KeyError, TypeError, AttributeError):
            raise StoreError(f"{path}: no manifest of genies; move it out of the folder of a run") from None
        yield path.relative_to(results).parts[0], path, digests


def _files_of_runs(results: Path, kind: Kind) -> Iterator[Path]:
    """JSON files under ``<results>/<run>/<kind>/``, sorted.

    Raises:
        StoreError: a folder cannot be read; an unreadable one must not pass for one that uses nothing.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise StoreError(f"{error.filename}: cannot be read ({error.strerror}), so nobody knows what its runs use")

    try:
        runs = sorted(results.iterdir())
    except OSError as error:
        refuse(error)
        return
    for run in runs:
        for folder, inner, files in os.walk(run / kind, onerror=refuse):
            inner.sort()
            for name in sorted(files):
                if name.endswith(".json") and not name.startswith("."):
                    yield Path(folder, name)


def absent(everything: Iterable[Entry], results: Path) -> list[tuple[Kind, str]]:
    """What manifests name and the cache lacks: kind and digest."""
    present = {(entry.kind, entry.digest) for entry in everything if not entry.partial}
    named = ((kind, digest) for kind, digests in named_digests(results).items() for digest in sorted(digests))
    return [thing for thing in named if thing not in present]


def verify(entry: Entry) -> None:
    """Reread every byte and compare it with its checksums.

    Raises:
        StoreError: something is missing or damaged; the message names the file and what to do.
    """
    if entry.kind == "tokens":
        read_tokens(entry.path)
    elif entry.kind == "models":
        conversions.check_converted(entry.path)
    elif entry.kind == "interventions":
        check_files(entry.path)
        for test in _tests(entry.path):
            check_test(test)
    else:
        store = ActivationStore(entry.path)
        for block in range(store.blocks):
            store.data.check_block(block)


def repair(entry: Entry, results: Path) -> None:
    """Take what ``verify`` finds damaged out of use, so that Snakemake makes it again: of a store the damaged blocks.

    Manifests that name it are deleted, since to Snakemake they stand for what it names.

    Raises:
        StoreError: another process is writing it.
    """
    with _unused(entry):
        if entry.kind == "activations":
            reopen(entry.path.parent, entry.digest)
        elif entry.kind == "tokens":
            entry.path.unlink()
        elif entry.kind == "interventions" and _is_sound(check_files, entry.path):
            for test in _tests(entry.path):
                if not _is_sound(check_test, test):
                    test.with_suffix(".json").unlink(missing_ok=True)
                    test.unlink(missing_ok=True)
        else:
            shutil.rmtree(entry.path)
    forget(entry.kind, entry.digest, results)


def forget(kind: Kind, digest: str, results: Path) -> None:
    """Delete the manifests that name something."""
    for _, manifest, digests in _manifests(results, kind):
        if digest in digests:
            manifest.unlink()


def _is_sound(check: Callable[[Path], Any], path: Path) -> bool:
    try:
        check(path)
    except StoreError:
        return False
    return True


def _tests(fit: Path) -> list[Path]:
    """Tests kept with a fit: parquet files, each with a record beside it."""
    return sorted({file.with_suffix(".parquet") for file in (fit / "tests").glob("[!.]*")})


def explain(a: Entry, b: Entry) -> list[tuple[str, Any, Any]]:
    """Fields of the digests in which two things of one kind differ: (field, value of a, value of b).

    Raises:
        StoreError: they are of different kinds.
    """
    if a.kind != b.kind:
        raise StoreError(f"{a.digest} is of the kind {a.kind}, {b.digest} of {b.kind}; compare two of one kind")
    ours, theirs = (_flat(_fields(entry)) for entry in (a, b))
    return [
        (name, ours.get(name), theirs.get(name))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def find(everything: Iterable[Entry], digest: str) -> Entry:
    """The one entry whose digest begins so.

    Raises:
        StoreError: there is none, or more than one.
    """
    found = [entry for entry in everything if entry.digest.startswith(digest)]
    if len(found) != 1:
        what = "nothing" if not found else f"{len(found)} things"
        raise StoreError(f"{digest}: {what} in the cache begin so; `genies cache list` shows all")
    return found[0]


def remove(entry: Entry) -> None:
    """Delete one thing, unless somebody is writing it.

    Raises:
        StoreError: another process is writing it, or another user's permissions forbid it.
    """
    with _unused(entry):
        try:
            shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink()
        except PermissionError as error:
            raise StoreError(f"{entry.path}: cannot be deleted ({error.strerror}); ask its owner to") from None


def _unused(entry: Entry) -> AbstractContextManager[None]:
    """Keep others from writing it. Tokens are written whole, so need no lock."""
    if entry.kind == "tokens":
        return nullcontext()
    busy = f"{entry.path}: is being written; wait until the job has ended"
    return locked(entry.path.parent, [entry.digest], str(entry.path), busy)


def _paths(cache: Path) -> Iterator[tuple[Kind, Path]]:
    for path in sorted((cache / "tokens").glob("*.h5")):
        yield "tokens", path
    for kind in ("models", "activations", "interventions"):
        for path in sorted((cache / kind).glob("*")):
            if path.is_dir() and path.name != LOCKS:
                yield kind, path


def _is_partial(kind: Kind, path: Path) -> bool:
    if kind == "interventions":
        return not (path / RECORD_FILE).is_file()
    if kind == "models" and not conversions.is_converted(path):
        return True
    return path.name.startswith(PARTIAL)  # of tokens, too: what is being written, or a killed process left


def _about(kind: Kind, path: Path) -> str:
    try:
        if kind == "tokens":
            told = read_attributes(path)
            return f"{told['model']}: {told['distribution']} {told['split']}, {told['view']}"
        if kind == "activations":
            told = read_json(path / "store.json")
            held = f"{len(set(told['example']))} examples, {', '.join(sorted(set(told['shapes']) - {'scored_tokens'}))}"
            return f"{told['model']}: {told['distribution']} {told['split']}, {told['view']} ({held})"
        if kind == "models":
            return str(read_json(path / conversions.RECORD_FILE)["name"])
        told = read_json(path / RECORD_FILE)
        return str(told["intervention"])
    except (StoreError, KeyError):
        return "unreadable"


def _fields(entry: Entry) -> dict[str, Any]:
    if entry.kind == "tokens":
        return read_attributes(entry.path)["fields"]
    if entry.kind == "activations":
        return read_json(entry.path / "store.json")["digest"]
    if entry.kind == "models":
        return read_json(entry.path / conversions.RECORD_FILE)["digest"]
    return read_json(entry.path / RECORD_FILE)["digest"]


def _flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat
