"""An option is one field: flags, schema, documentation and digests follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from genies import cli
from genies.config.docs import _table
from genies.config.schema import config_schema
from genies.config.sections import Config
from genies.data.options import Limit, Reading
from genies.engine.options import Extraction
from genies.options import PositiveInt, deciding, flags, option, options_of
from genies.store.settled import Settled, store_digest

MODEL = {"weights_digest": "w", "eos_token": 2}


@dataclass(frozen=True)
class More(Extraction):
    """Extraction with two further options."""

    precision: PositiveInt = option(3, "Digits that are kept.")
    workers: PositiveInt = option(1, "Threads that write.", decides=False)


# Those of the base are named in its own module.
More.__init__.__annotations__ = get_type_hints(More, include_extras=True)


def extract(*, model: Path, extraction: More = More()) -> More:
    """A verb.

    Args:
        model: the model's manifest.
        extraction: options.
    """
    return extraction


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., More]:
    """The section that a command line of a verb with it gives."""
    monkeypatch.setitem(cli.VERBS, "extract", cli.Verb(f"{__name__}:extract", "a verb"))
    return lambda *words: cli.parse(["extract", "--model=m", *words]).arguments.arguments["extraction"]


def test_an_option_that_is_added_becomes_a_flag(
    parsed: Callable[..., More], capsys: pytest.CaptureFixture[str]
) -> None:
    section = More(precision=7, workers=2, layers=(1, 2), heads="none", batch_tokens=64, quantization="int8")
    assert {"--precision=7", "--workers=2"} <= set(flags(section))
    assert parsed(*flags(section)) == section
    assert parsed() == More()
    assert cli.main(["extract", "--help"]) == 0
    assert "Digits that are kept." in capsys.readouterr().out


def test_an_option_that_is_added_is_in_schema_and_documentation() -> None:
    schema = TypeAdapter(More).json_schema()["properties"]["precision"]
    assert schema["description"] == "Digits that are kept." and (schema["minimum"], schema["default"]) == (1, 3)
    assert "| `precision` | `3` | Digits that are kept. |" in _table("extraction", More)
    for value in (0, True, "3"):
        with pytest.raises(ValidationError):
            TypeAdapter(More).validate_python({"precision": value})


def test_an_option_that_is_added_names_stores_if_it_decides() -> None:
    def name(section: More) -> str:
        return store_digest(MODEL, "t", Settled(section, "sdpa", "float32", "cpu"))[0]

    assert deciding(More(precision=5))["precision"] == 5
    assert name(More(precision=5)) != name(More()) == name(More(workers=9))
    assert name(More()) != name(Extraction())


def test_sections_of_the_configuration_are_those_that_stages_take() -> None:
    config = Config.model_validate({
        "run": "r", "model": "a/b", "shifts": ["genies15"], "overlong": "shorten", "limit": {"train": 4},
        "extraction": {"layers": [0, 1], "heads": []},
    })  # fmt: skip
    assert config.extraction == Extraction(layers=(0, 1), heads=())
    assert config.extraction.layer_numbers == (0, 1) and config.extraction.head_numbers == ()
    assert config.reading == Reading(overlong="shorten", limit=Limit(train=4))
    names = [one.name for one in options_of(Reading)]
    assert set(names) <= set(Config.model_fields) and {f.name for f in fields(Reading)} - set(names) == {"views"}


def test_every_option_of_every_section_has_a_flag_that_gives_it_back(parsed: Callable[..., More]) -> None:
    reading = Reading(3, "truthfulness", "chat", "shorten", Limit(2, None, {"a b": {"train": None}}))
    assert flags(reading, only=("seed", "limit")) == [
        "--seed=3", '--limit={"distributions": {"a b": {"train": null}}, "test": null, "train": 2}'
    ]  # fmt: skip
    call = cli.parse(["overlap", "--train=x", "--test=y", "--output=o", *flags(reading)])
    assert call.arguments.arguments["reading"] == reading
    assert replace(reading).remembered() == {
        "seed": 3, "framing": "truthfulness", "prompt_format": "chat", "overlong": "shorten",
    }  # fmt: skip


def test_editors_know_the_parameters_of_interventions() -> None:
    known = config_schema()["properties"]["intervention_parameters"]["properties"]
    assert known["mms"]["properties"]["kept"] | {"description": ""} == {
        "description": "", "type": "integer", "minimum": 1, "maximum": 2**63 - 1, "default": 16,
    }  # fmt: skip
    assert known["lora"]["properties"]["dropout"]["exclusiveMaximum"] == 1
    assert not known["mms"]["additionalProperties"]
