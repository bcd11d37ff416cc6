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

# Rows of a Markdown table cannot be broken.
# ruff: noqa: E501
PROTOCOLS = """## `protocol`

`corrected` is the default. `paper` does what was published, for comparison with published figures. One intervention can
differ from the rest of the run: `intervention_parameters: {mms: {protocol: paper}}`.

| intervention | `paper` | `corrected` |
|---|---|---|
| all probes | ties between heads or layers go as NumPy's unstable sort leaves them | to the lower layer, then head |
| mms, lat_stim_1, lat_stim_2, cra | directions from fit and validation pairs together | from fit pairs alone, so that the calibrator's data are unseen |
| all probes | the calibrator has an intercept: p(a, b) + p(b, a) may differ from 1 | no intercept: it is 1 |
| zero_shot, few_shot | probability 0, ½ or 1, by the sum of log-probabilities | softmax over the sums (or means, by `normalization`) |
| ccs | first 100 examples, texts drawn with replacement, centred with the test set's own mean, the better of both signs on the test labels | all training texts, the source's means, sign fixed once on the source's training labels |
| lat_pca, logistic, mass_mean_whitened | not published; `paper` changes the shared steps alone | as described |
"""


def render() -> str:
    """The text of ``config/README.md``."""
    parts = [HEAD, _table("Keys", Config), PROTOCOLS]
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
