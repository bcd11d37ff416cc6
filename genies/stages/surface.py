"""The stage ``surface``: chance and surface baselines, all of them in one job, since each takes a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genies.stages.probe import probe_sources


def surface_baselines(
    *pairs: str,
    baselines: Mapping[str, Any],
    model: str,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Fit interventions that read neither a model nor features, and test them on every pair of their targets.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        baselines: by name of the run, ``intervention`` (name, or path of a Python file) and its ``parameters``.
        model: name of the run's model; results are kept for each, since its context decides which examples are read.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: the run's folder, for ``interventions/<model>/<name>.json`` and ``evaluations/<model>/<name>/``.
    """
    for name, one in baselines.items():
        probe_sources(
            one["intervention"],
            *pairs,
            parameters=one["parameters"],
            train=train,
            test=test,
            activations=activations,
            cache=cache,
            fits=output / "interventions" / model / f"{name}.json",
            output=output / "evaluations" / model / name,
        )
