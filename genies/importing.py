"""Running a Python file of the user's own as it is now: no module and no bytecode of an earlier state is taken."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders with packages that their versions tell apart."""


def import_file(path: Path) -> ModuleType:
    """The module that a file makes, under a name that keeps it apart from files of the same name elsewhere."""
    real = str(path.resolve())
    name = f"genies_own_{path.stem}_{hashlib.sha256(real.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Afresh(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(path.resolve().parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Afresh(SourceFileLoader):
    """Compiles sources: bytecode goes by a file's size and the second of its time, which an edit may leave alone."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _OfFolder(MetaPathFinder):
    """Finds what Python would find, and has it compiled where it lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return None
        if not _lies(spec.origin, self._folder):
            return None
        spec.loader = _Afresh(spec.name, spec.origin)
        return spec


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a file import modules of its own folder, installed ones first; then drop them from ``sys.modules``."""
    known, place, finder = set(sys.modules), str(folder), _OfFolder(folder)
    sys.path.append(place)
    sys.meta_path.insert(sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(place)]
        for name in sys.modules.keys() - known:
            if _is_of(folder, name, sys.modules[name]):
                del sys.modules[name]


def _is_of(folder: Path, name: str, module: ModuleType) -> bool:
    """Whether a module, or a package without a file, lies in a folder, and is neither installed nor of genies."""
    if name.startswith(("genies_own_", "genies.")) or name == "genies":
        return False
    file = getattr(module, "__file__", None)
    return any(_lies(place, folder) for place in ([file] if file else getattr(module, "__path__", ())))


def _lies(place: str, folder: Path) -> bool:
    path = Path(place)
    return path.is_relative_to(folder) and INSTALLED.isdisjoint(path.relative_to(folder).parts)
