"""What an analysis declares is there: its stage, verb, rule, configuration key, interventions and tables."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from helpers import save_model, write_distribution

from genies.analyses import ANALYSES, Analysis
from genies.api.shifts import evaluate_shifts
from genies.cli import VERBS
from genies.config.load import load_config
from genies.config.sections import Config
from genies.errors import ConfigError
from genies.evaluation import tables
from genies.evaluation.measurements import table_of
from genies.plan import Plan
from genies.plan.roles import Roles
from genies.report.progress import STAGES

RULES = Path(__file__).parents[1] / "workflow/rules"


@pytest.mark.parametrize(("name", "analysis"), ANALYSES.items(), ids=[*ANALYSES])
def test_an_analysis_is_whole(name: str, analysis: Analysis) -> None:
    module, _, function = analysis.place.partition(":")
    assert callable(getattr(import_module(module), function))
    assert VERBS[name.replace("_", "-")].place == analysis.place
    rules = [file for file in RULES.glob("*.smk") if re.search(rf"^rule {name}:", file.read_text(), re.MULTILINE)]
    assert len(rules) == 1 and f'plan.files.analysis("{name}", "{{model}}")' in rules[0].read_text()
    assert analysis.key in Config.model_fields and hasattr(Roles, analysis.takes)
    assert {*analysis.tables} <= {*tables.NAMES} and all(table_of(table).rows for table in analysis.tables)
    assert name in STAGES["probe"]


@pytest.mark.parametrize("analysis", ANALYSES.values(), ids=[*ANALYSES])
def test_an_analysis_that_nothing_can_be_part_of_is_refused(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables would be empty, and nobody would know why."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("north", "south")):
        write_distribution(tmp_path / name, offset=31 * number)
    shifts = [{"source": "north", "target": "south", "label": "extreme", "category": "place"}]
    Path("shifts.yaml").write_text(yaml.safe_dump(shifts))
    save_model(tmp_path / "tiny", "llama")
    asked = {
        "run": "run", "models": ["tiny"], "shifts": ["shifts.yaml"], "distributions": ["north", "south"],
        "interventions": ["zero_shot", "random"], analysis.key: asked_for(analysis),
    }  # fmt: skip
    with pytest.raises(ConfigError, match=f"^{analysis.key}: no intervention of the run .*leave {analysis.key} out"):
        Plan(load_config(asked))


def asked_for(analysis: Analysis) -> object:
    """A value of its key; an empty section asks for the defaults."""
    if "{}" in str(Config.model_fields[analysis.key].description):
        return {}
    return True if Config.model_fields[analysis.key].default is False else {"permutations": 39}.get(analysis.key, 1)


@pytest.mark.parametrize("analysis", ANALYSES.values(), ids=[*ANALYSES])
def test_one_call_from_python_refuses_what_it_leaves_out(analysis: Analysis) -> None:
    with pytest.raises(ConfigError, match=f"{analysis.key}: is not part of evaluate_shifts"):
        evaluate_shifts("tiny", "mms", [{"source": "a", "target": "b"}], **{analysis.key: asked_for(analysis)})
