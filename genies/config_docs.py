"""The configuration's documentation, generated from its schema."""

from __future__ import annotations

import json

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genies.config import Config

HEAD = """# Configuration

A configuration is a YAML file that names its `run`. `config.yaml` is the demo and the default; another is taken with
`snakemake --configfile FILE`, and single keys with `--config key=value`. Unknown keys are refused. Paths are relative
to the folder in which Snakemake runs.

The tables below are generated from the schema in `genies/config.py`.
"""


def render() -> str:
    """The text of ``config/README.md``."""
    parts = [HEAD, _table("Keys", Config)]
    for name, field in Config.model_fields.items():
        if _is_section(field):
            parts.append(_table(f"`{name}`", field.annotation))
    return "\n".join(parts)


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _table(title: str, section: type[BaseModel]) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        rows.append(f"| `{name}` | {_default(field)} | {field.description} |")
    return "\n".join([f"## {title}", "", *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if _is_section(field):
        return "see below"
    return f"`{json.dumps(field.default)}`"
