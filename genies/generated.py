"""The files of the repository that are generated: ``python -m genies.generated`` (or ``make docs``) writes them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from genies.config_docs import render
from genies.config_schema import config_schema, shifts_schema

ENVIRONMENT = """# The environment that pyproject.toml describes, for conda and mamba users; `make docs` writes it.
# Python comes from conda-forge, packages from pip in the very versions that `make` installs.
name: genies
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={python}
  - pip
  - pip:
{packages}
      - --editable .
"""


def generated(repository: Path) -> dict[Path, str]:
    """Text of every generated file, by its path in the repository."""
    return {
        Path("config/README.md"): render(repository / "config"),
        Path("config/schema.json"): _json(config_schema()),
        Path("config/shifts.schema.json"): _json(shifts_schema()),
        Path("environment.yml"): environment(repository / "pyproject.toml"),
    }


def environment(pyproject: Path) -> str:
    """The conda environment with the oldest Python that is allowed and the pinned packages."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    (python,) = re.fullmatch(r">=(3\.\d+)", project["requires-python"]).groups()
    packages = "\n".join(f"      - {package}" for package in project["dependencies"])
    return ENVIRONMENT.format(python=python, packages=packages)


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every generated file below the working folder."""
    for path, text in generated(Path()).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
