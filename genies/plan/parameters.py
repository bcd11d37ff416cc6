"""Parameters of interventions as rules give them to verbs: JSON strings with sorted keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from genies.config.sections import Config
from genies.errors import ConfigError
from genies.plan.methods import Methods


def parameters_json(methods: Methods, intervention: str) -> str:
    """Keyword arguments of an intervention."""
    return json.dumps(methods.parameters(intervention), sort_keys=True)


def interventions_json(methods: Methods, names: Sequence[str]) -> str:
    """Interventions with their parameters, by name."""
    found = {name: {"intervention": methods.specs[name], "parameters": methods.parameters(name)} for name in names}
    return json.dumps(found, sort_keys=True)


def sweep_json(config: Config, intervention: str) -> str:
    """Values that the sweep tries of an intervention's parameters.

    Raises:
        ConfigError: there is no sweep.
    """
    if config.sweep is None:
        raise ConfigError("sweep: the configuration has none; add the section, or ask for no sweep")
    values: Mapping[str, Any] = config.sweep.interventions[intervention]
    listed = {name: v if isinstance(v, tuple) else v.model_dump() for name, v in values.items()}
    return json.dumps(listed, sort_keys=True)
