"""The configuration refuses what it does not know, and says what is near."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from project import REPOSITORY

from genies.config.load import load_config, read_config
from genies.config.sections import Config
from genies.errors import ConfigError

GOOD = {"run": "mine", "models": ["folder/model"], "shifts": ["shifts.yaml"]}


def test_defaults_fill_what_is_not_given() -> None:
    config = load_config(GOOD)
    assert config.protocol == "corrected"
    assert config.extraction.dtype == "float32"


def test_a_single_model_takes_the_place_of_the_list() -> None:
    assert load_config({**GOOD, "model": "owner/other"}).chosen_models == ("owner/other",)


BAD_VALUES = [
    ({"wordings": 10**9}, "wordings: Input should be less than or equal to 5"),
    ({"wordings": [2]}, "wordings: should be a number"),
    ({"permutations": -1}, "permutations: Input should be greater than or equal to 0"),
    ({"permutations": 1}, "permutations: 1 have no middle 95 %; set at least 39, or 0"),
    ({"permutations": 38}, "permutations: 38 have no middle 95 %; set at least 39, or 0"),
    ({"permutations": 10**9}, "permutations: Input should be less than or equal to 10000"),
    ({"learning_curves": 5}, "learning_curves: should be a mapping of keys to values; `{}` is an empty one"),
    ({"few_labels": [8]}, "few_labels: should be a mapping of keys to values; `{}` is an empty one"),
    ({"revisions": 3}, "revisions: should be a mapping of keys to values; `{}` is an empty one"),
    ({"extraction": 3}, "extraction: should be a mapping of keys to values; `{}` is an empty one"),
    ({"learning_curves": {"sizes": "10,20"}}, "learning_curves.sizes: should be a list"),
    ({"learning_curves": {"sizes": [0]}}, "learning_curves.sizes.0: Input should be greater than or equal to 8"),
    ({"learning_curves": {"sizes": [10**9]}}, "learning_curves.sizes.0: Input should be less than or equal to 1000000"),
    ({"few_labels": {"counts": [10**9]}}, "few_labels.counts.0: Input should be less than or equal to 1000000"),
    ({"few_labels": {"copies": 10**9}}, "few_labels.copies: Input should be less than or equal to 1000000"),
    ({"learning_curves": {"draws": 0}}, "learning_curves.draws: Input should be greater than or equal to 2"),
    ({"few_labels": {"counts": ["8"]}}, "few_labels.counts.0: should be a number"),
    ({"few_labels": {"counts": []}}, "few_labels.counts: has too few items: 0 of 1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD_VALUES)
def test_a_bad_value_of_an_analysis_is_named_with_nothing_else(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({**GOOD, **change})
    assert str(caught.value) == f"config: {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interventoins": []}, "unknown key interventoins; did you mean interventions"),
        ({"extraction": {"dtyp": "float32"}}, "unknown key extraction.dtyp; did you mean dtype"),
        ({"extraction": {"dtype": "int8"}}, "extraction.dtype"),
        ({"sweep": {"interventions": {}, "trian": 1}}, "unknown key sweep.trian; did you mean train"),
        ({"mixtures": {"m": {"sorce": "a"}}}, "unknown key mixtures.m.sorce; did you mean source"),
        ({"limit": {"trian": 4}}, "unknown key limit.trian; did you mean train"),
        ({"limit": {"train": 0}}, "limit.train"),
        ({"limit": {"distributions": {"north": {"trian": 4}}}}, "should be 'train' or 'test'"),
        ({"run": "../elsewhere"}, "run"),
        ({"run": ""}, "run"),
        ({"models": []}, "no model is named"),
        ({"models": ["a/same", "b/same"]}, "two models are called 'same'"),
        ({"distributions": ["a/same", "b/same/"]}, "two distributions are called 'same'"),
        ({"models": ["owner/$(reboot)"]}, "not a plain name"),
        # To a verb they would be options.
        ({"run": "-demo"}, "'-demo' is not a plain name"),
        ({"models": ["owner/-m"]}, "'-m' is not a plain name"),
        ({"interventions": ["own/-probe.py"]}, "'-probe' is not a plain name"),
        ({"plugins": {"-p": "folder"}}, "'-p' is not a plain name"),
        ({"mixtures": {"-m": {"source": "a", "other": "b", "percent": 5}}}, "'-m' is not a plain name"),
        ({"shifts": []}, "shifts"),
        ({"seed": -1}, "seed"),
        ({"protocol": "published"}, "protocol"),
        ({"extraction": {"device": "cpu; reboot"}}, "is no device"),
    ],
)
def test_mistakes_are_refused_in_one_line(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({**GOOD, **change})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="run is missing"):
        load_config({"models": ["m"], "shifts": ["s"]})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
known_keys = st.sampled_from(sorted(Config.model_fields))
inner_keys = st.sampled_from(["dtype", "device", "layers", "heads", "batch_tokens", "source", "low"])
sections = st.dictionaries(inner_keys, anything)


@settings(max_examples=350)
@given(st.dictionaries(known_keys | st.text(max_size=8) | st.integers(), anything | sections, max_size=5))
@example({"run": "\ud800"})
@example({"intervention_parameters": {"mms": {"x": float("nan")}}})
def test_any_values_are_a_configuration_or_one_line_of_refusal(values: dict) -> None:
    try:
        config = load_config({**GOOD, **values})
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert json.loads(config.model_dump_json())["run"] == config.run


def test_lists_and_mappings_of_the_command_line_mean_what_they_mean_in_a_file() -> None:
    entries = ["extraction={layers: [0, 4], heads: none}", "further_seeds=[1, 2]", "interventions=[mms, '7']",
               "limit={train: 50, distributions: {north: {test: null}}}", "causal={texts: 20, strengths: [0.5, 2]}",
               "learning_curves={sizes: [10]}", "few_labels={counts: [4], copies: 2}",
               "intervention_parameters={lora: {learning_rate: 2.0e-4, steps: 10, quantization: null}}"]  # fmt: skip
    config = read_config([REPOSITORY / "config/config.yaml"], entries)
    assert config.extraction.layers == (0, 4) and config.extraction.heads == "none"
    assert config.further_seeds == (1, 2) and config.interventions == ("mms", "7")
    assert config.limit.train == 50
    assert config.limit.distributions == {"north": {"test": None}}
    lora = config.intervention_parameters["lora"]
    assert (lora["learning_rate"], lora["steps"], lora["quantization"]) == (2.0e-4, 10, None)
    assert config.causal and (config.causal.texts, config.causal.strengths, config.causal.draws) == (20, (0.5, 2), 19)
    assert config.learning_curves and config.learning_curves.sizes == (10,)
    assert config.few_labels and (config.few_labels.counts, config.few_labels.copies) == ((4,), 2)
