"""The stage ``surface``: surface baselines fitted and tested, all of them in one job, since each takes a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genies.stages.evaluate import evaluate_fits
from genies.stages.fit import fit_sources


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
    """Fit interventions that read texts without a model, and give every test pair of their targets a probability.

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
        fits = output / "interventions" / model / f"{name}.json"
        fit_sources(
            one["intervention"],
            parameters=one["parameters"],
            train=train,
            activations=activations,
            cache=cache,
            output=fits,
        )
        evaluated = output / "evaluations" / model / name
        evaluate_fits(*pairs, fits=fits, test=test, activations=activations, cache=cache, output=evaluated)
