"""Figures of the reliability tests: printed, and collected for ``docs/reliability.md`` by ``make torture``."""

from __future__ import annotations

import os
from pathlib import Path


def tell(line: str) -> None:
    """Print a line, and add it to the file that the environment names."""
    print(line)
    if file := os.environ.get("GENIES_FIGURES"):
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(f"- {line}\n")
