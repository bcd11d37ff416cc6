"""Templates and workflow files that the tests compile again and again are compiled once for all processes of a run.

Jinja and Snakemake make Python code of a text; the same text gives the same code.
"""

from __future__ import annotations

import functools
import hashlib
import json
import marshal
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2

PLACE = "snakefile={!r}"
"""How Snakemake's code names the file that it was made of; it is all that depends on where the file is."""


def remember_templates(folder: Path) -> None:
    """Let Jinja look into a folder, which is made, before it compiles a template of a package of ours."""
    folder.mkdir(exist_ok=True)
    make = jinja2.Environment.compile

    @functools.wraps(make)
    def compile_(environment: jinja2.Environment, source: Any, *arguments: Any, **options: Any) -> Any:
        if type(environment) is not jinja2.Environment or not isinstance(environment.loader, jinja2.FileSystemLoader):
            return make(environment, source, *arguments, **options)
        asked = ["jinja", source, arguments[:1], sorted(environment.filters), sorted(environment.globals)]
        return _kept(folder, asked, lambda: make(environment, source, *arguments, **options))

    jinja2.Environment.compile = compile_


def remember_snakefiles(folder: Path) -> None:
    """Let Snakemake look into a folder, which is made, before it parses a file of a workflow."""
    import snakemake.api  # here: the tests' own processes do without Snakemake

    folder.mkdir(exist_ok=True)
    snakemake.parser.parse = snakemake.workflow.parse = _snakefile(snakemake.parser.parse, folder)


def _snakefile(make: Callable[..., tuple[str, int]], folder: Path) -> Callable[..., tuple[str, int]]:
    @functools.wraps(make)
    def parse(
        path: Any, workflow: Any, linemap: dict[int, int], overwrite_shellcmd: str | None = None, rulecount: int = 0
    ) -> tuple[str, int]:
        place = PLACE.format(path.get_path_or_uri(secret_free=True))
        with workflow.sourcecache.open(path) as stream:
            source = stream.read()
        if linemap or overwrite_shellcmd or PLACE.format("") in source:
            return make(path, workflow, linemap, overwrite_shellcmd, rulecount)

        def made() -> list[Any]:
            code, count = make(path, workflow, linemap, overwrite_shellcmd, rulecount)
            return [code.replace(place, PLACE.format("")), count, list(linemap.items())]

        code, count, lines = _kept(folder, ["snakemake", source, rulecount], made)
        linemap.update(lines)
        return code.replace(PLACE.format(""), place), count

    return parse


def _kept(folder: Path, asked: list[Any], make: Callable[[], Any]) -> Any:
    """What was made of the same before, by any process, or is made now."""
    file = folder / hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    with suppress(OSError):  # not there, or of a user who keeps it to himself
        return marshal.loads(file.read_bytes())  # noqa: S302  (written below)
    made = make()
    partial = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # of a fork that has become another user, or in a test of full disks
        partial.write_bytes(marshal.dumps(made))
        partial.replace(file)
    return made
