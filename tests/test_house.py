"""The limits of the house: how long a file, a function and a class of the package may be."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "genies"
FILE_LINES, FUNCTION_LINES, METHODS = 350, 40, 15


def excesses(source: str) -> list[str]:
    """What of a module is longer than the house allows. Lines of a function's docstring are not counted."""
    found = [f"{lines} lines"] if (lines := source.count("\n")) > FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node) - (_lines(node.body[0]) if ast.get_docstring(node) else 0)
            found += [f"{node.name}: {lines} lines"] if lines > FUNCTION_LINES else []
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body)
            found += [f"{node.name}: {methods} methods"] if methods > METHODS else []
    return found


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_nothing_in_the_package_is_longer_than_the_house_allows() -> None:
    files = {file: excesses(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")}
    assert len(files) > 100
    assert {str(file.relative_to(PACKAGE)): found for file, found in files.items() if found} == {}


def test_what_is_longer_is_found() -> None:
    docstring = '    """Says.\n\n    More.\n    """\n'
    body = "    x = 1\n"
    assert excesses(f"def f():\n{docstring}{body * 39}") == []
    assert excesses(f"def f():\n{docstring}{body * 40}") == ["f: 41 lines"]
    method = "    def m(self): ...\n"
    assert excesses(f"class C:\n{method * 15}") == []
    assert excesses(f"class C:\n{method * 16}") == ["C: 16 methods"]
    assert excesses("x = 1\n" * 350) == []
    assert excesses("x = 1\n" * 351) == ["351 lines"]
