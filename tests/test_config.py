"""The configuration refuses what it does not know, and says what is near."""

from __future__ import annotations

import pytest

from genies.config import load_config
from genies.errors import ConfigError

GOOD = {"run": "mine", "models": ["folder/model"], "shifts": ["shifts.yaml"]}


def test_defaults_fill_what_is_not_given() -> None:
    config = load_config(GOOD)
    assert config.protocol == "corrected"
    assert config.extraction.dtype == "float32"


def test_a_single_model_takes_the_place_of_the_list() -> None:
    assert load_config({**GOOD, "model": "owner/other"}).chosen_models == ("owner/other",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interventoins": []}, "unknown key interventoins; did you mean interventions"),
        ({"extraction": {"dtyp": "float32"}}, "unknown key extraction.dtyp; did you mean dtype"),
        ({"extraction": {"dtype": "int8"}}, "extraction.dtype"),
        ({"run": "../elsewhere"}, "run"),
        ({"run": ""}, "run"),
        ({"models": []}, "no model is named"),
        ({"models": ["a/same", "b/same"]}, "two models are called 'same'"),
        ({"models": ["owner/$(reboot)"]}, "not a plain name"),
        ({"shifts": []}, "shifts"),
        ({"seed": -1}, "seed"),
        ({"protocol": "published"}, "protocol"),
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
