"""Options: fields of frozen dataclasses, each written once.

A section of the configuration is such a class, and the object that stages take. Its flags on the command line, its
part of the JSON schema and of the documentation, and its share in digests and manifests are derived from its fields.
The classes are plain ones, so that what computes imports no library for it; Pydantic reads the types and limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Annotated, Any

END = r"(?![\s\S])"
"""Ends patterns: JSON schemas repeat them, and Python's ``$`` would let a line break at the end pass."""
MOST = 2**63 - 1
"""Largest whole number of an option."""
STRICT = {"extra": "forbid", "allow_inf_nan": False}
"""What Pydantic is to know of a section (``__pydantic_config__``): nothing unknown passes."""


@dataclass(frozen=True)
class Whole:
    """Marks whole numbers from ``least`` to ``most``. Neither true nor "7" is a number, to people or JSON schemas."""

    least: int = 0
    most: int = MOST

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        within = core_schema.int_schema(ge=self.least, le=self.most)
        return core_schema.no_info_before_validator_function(a_number, within)


@dataclass(frozen=True)
class Matching:
    """Marks texts that match a pattern from their beginning; ``problem`` ends the error about one that does not."""

    pattern: str
    problem: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.checked, core_schema.str_schema())

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern}

    def checked(self, text: str) -> str:
        """The text as given.

        Raises:
            ValueError: it does not match.
        """
        if not re.match(self.pattern, text):
            raise ValueError(f"{text!r} {self.problem}")
        return text


NonNegativeInt = Annotated[int, Whole()]
PositiveInt = Annotated[int, Whole(1)]


def a_number(value: Any) -> Any:
    """The value as given.

    Raises:
        ValueError: it is no number; Pydantic would take true and "7", too.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number")
    return value


def option(default: Any, meaning: str, *, decides: bool = True, remembered: bool = True) -> Any:
    """A field that is an option.

    Args:
        default: its default; a class is called for it.
        meaning: one sentence or two, for people.
        decides: whether it changes what comes out, and not only how or where it is computed.
        remembered: whether fits remember it with the features that they were made on.
    """
    about = {"description": meaning, "help": meaning, "decides": decides, "remembered": remembered}
    if isinstance(default, type):
        return field(default_factory=default, metadata=about)
    return field(default=default, metadata=about)


def options_of(section: Any) -> list[Field]:
    """The options of a section, a class or an instance, in their order; its other fields are derived from elsewhere."""
    return [one for one in fields(section) if "description" in one.metadata]


def default_of(one: Field) -> Any:
    """The default of an option."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def deciding(section: Any) -> dict[str, Any]:
    """What decides something, of a section's options, as JSON values by name."""
    return {one.name: plain(getattr(section, one.name)) for one in options_of(section) if one.metadata["decides"]}


def plain(value: Any) -> Any:
    """An option's value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


def flags(section: Any, *, decides: bool | None = None, only: Collection[str] | None = None) -> list[str]:
    """Command-line options for a section.

    Args:
        section: an instance.
        decides: whether to take those options that decide what comes out, or those that do not; None for all.
        only: names of options, in place of all.
    """
    chosen = [one for one in options_of(section) if decides is None or one.metadata["decides"] == decides]
    return [flag for one in chosen if only is None or one.name in only for flag in _flag(section, one)]


def _flag(section: Any, one: Field) -> list[str]:
    name, value = one.name.replace("_", "-"), getattr(section, one.name)
    if value is None:
        return []
    if is_dataclass(value) and not isinstance(value, type):
        return [f"--{name}={json.dumps(asdict(value), sort_keys=True)}"]
    return [f"--{name}={each}" for each in (value if isinstance(value, tuple) else (value,))]
