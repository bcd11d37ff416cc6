"""GENIES: how reward models generalize from where people can judge to where they cannot (arXiv 2311.07723)."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "ArrayPairs",
    "GeniesError",
    "Shift",
    "evaluate_shifts",
    "load_alarm",
    "load_intervention",
    "open_store",
    "save_intervention",
]

_PLACES = {
    "ArrayPairs": "genies.interventions.arrays",
    "GeniesError": "genies.errors",
    "Shift": "genies.data.shifts",
    "evaluate_shifts": "genies.api.shifts",
    "load_alarm": "genies.api.alarm",
    "load_intervention": "genies.api.fitted",
    "open_store": "genies.api.stores",
    "save_intervention": "genies.api.fitted",
}


def __getattr__(name: str) -> Any:
    """What ``docs/python.md`` describes, imported when first asked for: ``import genies`` alone stays quick."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
