"""Digests that decide what is computed again: of values, of files, and of the code that a stage runs."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE_FOLDER = Path(__file__).parent
DIGEST_LENGTH = 32
"""Hexadecimal digits kept of a SHA-256 (128 bits)."""


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

    Comments, docstrings and layout play no part, so that only edits that can change a result change the digest.
    Templates beside a module (``*.html``, ``*.css``, ``*.js``) count as part of it when they lie in its folder.

    Args:
        modules: dotted names of modules of this package, or paths of Python files outside it.
    """
    found: dict[str, str] = {}
    queue = [str(module) for module in modules]
    while queue:
        module = queue.pop()
        if module not in found:
            digest, imported = _module_digest(module)
            found[module] = digest
            queue.extend(imported)
    return value_digest(sorted(found.values()))


def own_code_digest(*modules: str) -> str:
    """Digest of the syntax trees of these modules alone, whatever they import.

    For names of things that are dear to make: ``modules`` are those that decide their bytes, no others.
    """
    return value_digest([_module_digest(module)[0] for module in modules])


def _module_path(module: str) -> Path | None:
    """File of a module of this package or of a path; None for names that are no module (classes, functions)."""
    if module.endswith(".py"):
        return Path(module)
    path = PACKAGE_FOLDER.joinpath(*module.split(".")[1:])
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def _module_digest(module: str) -> tuple[str, tuple[str, ...]]:
    """Of a file of the user's own afresh at each call: it may be edited while this process runs."""
    return _read_module(module) if module.endswith(".py") else _remembered_module(module)


@cache
def _remembered_module(module: str) -> tuple[str, tuple[str, ...]]:
    return _read_module(module)


def _read_module(module: str) -> tuple[str, tuple[str, ...]]:
    path = _module_path(module)
    if path is None:
        raise ValueError(f"{module}: no such module of genies")
    tree = ast.parse(path.read_bytes(), filename=str(path))
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        _drop_docstring(node)
    imported = tuple(sorted({n for n in imported if n.split(".")[0] == "genies" and _module_path(n) is not None}))
    beside = [
        file_sha256(file)
        for file in sorted(path.parent.iterdir())
        if file.suffix in {".html", ".css", ".js"} and path.parent != PACKAGE_FOLDER
    ]
    return value_digest([ast.dump(tree), beside]), imported


def _drop_docstring(node: ast.AST) -> None:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        body = node.body
        first = body[0].value if body and isinstance(body[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            node.body = body[1:] or [ast.Pass()]
