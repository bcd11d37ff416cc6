"""The stage ``probe``: an intervention that reads features, fitted and tested in one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genies.stages.evaluate import evaluate_fits
from genies.stages.fit import fit_sources


def probe_sources(
    intervention: str,
    *pairs: str,
    parameters: Mapping[str, Any] = {},
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    reference: Sequence[Path] = (),
    cache: Path = Path("cache"),
    fits: Path,
    output: Path,
) -> None:
    """Fit an intervention on its sources, and give every test pair of their targets a probability.

    It does what ``genies fit`` and ``genies evaluate`` do. Fits that are in the cache are taken from there, and no
    training feature is read for them.

    Args:
        intervention: name, or path of a Python file.
        *pairs: ``SOURCE:TARGET`` of what is tested on what; default: every fit on every file.
        parameters: keyword arguments of its class.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        reference: the same of the reference model, where the intervention reads one.
        cache: the cache folder.
        fits: manifest of the fits to write, as ``genies fit`` writes it.
        output: folder of the evaluations, a parquet file for each source.
    """
    fit_sources(intervention, parameters=parameters, train=train, activations=activations, cache=cache, output=fits)
    evaluate_fits(
        *pairs, fits=fits, test=test, activations=activations, reference=reference, cache=cache, output=output
    )
