"""YAML in which no mapping has a key twice: YAML's readers take the last one and say nothing."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import BaseConstructor

MERGE = "tag:yaml.org,2002:merge"
"""Tag of the key under which a mapping takes in others; it may stand there several times."""


class RepeatedKeyError(yaml.MarkedYAMLError):
    """A key occurs twice in one mapping.

    Attributes:
        key: the key.
        line: that of its second occurrence, counted from 1.
    """

    def __init__(self, key: yaml.ScalarNode) -> None:
        super().__init__(problem="a key occurs twice in one mapping", problem_mark=key.start_mark)
        self.key, self.line = str(key.value), key.start_mark.line + 1


class UniqueKeys(BaseConstructor):
    """A part of a YAML loader, to be named before the loader's own base.

    Raises:
        RepeatedKeyError: while it constructs a mapping.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != MERGE]:
            if key.value in seen:
                raise RepeatedKeyError(key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
