"""The JSON schemas that editors use say what the readers say."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import ValidationError

from genies.config.schema import config_schema, shifts_schema
from genies.config.sections import Config, Extraction, Folders, Sweep
from genies.data.shifts import KEYS, Shift, parse_shifts
from genies.errors import DataError

CONFIG = Path(__file__).parents[1] / "config"
EDITOR = Draft7Validator(config_schema())
LISTS = Draft7Validator(shifts_schema())
GOOD = {"run": "mine", "models": ["folder/model"], "shifts": ["genies15"]}
MIXTURE = {"source": "a", "other": "b", "percent": 5}
GRID = {"low": 0.1, "high": 1, "count": 3}


def problems(values: dict) -> list[tuple]:
    """Where the typed schema finds problems; () is the configuration as a whole."""
    try:
        Config.model_validate(values)
    except ValidationError as error:
        return [problem["loc"] for problem in error.errors()]
    return []


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_schemas_are_schemas() -> None:
    for validator in (EDITOR, LISTS):
        Draft7Validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.name)
def test_every_ready_configuration_passes_both_and_tells_editors_its_schema(path: Path) -> None:
    EDITOR.validate(read(path))
    assert problems(read(path)) == []
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize("path", sorted(CONFIG.glob("shifts/*.yaml")), ids=lambda path: path.name)
def test_every_shift_list_passes_and_tells_editors_its_schema(path: Path) -> None:
    LISTS.validate(read(path))
    assert path.read_text().startswith("# yaml-language-server: $schema=../shifts.schema.json\n")


@pytest.mark.parametrize(
    "change",
    [
        {"interventoins": []},
        {"extraction": {"dtyp": "float32"}},
        {"sweep": {"interventions": {}, "trian": 1}},
        {"limit": {"trian": 1}},
        {"limit": {"test": 0}},
        {"limit": {"train": "60"}},
        {"limit": {"distributions": {"a": 60}}},
        {"limit": {"distributions": {"a": {"trian": 60}}}},
        {"limit": {"distributions": {"a": {"train": 0}}}},
        {"mixtures": {"m": {**MIXTURE, "sorce": "a"}}},
        {"mixtures": {"m": {"source": "a", "other": "b"}}},
        {"mixtures": {"../m": MIXTURE}},
        {"mixtures": {"m": {**MIXTURE, "percent": 0}}},
        {"mixtures": {"m": {**MIXTURE, "percent": 101}}},
        {"plugins": {".m": "folder"}},
        {"sweep": {"interventions": {"lora": {"rank": {**GRID, "count": 0}}}}},
        {"run": "a b"},
        {"run": "-a"},
        {"run": "a\n"},
        {"run": 3},
        {"models": "folder/model"},
        {"models": []},
        {"models": [], "model": ""},
        {"shifts": []},
        {"seed": -1},
        {"seed": "1"},
        {"seed": True},
        {"seed": 1.5},
        {"permutations": 1},
        {"permutations": 38},
        {"matrix": "yes"},
        {"matrix": 1},
        {"protocol": "published"},
        {"framing": "truth"},
        {"interventions": []},
        {"intervention_parameters": {"mms": 16}},
        {"extraction": {"dtype": "int8"}},
        {"extraction": {"layers": [-1]}},
        {"extraction": {"device": "cpu; reboot"}},
        {"extraction": {"batch_tokens": 0}},
        {"extraction": {"jobs_per_model": 0}},
    ],
    ids=str,
)
def test_both_refuse_the_same_mistakes(change: dict) -> None:
    assert problems({**GOOD, **change})
    assert not EDITOR.is_valid({**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"mixtures": {"m": MIXTURE}, "plugins": {"p": "folder"}},
        {"sweep": {"interventions": {"lora": {"rank": GRID, "alpha": [1, 2]}}}},
        {"models": [], "model": "owner/name"},
        {"limit": {"train": 60, "test": None, "distributions": {"a": {"train": None}, "b": {"train": 1, "test": 2}}}},
        {"extraction": {"layers": [0, 4], "heads": "none", "batch_tokens": 4096, "device": "cuda:1"}},
        {"permutations": 0},
        {"permutations": 39},
        {"seed": 2.0, "run": "modèle-1", "interventions": ["mms", "own/probe.py"]},
    ],
    ids=str,
)
def test_both_accept_the_same(change: dict) -> None:
    EDITOR.validate({**GOOD, **change})
    assert problems({**GOOD, **change}) == []


# What YAML has beyond JSON (infinities, binaries, keys that are no text) is not for a JSON schema to judge, and beyond
# these sizes Python's, Rust's and JavaScript's numbers differ.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.text(max_size=8),
    st.sampled_from(["all", "auto", "cpu", "response", "nf4", "1"]),
)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=2)
one_of_section = st.sampled_from(
    [*(field.name for field in fields(Extraction)), *Folders.model_fields, *Sweep.model_fields]
)
sections = st.dictionaries(one_of_section, values, max_size=2)
grids = st.fixed_dictionaries({"low": scalars, "high": scalars, "count": scalars})
mixtures = st.fixed_dictionaries({"source": scalars, "other": scalars, "percent": scalars})
named = st.dictionaries(st.text(max_size=3), mixtures | st.dictionaries(st.text(max_size=3), grids, max_size=2))
sweeps = st.fixed_dictionaries({"interventions": named}, optional={"train": scalars, "held_out": scalars})
splits = st.dictionaries(st.sampled_from(["train", "test", "tests"]), scalars, max_size=2)
limits = st.dictionaries(
    st.sampled_from(["train", "test", "distributions", "seed"]),
    scalars | st.dictionaries(st.text(max_size=3), scalars | splits, max_size=2),
    max_size=3,
)
changes = st.one_of(
    *(st.fixed_dictionaries({key: values}) for key in Config.model_fields),
    st.fixed_dictionaries({"extraction": sections, "folders": sections}),
    st.fixed_dictionaries({"mixtures": named}),
    st.fixed_dictionaries({"limit": limits}),
    st.fixed_dictionaries({"sweep": sweeps}),
    st.dictionaries(st.text(max_size=4), scalars, max_size=1),
)


@settings(max_examples=1500)
@given(changes)
def test_editors_accept_what_the_reader_accepts_and_pass_only_what_depends_on_several_keys(change: dict) -> None:
    found = problems({**GOOD, **change})
    if EDITOR.is_valid({**GOOD, **change}):
        assert all(place == () for place in found)
    else:
        assert found


BAD_SHIFTS = [
    [],
    {"source": "a", "target": "b"},
    ["a to b"],
    [{"source": "a"}],
    [{"source": "a", "traget": "b"}],
    [{"source": ".a", "target": "b"}],
    [{"source": "a", "target": "../b"}],
    [{"source": "a", "target": "b\n"}],
    [{"source": "a", "target": "b" * 129}],
    [{"source": "a", "target": "b", "label": ""}],
    [{"source": "a", "target": "b", "category": "x\ny"}],
    [{"source": "a", "target": "b", "published_entries": 0}],
    [{"source": "a", "target": "b", "published_entries": 1.5}],
]


@pytest.mark.parametrize("entries", BAD_SHIFTS, ids=str)
def test_both_refuse_the_same_shifts(entries: Any) -> None:
    assert not LISTS.is_valid(entries)
    with pytest.raises(DataError):
        parse_shifts(entries, "list")


def test_every_key_of_a_shift_is_described() -> None:
    assert tuple(sorted(KEYS)) == tuple(sorted(Shift.__dataclass_fields__))
    LISTS.validate([{"source": "a", "target": "b", "label": "my own", "published_entries": 2, "note": "é"}])
