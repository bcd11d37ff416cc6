"""Interventions by name (a module of this folder, or a file of the user's own), and how fitted ones are stored."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np

from genies.data.views import VIEWS
from genies.digests import file_sha256
from genies.engine.reads import Declared, Feature
from genies.errors import ConfigError, GeniesError, StoreError
from genies.files import whole_file, write_json, write_sealed
from genies.importing import import_file
from genies.interventions.base import Intervention, Saw
from genies.making import MADE_WITH, made_with
from genies.store.fits import FORMAT, RECORD_FILE, check_files

LARGEST = 2**63
"""Parameters that are numbers are smaller."""
_FOLDER = Path(__file__).parent
_PACKAGE = __name__.rpartition(".")[0]
_NOT_INTERVENTIONS = frozenset({"__init__", "arrays", "base", "parameters", "plugins", "registry", "text"})
"""Modules of this folder beside the interventions; what interventions share is in ``steps``."""


def available() -> list[str]:
    """Names of the interventions in this folder, sorted; nothing is imported."""
    return sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem not in _NOT_INTERVENTIONS)


def name_of(name_or_path: str) -> str:
    """Name that results carry: the name itself, or a file's stem."""
    return Path(name_or_path).stem if _is_path(name_or_path) else name_or_path


def repeat_name(name: str, seed: int) -> str:
    """Name of an intervention that is fitted again with another seed."""
    return f"{name}@{seed}"


def by_intervention(repeats: Iterable[str]) -> dict[str, list[str]]:
    """Names that ``repeat_name`` made, by the intervention's own."""
    found: dict[str, list[str]] = {}
    for repeat in repeats:
        found.setdefault(repeat.rpartition("@")[0], []).append(repeat)
    return found


def module_of(name_or_path: str) -> str:
    """What ``genies.digests.code_digest`` takes: the dotted module of a name, or the path as given.

    Raises:
        ConfigError: no intervention has this name, or there is no such file.
    """
    if _is_path(name_or_path):
        if not Path(name_or_path).is_file():
            raise ConfigError(
                f"{Path(name_or_path).absolute()}: file not found; give the path of a Python file with an intervention"
            )
        return name_or_path
    if name_or_path not in available():
        raise ConfigError(
            f"intervention {name_or_path!r} is unknown{_nearest(name_or_path, available())}; "
            "give a name of genies/interventions or the path of a .py file"
        )
    return f"{_PACKAGE}.{name_or_path}"


def load_class(name_or_path: str) -> type[Intervention]:
    """The one class of an intervention.

    Args:
        name_or_path: name of a module in this folder (``mms``), or path of a file of one's own, ending in ``.py``. A
            file is run afresh at each call.

    Raises:
        ConfigError: unknown name, missing file, a file that cannot be imported, not exactly one subclass in it, or one
            that reads a view or a feature that there is not.
    """
    where = module_of(name_or_path)
    if not _is_path(name_or_path):
        return _only_class(importlib.import_module(where), where)
    kind = _class_of_file(name_or_path)
    for view in (*kind.fit_views, *kind.predict_views):
        if view not in VIEWS:
            raise ConfigError(
                f"{name_or_path}: reads a view {view!r}, which is unknown{_nearest(view, VIEWS)}; there are "
                f"{', '.join(VIEWS)}"
            )
    _check_features(name_or_path, kind.features)
    if kind.saw is not None and (isinstance(kind.saw, str) or not set(kind.saw) <= {*get_args(Saw)}):
        raise ConfigError(
            f"{name_or_path}: saw is {kind.saw!r}, no tuple of some of {', '.join(map(repr, get_args(Saw)))}"
        )
    return kind


def _check_features(name_or_path: str, declared: Declared) -> None:
    """Raise ConfigError where an own intervention declares a feature that there is not, or no tuple of features."""
    known = get_args(Feature)
    for features in declared.values() if isinstance(declared, Mapping) else [declared]:
        if isinstance(features, str):
            raise ConfigError(
                f"{name_or_path}: features are {features!r}, which is no tuple; write a comma: ({features!r},)"
            )
        for feature in features:
            if feature not in known:
                raise ConfigError(
                    f"{name_or_path}: reads a feature {feature!r}, which is unknown{_nearest(feature, known)}; there "
                    f"are {', '.join(known)}"
                )


def _class_of_file(name_or_path: str) -> type[Intervention]:
    try:
        module = import_file(Path(name_or_path))
    except GeniesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{name_or_path}: cannot be imported ({type(error).__name__}: {reason}); mend it") from error
    return _only_class(module, name_or_path)


def check_parameters(name_or_path: str, parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError, as ``make`` does, where these parameters cannot be used."""
    make(name_or_path, parameters)


def make(name_or_path: str, parameters: Mapping[str, Any] | None = None) -> Intervention:
    """A new intervention with these parameters, not fitted yet.

    Raises:
        ConfigError: as ``load_class``; or a parameter is unknown, or has a value that cannot be used.
    """
    kind = load_class(name_or_path)
    known = kind.parameter_names()
    for parameter, value in (parameters or {}).items():
        if parameter not in known:
            raise ConfigError(
                f"intervention {name_of(name_or_path)}: parameter {parameter!r} is unknown"
                f"{_nearest(parameter, known)}; it takes {', '.join(known)}"
            )
        if isinstance(value, int | float) and not abs(value) < LARGEST:  # NaN is not
            raise ConfigError(
                f"intervention {name_of(name_or_path)}: parameter {parameter} is not a number between -2⁶³ and 2⁶³"
            )
    try:
        return kind(**(parameters or {}))
    except ConfigError as error:
        raise ConfigError(f"intervention {name_of(name_or_path)}: {error}") from None


def save(
    intervention: Intervention,
    folder: Path,
    fields: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted intervention: its arrays to its ``weights_file``, all else to ``intervention.json``.

    That JSON file comes last and holds checksums of itself and of the others, so that a folder left by a kill is not
    taken for whole.

    Args:
        intervention: fitted.
        folder: where to write.
        fields: what the folder's name is the digest of, kept for people; with it, what computes here is recorded.
        origin: model, reading and settings behind what it was fitted on, as ``Activations.origin`` states them; None
            where that is unknown, or plays no part.

    Raises:
        ConfigError: the class is not in a file, so that nothing could load it again.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    arrays, values = intervention.get_state()
    weights = folder / intervention.weights_file
    with whole_file(weights) as partial:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
    companions = intervention.companion_files()
    for name, value in companions.items():
        write_json(folder / name, value)
    record = {
        "format": FORMAT,
        "intervention": spec_of(type(intervention)),
        "parameters": intervention.get_params(),
        "values": values,
        "digest": dict(fields or {}),
        MADE_WITH: [made_with(fields)] if fields else [],
        "origin": origin,
        "weights_file": weights.name,
        "files": {name: file_sha256(folder / name) for name in (weights.name, *companions)},
    }
    write_sealed(folder / RECORD_FILE, record)


def load(folder: Path, name_or_path: str | None = None) -> Intervention:
    """Read what ``save`` wrote. Predictions are those of the saved one, bit for bit.

    Args:
        folder: where it lies.
        name_or_path: the intervention, where a file of one's own has moved since; default: as recorded, a path being
            relative to the working directory.

    Raises:
        StoreError: a file is missing or damaged, or was written by a version with another format.
        ConfigError: as ``make``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    record = check_files(folder)
    intervention = make(name_or_path or record["intervention"], record["parameters"])
    try:
        return intervention.set_state(load_file(folder / record["weights_file"]), record["values"])
    except (SafetensorError, KeyError) as error:
        raise StoreError(f"{folder}: does not fit {type(intervention).__name__} ({error!r}); fit again") from error


def _is_path(name_or_path: str) -> bool:
    return name_or_path.endswith(".py")


def _only_class(module: ModuleType, where: str) -> type[Intervention]:
    classes = dict.fromkeys(value for value in vars(module).values() if isinstance(value, type))
    defined = [kind for kind in classes if issubclass(kind, Intervention) and kind.__module__ == module.__name__]
    complete = [kind for kind in defined if not inspect.isabstract(kind)]
    if len(complete) == 1:
        return complete[0]
    if complete:
        names = ", ".join(kind.__name__ for kind in complete)
        raise ConfigError(f"{where}: defines {len(complete)} interventions ({names}); keep one in a file")
    if defined:
        missing = ", ".join(sorted(defined[0].__abstractmethods__))
        raise ConfigError(f"{where}: {defined[0].__name__} lacks {missing}; define what Intervention asks for")
    raise ConfigError(f"{where}: defines no subclass of genies.interventions.base.Intervention; define one")


def spec_of(kind: type[Intervention]) -> str:
    """The name or path that loads a class; a path is relative to the working directory where it lies under it.

    Raises:
        ConfigError: the class is not in a file, or in the program that runs, which is not to be run again.
    """
    package, _, name = kind.__module__.rpartition(".")
    if package == _PACKAGE:
        return name
    try:
        path = None if kind.__module__ == "__main__" else Path(inspect.getfile(kind)).resolve()
    except (TypeError, OSError):
        path = None
    if path is None:
        raise ConfigError(f"{kind.__name__}: is not defined in a file of its own; put it in one, and import it")
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" (near: {', '.join(near)})" if near else ""
