"""A loaded model that several interventions use one after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Loaded = TypeVar("Loaded")

log = logging.getLogger(__name__)


class LoadedModel:
    """Keeps what was loaded last, for whoever asks for the same next; so at most one model is in memory."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._key: Hashable = None
        self._value: Any = None

    def get(
        self, key: Hashable, load: Callable[[], Loaded], usable: Callable[[Loaded], bool] = lambda _: True
    ) -> Loaded:
        """What was loaded under this key, if it was the last; else what ``load`` returns.

        Args:
            key: everything that decides what ``load`` returns.
            load: loads the model.
            usable: whether what is kept is still as it was loaded; if not, it is loaded again.
        """
        if key == self._key and usable(self._value):
            return self._value
        self._key = self._value = None  # its memory is free before the next one is loaded
        begin = time.monotonic()
        value = load()
        log.info("model loaded in %.1f s", time.monotonic() - begin)
        self._key, self._value = key, value
        return value
