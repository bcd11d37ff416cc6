"""Reading of configurations; unknown keys are refused with the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError

from genies.config.sections import Config
from genies.data.unique_keys import RepeatedKeyError, UniqueKeys
from genies.errors import ConfigError

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's types of errors about a key that a section does not have."""
A_SECTION = "should be a mapping of keys to values; `{}` is an empty one"
EXPECTED = {"tuple_type": "should be a list", **dict.fromkeys(("model_type", "dict_type", "dataclass_type"), A_SECTION)}
"""What a value should be, by Pydantic's types of errors whose messages name what only Python has."""


class _Loader(UniqueKeys, yaml.SafeLoader):
    """YAML as Snakemake reads it, without repeated keys."""


def load_config(
    values: Mapping[str, Any], command_line: Collection[str] = (), files: Sequence[str | Path] = ()
) -> Config:
    """Check a configuration.

    Args:
        values: as Snakemake has them.
        command_line: keys that ``--config`` gave. What stands in lists and mappings there, Snakemake reads as text, so
            numbers are made of it where numbers belong.
        files: those that they were read from, whose keys must be unique.

    Raises:
        ConfigError: one line that names the key and, for an unknown one, the nearest known key.
    """
    for file in files:
        _check_keys(Path(file))
    hints = get_type_hints(Config)
    given = set(command_line) & set(values) & set(hints)
    typed = {key: _typed(values[key]) for key in given if _holds_numbers(hints[key])}
    try:
        return Config.model_validate({**values, **typed})
    except ValidationError as error:
        raise ConfigError("; ".join(map(_message, _causes(error.errors())))) from None


def _check_keys(file: Path) -> None:
    """Raise ConfigError where a file has a key twice; what is no YAML is JSON, since Snakemake has read it."""
    try:
        yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except RepeatedKeyError as error:
        raise ConfigError(f"{file}: line {error.line}: the key {error.key} occurs a second time; keep one") from None
    except yaml.YAMLError:
        return


def _holds_numbers(annotation: Any) -> bool:
    """Whether a key of this type, or what its lists, mappings or section hold, may be a number."""
    if annotation is Any:
        return True
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel) or is_dataclass(annotation):
            return any(map(_holds_numbers, get_type_hints(annotation).values()))
        return issubclass(annotation, int | float)
    return any(map(_holds_numbers, get_args(annotation)))


def _typed(value: Any) -> Any:
    """A value with the numbers, flags and nulls that its texts spell."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        spelled = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return spelled if spelled is None or isinstance(spelled, bool | int | float) else value


def read_config(files: Sequence[Path], entries: Sequence[str]) -> Config:
    """The configuration that Snakemake would have with ``--configfile`` and ``--config``.

    Args:
        files: configuration files, later ones going over earlier ones.
        entries: ``key=value``.

    Raises:
        ConfigError: as ``load_config``; or a file or an entry cannot be read.
    """
    for file in files:
        if not Path(file).is_file():
            raise ConfigError(
                f"{Path(file).absolute()}: no such configuration file; correct the path, or write one to start from "
                f"with `genies init {file}`"
            )
    from snakemake.cli import parse_config
    from snakemake.exceptions import WorkflowError
    from snakemake.settings.types import ConfigSettings

    try:
        given = parse_config(entries)
        return load_config(ConfigSettings(given, files).overwrite_config, given, files)
    except (OSError, ValueError, WorkflowError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"config: {', '.join(map(str, files))} or --config cannot be read ({reason})") from None


def _causes(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Problems that are no consequence of others: of a list with bad items, Pydantic also says that it is too short."""
    lists = {problem["loc"][:-1] for problem in problems}
    return [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in lists]


def _message(problem: Mapping[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    shown = ".".join(part if part.isprintable() else repr(part) for part in path)
    if problem["type"] in UNKNOWN:
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"config: unknown key {shown}{hint}"
    if problem["type"] == "missing":
        return f"config: {shown} is missing"
    where = f"{shown}: " if path else ""
    if problem["type"] == "too_short":
        return f"config: {where}has too few items: {problem['ctx']['actual_length']} of {problem['ctx']['min_length']}"
    return f"config: {where}{EXPECTED.get(problem['type'], problem['msg'].removeprefix('Value error, '))}"


def _known_keys(path: list[str]) -> list[str]:
    sections: list[type] = [Config]
    for part in path:
        annotations = [keys[part] for keys in map(_keys, sections) if part in keys]
        # What is no field is a key of a dictionary, or pydantic's name for one of several types.
        sections = [inner for annotation in annotations for inner in _sections_in(annotation)] or sections
    return [key for section in sections for key in _keys(section)]


def _keys(section: type[Any]) -> dict[str, Any]:
    """Types of a section's keys, by name."""
    if is_dataclass(section):
        types = get_type_hints(section)
        return {one.name: types[one.name] for one in fields(section)}
    return {name: field.annotation for name, field in section.model_fields.items()}


def _sections_in(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]


def check_readable(path: Path, what: str) -> Path:
    """The path, if it is a readable file.

    Raises:
        ConfigError: it is not.
    """
    if not path.is_file():
        raise ConfigError(f"{path.absolute()}: {what} not found")
    return path
