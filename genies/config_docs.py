"""The configuration's documentation, generated from its schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genies.config import Config, Extraction, Folders, Mixture, Sweep
from genies.interventions.base import Intervention
from genies.interventions.registry import available, load_class
from genies.tuning.base import TextIntervention

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


PARAMETERS = """## `intervention_parameters`

What each intervention takes, with the defaults. All take `protocol` and `seed`, which are those of the run unless set.
Those that read texts with a model of their own also take {text}.
The docstrings of `genies/interventions/<name>.py` say what each one means.

| intervention | parameters |
|---|---|
"""
SECTIONS: dict[str, type[BaseModel]] = {
    "extraction": Extraction,
    "mixtures.<name>": Mixture,
    "sweep": Sweep,
    "folders": Folders,
}


def render() -> str:
    """The text of ``config/README.md``."""
    parts = [HEAD, _table("Keys", Config), PROTOCOLS, _parameters()]
    parts += [_table(f"`{name}`", section) for name, section in SECTIONS.items()]
    return "\n".join(parts)


def _parameters() -> str:
    """Parameters of every intervention, those of each shared base once."""
    shared, of_texts = _defaults(Intervention), _defaults(TextIntervention)
    rows = []
    for name in available():
        kind = load_class(name)
        general = of_texts if issubclass(kind, TextIntervention) else shared
        own = {key: value for key, value in _defaults(kind).items() if key not in general}
        rows.append(f"| `{name}` | {_values(own) or 'none'} |\n")
    return PARAMETERS.format(text=_values({k: v for k, v in of_texts.items() if k not in shared})) + "".join(rows)


def _defaults(kind: type[Intervention]) -> dict[str, Any]:
    """Default of each parameter, the most special class's; null also stands for one that has to be given."""
    defaults: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if "__init__" in vars(base):
            signature = inspect.signature(base.__init__).parameters
            defaults |= {name: p.default for name, p in signature.items() if p.kind is p.KEYWORD_ONLY}
    return {name: defaults[name] for name in kind.parameter_names()}


def _values(defaults: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}: {json.dumps(value)}`" for name, value in defaults.items())


def _table(title: str, section: type[BaseModel]) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        rows.append(f"| `{name}` | {_default(field)} | {field.description} |")
    return "\n".join([f"## {title}", "", *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return "see below"
    return f"`{json.dumps(field.default)}`"
