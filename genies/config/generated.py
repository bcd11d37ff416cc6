"""The files of the repository that are generated, by ``python -m genies.config.generated`` (or ``make docs``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genies.config.docs import render
from genies.config.schema import config_schema, shifts_schema


def generated(repository: Path) -> dict[Path, str]:
    """Text of every generated file, by its path in the repository."""
    return {
        Path("config/README.md"): render(repository / "config"),
        Path("config/schema.json"): _json(config_schema()),
        Path("config/shifts.schema.json"): _json(shifts_schema()),
    }


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every generated file below the working folder."""
    for path, text in generated(Path()).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
