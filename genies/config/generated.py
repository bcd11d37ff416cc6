"""The files of the repository that are generated, by ``python -m genies.config.generated`` (or ``make docs``).

With ``--check`` nothing is written; files that are out of date are named, and make the exit status 1.
"""

from __future__ import annotations

import json
import sys
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


def main(check: bool = False) -> int:
    """Write generated files below the working folder, or only look. Returns the exit status."""
    stale = {path: text for path, text in generated(Path()).items() if path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        print(f"{path}: {'out of date; run make docs' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(check=sys.argv[1:] == ["--check"]))
