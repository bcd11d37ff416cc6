"""Garbage is looked for rarely: the libraries' objects stay, and looking through them takes long."""

from __future__ import annotations

import gc


def look_rarely() -> None:
    """Leave out what has been imported so far, in this process and its forks, and wait longer between collections.

    Hypothesis may warn then that its own generator is about to be collected: referrers that are left out are not found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
