"""The configuration's documentation, generated from its schema."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from genies.config.load import load_config
from genies.config.sections import Config
from genies.data.shifts import list_names
from genies.interventions.base import Intervention
from genies.interventions.parameters import Parameter
from genies.interventions.registry import available, load_class
from genies.interventions.text import TextIntervention
from genies.options import default_of, options_of

HEAD = """# Configuration

A configuration is a YAML file that names its `run`. `config.yaml` is the demo and the default; another is taken with
`snakemake --configfile FILE`, and single keys with `--config key=value`. Unknown keys are refused. Paths are relative
to the folder in which Snakemake runs.

With the first line `# yaml-language-server: $schema=schema.json`, as the files here have it, an editor completes keys and
marks mistakes (`shifts.schema.json` is for shift lists).

A plain name under `shifts` means `config/shifts/<name>.yaml` in the folder in which Snakemake runs, or else for the
list of that name that comes with the package: {lists}. So it means something in every folder.

The tables below are generated from the files of this folder and from the schema in `genies/config/sections.py`.

## Ready configurations

| file | what | models | shifts | interventions |
|---|---|---|---|---|
{ready}
`data_archive` is yours to name in all but the demo, and so is the model where the table has folders that begin with `./`.

## In another workflow

The package must be installed where Snakemake runs (`pip install` with the folder or URL of the repository). Then

- `snakedeploy deploy-workflow URL FOLDER --tag TAG` copies this folder and writes a Snakefile that uses genies as a
  module. It always loads `config/config.yaml`, the demo's: copy the configuration that you want over it. (A second file,
  given with `--configfile`, would be mixed with the first.)
- a workflow of your own takes the rules with a configuration that it brings itself:

```python
module genies:
    snakefile: "path/to/genies/workflow/Snakefile"  # or github("owner/genies", path="workflow/Snakefile", tag="…")
    config: config["genies"]


use rule * from genies as genies_*
```

[docs/deployment.md](../docs/deployment.md) has more: containers, environments, clusters.
"""

# Rows of a Markdown table cannot be broken.
# ruff: noqa: E501
PROTOCOLS = """## `protocol`

`corrected` is the default. `paper` does what was published, for comparison with published figures. One intervention can
differ from the rest of the run: `intervention_parameters: {mms: {protocol: paper}}`.

| intervention | `paper` | `corrected` |
|---|---|---|
| all probes | ties between heads or layers go to the higher layer, then head; `ties.csv` has the spread over 20 other orders | to the lower layer, then head |
| all probes | the regressions that rank heads or layers stop after 1,000 iterations | they reach their optimum |
| all probes | one fit: sites are chosen on validation pairs (30 %), directions come from all pairs, and the calibrator is fitted on the validation pairs, which both have seen | six fits: one for each of five folds, which scores the pairs of its fold, and a last one on all pairs. The calibrator is fitted on the scores of the folds, so it sees only pairs that the fit behind the score has not |
| all probes | training pairs are divided by example | by prompt: examples with the same prompt stay together |
| all probes | the calibrator has an intercept: p(a, b) + p(b, a) may differ from 1 | no intercept: it is 1 |
| all probes | the calibrator's labels are certain, so that it may become as good as certain | Platt's targets: with m pairs a right one counts as right with probability (m + 1) / (m + 2) |
| few_shot | shots are drawn for each prompt | each source has a few sets of shots; `sets.csv` has the spread over them |
| zero_shot, few_shot | probability 0, ½ or 1, by the sum of log-probabilities | softmax over the sums (or means, by `normalization`) |
| ccs | one seed; texts of the first 100 examples, and later the test texts, drawn with replacement; centred with the test set's own mean; the better of both signs on the test labels | the mean over ten seeds (`seeds`), whose spread is part of the interval; all training texts, the source's means, sign fixed once on the source's training labels |
| all other probes | not published; `paper` changes the shared steps alone | as described |

The protocol of the run also decides, for all interventions alike:

| what | `paper` | `corrected` |
|---|---|---|
| `framing: truthfulness` | a question about every response: of k responses k − 1 have the answer No, so always answering No is mostly right | one question about the best response and one about a worse one, so that always giving one answer scores 0.5 |
| capability | the intervention that is most accurate on the reference's test pairs, and that accuracy | the intervention with the highest out-of-fold accuracy on the reference's training pairs (or by cross-fitting on the test pairs), and its accuracy on clean test pairs |
| elicitation | accuracy on all test pairs ÷ capability | accuracy on clean test pairs ÷ capability |
"""


PARAMETERS = """## `intervention_parameters`

What each intervention takes. All take `protocol` and `seed`, which are those of the run unless set.

| intervention | parameter | default | meaning |
|---|---|---|---|
"""


def render(folder: Path) -> str:
    """The text of ``config/README.md``, the file in the folder of the ready configurations."""
    lists = ", ".join(f"`{name}`" for name in list_names())
    ready = "".join(map(_ready, sorted(folder.glob("*.yaml"))))
    parts = [HEAD.format(lists=lists, ready=ready), _table("Keys", Config), PROTOCOLS, _parameters()]
    keys = get_type_hints(Config)
    parts += [_table(f"`{title}`", section) for key in keys for title, section in _sections(key, keys[key])]
    return "\n".join(parts)


def _ready(file: Path) -> str:
    """Row of a ready configuration; what it is, is the first sentence of its comment."""
    text = file.read_text(encoding="utf-8")
    config = load_config(yaml.safe_load(text))
    comment = [line.removeprefix("# ") for line in text.split("\nrun:")[0].splitlines()[1:]]
    what, _, _ = " ".join(comment).partition(". ")
    models = ", ".join(f"`{model}`" for model in config.models)
    shifts = ", ".join(f"`{Path(name).stem}`" for name in config.shifts)
    return f"| `{file.name}` | {what.removesuffix('.')} | {models} | {shifts} | {len(config.interventions)} |\n"


def _parameters() -> str:
    """Parameters of every intervention, those of the bases once."""
    of_all, of_texts = Intervention.parameters(), TextIntervention.parameters()
    rows = [*_rows("all", of_all, {}), *_rows("all that read texts", of_texts, of_all)]
    for name in available():
        kind = load_class(name)
        rows += _rows(f"`{name}`", kind.parameters(), of_texts if issubclass(kind, TextIntervention) else of_all)
    return PARAMETERS + "".join(rows)


def _rows(title: str, parameters: Mapping[str, Parameter], known: Collection[str]) -> Iterator[str]:
    for name, parameter in sorted(parameters.items()):
        if name not in known:
            yield f"| {title} | `{name}` | `{json.dumps(parameter.default)}` | {parameter.meaning} |\n"


def _sections(title: str, annotation: Any) -> Iterator[tuple[str, type]]:
    """The sections that a key holds, each with its title: of one by names, ``key.<name>``."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield title, annotation
    for inner in get_args(annotation):
        yield from _sections(f"{title}.<name>" if get_origin(annotation) is dict else title, inner)


def _table(title: str, section: type) -> str:
    rows = [f"| `{name}` | {_shown(default)} | {meaning} |" for name, default, meaning in _keys(section)]
    return "\n".join([f"## {title}", "", "| key | default | meaning |", "|---|---|---|", *rows, ""])


def _keys(section: type[Any]) -> Iterator[tuple[str, Any, str]]:
    """Name, default and meaning of every key of a section."""
    if is_dataclass(section):
        for one in options_of(section):
            yield one.name, default_of(one), one.metadata["description"]
        return
    for name, key in section.model_fields.items():
        yield name, key.get_default(call_default_factory=True), str(key.description)


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if is_dataclass(default) or isinstance(default, BaseModel):
        return "see below"
    return f"`{json.dumps(default)}`"
