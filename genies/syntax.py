"""Source files as digests see them: what a module imports and names, and its tree without what no result depends on."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from genies.remembered import Remembered

LOGGED = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
"""Methods of a logger whose calls only say something."""
SPOKEN = (
    ast.Attribute, ast.BinOp, ast.Constant, ast.FormattedValue, ast.JoinedStr, ast.Name, ast.Tuple, ast.expr_context,
    ast.operator,
)  # fmt: skip
"""What a message may be made of; an attribute whose reading does something is passed over."""
LONGEST_NAME = 255
"""Characters that the name of a file may have."""
_WHOLE = re.compile(rb"__doc__|getdoc|getsource|getcomments|linecache")
_BY_NAME = re.compile(rb"importlib|__import__|runpy|pkgutil|\bexec\b")
_PLACES = re.compile(rb"\bimport\b[^\n]*\bsys\b|\bfrom\s+sys\b|addsitedir")
_LOCATED = re.compile(rb"__file__|importlib|pkgutil")


class Parsed(NamedTuple):
    """What a source file comes to.

    Attributes:
        digest: of its tree, without comments, layout and what no result depends on.
        imported: dotted names that it may import; some of them are functions or classes.
        named: texts in it that may name a file or a folder; none where it belongs to genies.
        whole: whether it may read docstrings or sources, so that every byte counts.
        by_name: whether it may import modules whose names it makes up.
        places: whether it may change where modules are looked for.
        located: whether it may ask where it lies, and so find files whose names it makes up.
    """

    digest: str
    imported: tuple[str, ...]
    named: tuple[str, ...] = ()
    whole: bool = False
    by_name: bool = False
    places: bool = False
    located: bool = False


def parsed(source: bytes, path: str, own: bool) -> Parsed:
    """Parse a file, unless that was done before; ``save`` keeps what is new for other processes.

    Args:
        source: its bytes.
        path: where it lies, for errors.
        own: whether it is the user's own. Of such a file no more is left out than docstrings, and messages to a logger
            that call nothing: what it raises, it may catch and read.

    Raises:
        SyntaxError: it is no Python.
    """
    name = hashlib.sha256(source).hexdigest() + "-own" * own
    if (known := _remembered().get(name)) is None:
        known = _parse(source, path, own)
        _remembered().add(name, known)
    digest, imported, named, *rest = known
    return Parsed(digest, tuple(imported), tuple(named), *rest)


def save() -> None:
    """Keep what was parsed for other processes."""
    _remembered().save()


@cache
def _remembered() -> Remembered:
    """Digests of trees, and what they import, by the bytes they are parsed from, which takes a second for all."""
    return Remembered(__file__)


def _parse(source: bytes, path: str, own: bool) -> list[Any]:
    tree = ast.parse(source, filename=path)
    imported = sorted(set(_imports(tree)))
    named = sorted(set(_texts(tree))) if own else []
    found = [bool(pattern.search(source)) if own else False for pattern in (_WHOLE, _BY_NAME, _PLACES, _LOCATED)]
    plain = (_OwnPlain if own else _Plain)(_loggers(tree)).visit(tree)
    text = json.dumps(ast.dump(plain)).encode("ascii")
    return [hashlib.sha256(text).hexdigest(), imported, named, *found]


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _imports_by_name(node.func):
            yield from (text for text in map(_text, node.args[:1]) if text and text[0] != ".")


def _imports_by_name(called: ast.expr) -> bool:
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in ("import_module", "__import__", "run_module")


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _texts(tree: ast.AST) -> Iterator[str]:
    """Texts in a tree that may be names of files; parts of texts that are put together count, too."""
    for node in ast.walk(tree):
        if (text := _text(node)) and len(text) <= LONGEST_NAME and text.isprintable():
            yield text


def _loggers(tree: ast.Module) -> frozenset[str]:
    """Names that a module binds to a logger, and nowhere to anything else; ``print`` where it is Python's own."""
    bound: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.append(node.id)
        elif isinstance(node, ast.arg):
            bound.append(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.append(node.name)
        elif isinstance(node, ast.alias):
            bound.append((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.append(node.name)
    loggers = {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_logger(node.value)
    }
    once = frozenset(name for name in loggers if bound.count(name) == 1)
    return frozenset() if "*" in bound else once | {"print"}.difference(bound)


def _is_logger(value: ast.expr) -> bool:
    called = value.func if isinstance(value, ast.Call) else None
    return isinstance(called, ast.Attribute) and ast.unparse(called) == "logging.getLogger"


class _Plain(ast.NodeTransformer):
    """Leaves out what no result of genies depends on: docstrings, words of errors, log messages and progress bars."""

    def __init__(self, loggers: frozenset[str]) -> None:
        self.loggers = loggers

    def _without_docstring(self, node: Any) -> Any:
        first = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
        if _text(first) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.copy_location(ast.Pass(), node) if self._says(node.value) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "tqdm":
            node.keywords = []
        return self.generic_visit(node)

    def _says(self, value: ast.expr) -> bool:
        """Whether an expression is a message to a logger of the module."""
        called = value.func if isinstance(value, ast.Call) else None
        if not isinstance(called, ast.Attribute) or called.attr not in LOGGED:
            return False
        return isinstance(called.value, ast.Name) and called.value.id in self.loggers


class _OwnPlain(_Plain):
    """The same of a file of the user's own, where errors and progress bars may be anything."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.generic_visit(node)

    def _says(self, value: ast.expr) -> bool:
        """Whether it is a message, or printed, of constants and variables: calls and items may do anything."""
        printed = isinstance(value, ast.Call) and self._prints(value)
        if not (printed or super()._says(value)):
            return False
        assert isinstance(value, ast.Call)
        given = [*value.args, *(keyword.value for keyword in value.keywords)]
        return all(isinstance(node, SPOKEN) for one in given for node in ast.walk(one))

    def _prints(self, call: ast.Call) -> bool:
        alone = isinstance(call.func, ast.Name) and call.func.id == "print" and "print" in self.loggers
        return alone and not any(keyword.arg in ("file", None) for keyword in call.keywords)
