"""Files of the user's own that an intervention may read: modules that it imports, and files that it names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import all_suffixes
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from genies.importing import INSTALLED
from genies.syntax import Parsed

SUFFIXES = tuple(all_suffixes())
"""How the names of modules' files end: sources, bytecode and extensions."""
ABOVE = 3
"""How far above a file folders are looked for that it lets modules be found in."""


def is_file(module: str) -> bool:
    """Whether this is the path of a file, and no dotted name."""
    return os.sep in module or module.endswith(SUFFIXES)


def absolute(path: str | Path) -> Path:
    """The path from the root on; links stay as they are."""
    return Path(os.path.normpath(Path(path).absolute()))


def read_files(path: Path, read: Parsed, places: Iterable[Path]) -> set[Path]:
    """Files that a file may import or read.

    Args:
        path: the file.
        read: what it imports and names.
        places: folders where it may find modules besides its own.
    """
    here = list(dict.fromkeys([*homes(path), *places]))
    found = {file for name in _foreign(read) for place in here for file in _modules(place / name)}
    found |= {file for name in _foreign(read) for file in _developed(name)}
    found |= {file for name in read.named for place in here if (file := _named(place, name))}
    if read.by_name:
        found |= {file for place in here for file in _below(place, SUFFIXES)}
    if read.located:
        found |= {file for place in here for file in place.glob(f"{path.stem}.*") if file.is_file()}
        found |= {
            file for name in read.named for place in here if _is_folder(place, name) for file in _below(place / name)
        }
    return {absolute(file) for file in found} - {path}


def homes(path: Path) -> list[Path]:
    """Folders that a file lies in: of a link its own, and that of what it leads to."""
    return list(dict.fromkeys([path.parent, path.resolve().parent]))


def places_of(path: Path, read: Parsed) -> set[Path]:
    """Folders in which a file may let modules be looked for: those that it names, and the one above its own."""
    if not read.places:
        return set()
    above = [place for home in homes(path) for place in (home, *home.parents[:ABOVE])]
    named = [place / name for place in above for name in read.named if _is_folder(place, name)]
    return {*(place for home in homes(path) for place in (home, home.parent)), *map(absolute, named)}


def distributions(read: Parsed) -> set[str]:
    """Names of the installed distributions that a file imports."""
    return {found for name in _foreign(read) if (found := _distribution(name))}


def _foreign(read: Parsed) -> list[str]:
    """Packages that a file imports, but for Python's own and genies."""
    return sorted({name.split(".")[0] for name in read.imported} - sys.stdlib_module_names - {"genies", "", "*"})


def _is_folder(place: Path, name: str) -> bool:
    """Whether a text names a folder within another, and not the other or one above it."""
    try:
        return Path(name).name not in ("", "..") and not Path(name).is_absolute() and (place / name).is_dir()
    except (OSError, ValueError):  # no name that a folder can have
        return False


def _named(place: Path, name: str) -> Path | None:
    try:
        file = place / name
        return file if file.is_file() and os.access(file, os.R_OK) else None
    except (OSError, ValueError):  # no name that a file can have
        return None


def _modules(stem: Path) -> list[Path]:
    """Files of a module, or of a package with all below it, with or without ``__init__.py``."""
    files = [file for suffix in SUFFIXES if (file := stem.with_name(stem.name + suffix)).is_file()]
    return [*files, *_below(stem, SUFFIXES)]


def _below(folder: Path, suffixes: str | tuple[str, ...] = "") -> Iterator[Path]:
    """Files below a folder whose names end so."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if name.endswith(suffixes))


@cache
def _place(name: str) -> Path | None:
    """Where Python finds a package without the folders of the user's own files; nothing is imported."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return next((Path(place) for place in places if place and os.sep in place), None)


def _developed(name: str) -> list[Path]:
    """Files of a package that lies outside the folders of installed ones: its edits keep its version."""
    place = _place(name)
    if place is None or INSTALLED & set(place.parts):
        return []
    if place.is_file() and not place.name.startswith("__init__."):
        return [place]
    return list(_below(place if place.is_dir() else place.parent, SUFFIXES))


@cache
def _distribution(name: str) -> str | None:
    """The distribution that installs a package, if it lies where installed ones do."""
    place = _place(name)
    if place is None or not INSTALLED & set(place.parts):
        return None
    try:
        version(name)
    except PackageNotFoundError:
        return next(iter(packages_distributions().get(name, ())), None)
    return name
