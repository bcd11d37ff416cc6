"""JSON schemas of configurations and shift lists, for editors and for the workflow catalogue.

Both are draft 7, which every editor knows. Whatever the readers accept, they accept. Of configurations they refuse what
``genies.config.sections`` refuses for an unknown or missing key, a type, a range or a name; what depends on several
keys at once or on files is beyond them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from genies.config.sections import Config
from genies.data import shifts
from genies.interventions.registry import available, load_class
from genies.options import END

DIALECT = "http://json-schema.org/draft-07/schema#"


def config_schema() -> dict[str, Any]:
    """The schema of a configuration."""
    made = Config.model_json_schema()
    schema = _tidy(made, made["$defs"])
    properties = schema["properties"]
    # Editors offer examples as completions; other values stay valid, since files and folders have any name.
    properties["interventions"]["items"]["examples"] = available()
    a_list = next(choice for choice in properties["capability_interventions"]["anyOf"] if "items" in choice)
    a_list["items"]["examples"] = available()
    properties["shifts"]["items"]["examples"] = shifts.list_names()
    properties["intervention_parameters"]["properties"] = {name: _parameters(name) for name in available()}
    return {
        "$schema": DIALECT,
        "title": "Configuration of a genies run",
        **schema,
        "anyOf": [
            {"required": ["model"], "properties": {"model": {"type": "string", "minLength": 1}}},
            {"required": ["models"], "properties": {"models": {"minItems": 1}}},
        ],
    }


def _parameters(intervention: str) -> dict[str, Any]:
    """The schema of an intervention's parameters."""
    schemas = {}
    for name, parameter in load_class(intervention).parameters().items():
        made = TypeAdapter(parameter.annotation).json_schema()
        default = {} if parameter.default is inspect.Parameter.empty else {"default": parameter.default}
        schemas[name] = {"description": parameter.meaning, **_tidy(made, made.get("$defs", {})), **default}
    return {"type": "object", "properties": schemas, "additionalProperties": False}


def shifts_schema() -> dict[str, Any]:
    """The schema of a shift list."""
    name = {"type": "string", "pattern": f"^{shifts.NAME.pattern}{END}"}
    text = {"type": "string", "pattern": rf"^[^\u0000-\u001f\u007f]+{END}"}
    group = {**text, "not": {"enum": list(shifts.RESERVED)}}
    kinds: dict[str, dict[str, Any]] = {
        **dict.fromkeys(shifts.NAMES, name),
        **dict.fromkeys(shifts.TEXTS, text),
        **dict.fromkeys(shifts.GROUPS, group),
        "published_entries": {"type": "integer", "minimum": 1, "maximum": 999_999},
    }
    return {
        "$schema": DIALECT,
        "title": "List of distribution shifts",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {key: {"description": words, **kinds[key]} for key, words in shifts.KEYS.items()},
            "required": ["source", "target"],
            "additionalProperties": False,
        },
    }


def _tidy(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Pydantic's schema with its references written out (the catalogue follows none) and its made-up titles left out.

    Keys of dictionaries are checked as names; pydantic's ``patternProperties`` would let others pass unchecked.
    """
    if isinstance(node, list):
        return [_tidy(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        referred = definitions[node["$ref"].removeprefix("#/$defs/")]
        node = {**referred, **{key: value for key, value in node.items() if key != "$ref"}}
    tidy = {}
    for key, value in node.items():
        if key == "properties":
            tidy[key] = {name: _tidy(inner, definitions) for name, inner in value.items()}
        elif key == "patternProperties":
            ((pattern, inner),) = value.items()
            tidy |= {"propertyNames": {"pattern": pattern}, "additionalProperties": _tidy(inner, definitions)}
        elif key not in ("title", "$defs"):
            tidy[key] = value if key in ("default", "examples") else _tidy(value, definitions)
    return tidy
