"""What is always the same for the same bytes, and takes long to find out: kept beside Python's bytecode."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

MOST = 2000
"""Values that are kept; beyond that, those of earlier processes are dropped."""


class Remembered:
    """JSON values by name, of this process and of earlier ones.

    They are kept in the folder where Python keeps the bytecode of the module that finds them out. Those that another
    version of Python or of that module found out are not taken. Where nothing may be written, or what is there cannot
    be read, they are found out again.
    """

    def __init__(self, module: str) -> None:
        """Read what is kept.

        Args:
            module: path of the module that finds the values out.
        """
        self._file = Path(cache_from_source(module)).with_suffix(".json")
        self._maker = hashlib.sha256(sys.version.encode() + Path(module).read_bytes()).hexdigest()
        self._values = self._read()
        self._new: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """A value; None where it is not known."""
        return self._values.get(name)

    def add(self, name: str, value: Any) -> None:
        """Keep a value. ``save`` keeps it for other processes."""
        self._values[name] = self._new[name] = value

    def save(self) -> None:
        """Add what is new to the file, to which other processes may have added meanwhile."""
        if not self._new or sys.dont_write_bytecode:
            return
        values = self._read() | self._new
        text = json.dumps({"maker": self._maker, "values": values if len(values) <= MOST else self._new})
        self._new = {}
        with suppress(OSError):
            self._write(text)

    def _write(self, text: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{self._file.name}.", dir=self._file.parent)
        os.close(handle)
        partial = Path(name)
        try:
            partial.write_text(text, encoding="utf-8")
            partial.chmod(0o644)  # others may read bytecode, too
            partial.replace(self._file)
        except BaseException:
            partial.unlink()
            raise

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, LookupError, TypeError):
            found = json.loads(self._file.read_bytes())
            if found["maker"] == self._maker:
                return dict(found["values"])
        return {}
