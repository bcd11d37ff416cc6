"""Digests that decide what is computed again: of values, of files, and of the code that a stage runs."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from genies.remembered import Remembered

PACKAGE_FOLDER = Path(__file__).parent
DIGEST_LENGTH = 32
"""Hexadecimal digits kept of a SHA-256 (128 bits)."""
PURE = ("genies.engine", "genies.interventions")
"""Packages whose code decides numbers."""
TELLING = ("genies.costs",)
"""Packages of which no result depends: they tell what work takes, and refuse what would not fit."""
COMPUTING = {
    **{name: name for name in ("numpy", "peft", "scipy", "tokenizers", "torch", "transformers")},
    "sklearn": "scikit-learn",
}
"""Libraries that compute, by the name under which they are imported."""


def value_digest(value: Any) -> str:
    """Digest of a JSON value; the order of keys plays no part. Shape: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_digest(*modules: str | Path) -> str:
    """Digest of the code that ``modules`` run: their own syntax trees and those of every ``genies`` module they import.

    Comments, docstrings, layout, the words of errors and log messages, and progress bars play no part, so that only
    edits that can change a result change the digest. Templates beside a module (``*.html``, ``*.css``, ``*.js``) count
    as part of it when they lie in its folder.

    Args:
        modules: dotted names of modules of this package, or paths of Python files outside it; with such a file, the
            files beside it that it imports count, too.
    """
    found = _reached(modules, ("genies",), TELLING)
    return value_digest(sorted(read.digest for read in found.values()))


def computed_by(*modules: str | Path, rooms: Collection[str] = PURE, outside: Collection[str] = ()) -> dict[str, Any]:
    """What decides numbers, for the name of what holds them: code, and the libraries that compute.

    Args:
        modules: as ``code_digest`` takes them.
        rooms: packages and modules whose code decides numbers; imports of others are not followed.
        outside: modules and packages in them that do not.

    Returns:
        ``code``, a digest, and ``libraries``, the installed version (major.minor) by name of those of ``COMPUTING``
        that the code imports.
    """
    found = _reached(modules, rooms, outside)
    names = sorted({COMPUTING[name] for read in found.values() for name in read.libraries})
    code = value_digest(sorted(read.digest for read in found.values()))
    return {"code": code, "libraries": {name: library_version(name) for name in names}}


@cache
def library_version(name: str) -> str:
    """Installed version of a library as names have it: major.minor."""
    return ".".join(re.findall(r"\d+", installed_version(name))[:2])


@cache
def installed_version(name: str) -> str:
    """Installed version of a library, in full."""
    return version(name)


class _Read(NamedTuple):
    """A module as read: its digest, the modules it imports from the package or its own folder, and the libraries."""

    digest: str
    imported: tuple[str, ...]
    libraries: frozenset[str]


def _reached(modules: Iterable[str | Path], rooms: Collection[str], outside: Collection[str] = ()) -> dict[str, _Read]:
    """The modules, and those of some packages that they import, directly or not."""
    found: dict[str, _Read] = {}
    queue = [str(module) for module in modules]
    while queue:
        module = queue.pop()
        if module not in found:
            found[module] = _module(module)
            imported = found[module].imported
            inside = [name for name in imported if name.endswith(".py") or _is_in(name, rooms)]
            queue += [name for name in inside if not _is_in(name, outside)]
    _remembered().save()
    return found


def _is_in(module: str, rooms: Collection[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _module_path(module: str) -> Path | None:
    """File of a module of this package or of a path; None for names that are no module (classes, functions)."""
    if module.endswith(".py"):
        return Path(module)
    path = PACKAGE_FOLDER.joinpath(*module.split(".")[1:])
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def _module(module: str) -> _Read:
    """Of a file of the user's own afresh at each call: it may be edited while this process runs."""
    return _read_module(module) if module.endswith(".py") else _remembered_module(module)


@cache
def _remembered_module(module: str) -> _Read:
    return _read_module(module)


def _read_module(module: str) -> _Read:
    path = _module_path(module)
    if path is None:
        raise ValueError(f"{module}: no such module of genies")
    source = path.read_bytes()
    beside = [
        file_sha256(file)
        for file in sorted(path.parent.iterdir())
        if file.suffix in {".html", ".css", ".js"} and path.parent != PACKAGE_FOLDER
    ]
    name = value_digest([hashlib.sha256(source).hexdigest(), beside])
    if (parsed := _remembered().get(name)) is None:
        tree = ast.parse(source, filename=str(path))
        parsed = [sorted(set(_imports(tree))), value_digest([ast.dump(_Plain().visit(tree)), beside])]
        _remembered().add(name, parsed)
    imported, digest = parsed
    own = [name for name in imported if name.split(".")[0] == "genies" and _module_path(name) is not None]
    if module.endswith(".py"):
        own += [str(file) for name in imported for file in _beside(path, name.split(".")[0])]
    libraries = frozenset(name.split(".")[0] for name in imported) & COMPUTING.keys()
    return _Read(digest, tuple(sorted({*own} - {module})), libraries)


@cache
def _remembered() -> Remembered:
    """Digests of trees, and what they import, by the bytes they are parsed from, which takes a second for all."""
    return Remembered(__file__)


def _beside(path: Path, name: str) -> list[Path]:
    """Files that an import of this name may read from the folder of a file."""
    package = path.parent / name
    if (package / "__init__.py").is_file():
        return sorted(package.rglob("*.py"))
    return [file for file in (package.with_suffix(".py"),) if file.is_file()]


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module may import; some of them are functions or classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _Plain(ast.NodeTransformer):
    """Leaves out what no result depends on: docstrings, the words of errors, log messages and progress bars."""

    def _without_docstring(self, node: Any) -> Any:
        first = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        logs = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
        return ast.copy_location(ast.Pass(), node) if logs else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "tqdm":
            node.keywords = []
        return self.generic_visit(node)
