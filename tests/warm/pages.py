"""Memory lies in large pages: a fork copies the table of the pages, and of these there are 512 times fewer."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

HUGEPAGE, COLLAPSE = 14, 25
"""MADV_HUGEPAGE and MADV_COLLAPSE of Linux's ``madvise``."""
LARGE = 2**21
OWN = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p [0-9a-f]+ 00:00 0\s*(?:\[heap\])?$")
"""A line of /proc/self/maps on memory that is no file's."""


def use_large() -> None:
    """Move what this process has written so far into large pages; where the system refuses, all stays as it was."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        if own := OWN.match(line):
            begin, end = -(-int(own[1], 16) // LARGE) * LARGE, int(own[2], 16) // LARGE * LARGE
            if begin < end:
                advise(begin, end - begin, HUGEPAGE)
                advise(begin, end - begin, COLLAPSE)
