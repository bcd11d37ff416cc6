"""Drawings that the tests make again and again, and Vega's bundle, are made once for all processes of a run of tests.

To draw a figure takes longer than all else of a page. What is drawn, how, and by which function names a file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import vl_convert

BYTES = ("svg_to_png",)
TEXTS = ("vegalite_to_svg", "javascript_bundle")


def remember(folder: Path) -> None:
    """Let vl-convert look into a folder, which is made, before it draws."""
    folder.mkdir(exist_ok=True)
    for name in (*BYTES, *TEXTS):
        setattr(vl_convert, name, _remembering(getattr(vl_convert, name), name, folder))


def _remembering(make: Callable[..., str | bytes], name: str, folder: Path) -> Callable[..., str | bytes]:
    @functools.wraps(make)
    def remembering(*arguments: object, **options: object) -> str | bytes:
        asked = json.dumps([name, arguments, options])  # not sorted: the order may matter to the drawing
        file = folder / hashlib.sha256(asked.encode()).hexdigest()
        with suppress(OSError):  # not there, or of a user who keeps it to himself
            content = file.read_bytes()
            return content if name in BYTES else content.decode()
        made = make(*arguments, **options)
        partial = file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # of a fork that has become another user, or in a test of full disks
            partial.write_bytes(made if isinstance(made, bytes) else made.encode())
            partial.replace(file)
        return made

    return remembering
