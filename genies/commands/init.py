"""The verb ``init``."""

from __future__ import annotations

import shlex
from pathlib import Path

from genies.config.template import write


def init(file: Path = Path("genies.yaml")) -> None:
    """Write a commented configuration to start from.

    Args:
        file: YAML file.
    """
    write(file)
    print(f"{file} is written; run it with: snakemake --cores 2 --configfile {shlex.quote(str(file))}")
