"""The layers of the package, as pyproject.toml states them for import-linter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on the package in a folder."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "planted", "broken"),
    [
        ("data/pairs.py", "import genies.report.page", "A room imports what stands below it"),
        ("store/blocks.py", "import polars", "What computes and what stores is light"),
        (None, None, None),
    ],
)
def test_an_import_from_a_room_above_or_of_what_is_heavy_breaks_a_contract(
    tmp_path: Path, module: str | None, planted: str | None, broken: str | None
) -> None:
    shutil.copytree(ROOT / "genies", tmp_path / "genies", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    if module:
        path = tmp_path / "genies" / module
        path.write_text(path.read_text(encoding="utf-8") + f"\n{planted}\n", encoding="utf-8")
    result = linted(tmp_path)
    assert result.returncode == (1 if broken else 0), result.stdout + result.stderr
    assert broken is None or f"{broken} BROKEN" in result.stdout.splitlines()
