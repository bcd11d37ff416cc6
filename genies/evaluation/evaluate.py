"""The stage ``evaluate``: fitted interventions give each test pair of their targets a probability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genies.activations.features import StoredPairs
from genies.activations.manifest import Activations
from genies.data.reading import SplitPairs, read_test
from genies.digests import code_digest
from genies.errors import DataError, StoreError
from genies.files import read_json
from genies.interventions.base import Intervention, Pairs
from genies.interventions.fit import fits_folder
from genies.interventions.registry import load, module_of
from genies.making import MADE_OF, data_roles, made_of, stem_roles

if TYPE_CHECKING:
    import polars as pl

    from genies.tuning.base import TextPairs


def checked_prediction(
    intervention: Intervention, pairs: Pairs | TextPairs, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Probability that the first response is the better one, float64 (n,), and scores of both, float64 (n, 2).

    Args:
        intervention: fitted.
        pairs: n pairs.
        where: what they are, for messages.

    Raises:
        StoreError: the intervention gives something that is no probability, or no score.
    """
    probability, scores = (np.asarray(values, np.float64) for values in intervention.predict(pairs))
    name = type(intervention).__name__
    if probability.shape != (len(pairs),) or scores.shape != (len(pairs), 2):
        raise StoreError(f"{name} on {where}: gives shapes {probability.shape}, {scores.shape} for {len(pairs)} pairs")
    if not (np.all(probability >= 0) and np.all(probability <= 1)) or np.isnan(scores).any():
        raise StoreError(f"{name} on {where}: gives a probability outside [0, 1] or a score that is not a number")
    return probability, scores


def checked_repeats(intervention: Intervention, pairs: Pairs | TextPairs, where: str) -> np.ndarray | None:
    """Probabilities when what the fit drew is drawn again, float64 (k, n); None where it draws nothing.

    Raises:
        StoreError: as ``checked_prediction``.
    """
    repeats = intervention.predict_repeats(pairs)
    if repeats is None:
        return None
    repeats = np.asarray(repeats, np.float64)
    if repeats.ndim != 2 or repeats.shape[1] != len(pairs) or not np.all((repeats >= 0) & (repeats <= 1)):
        raise StoreError(f"{type(intervention).__name__} on {where}: its repeats are no probabilities of the pairs")
    return repeats


def places(target: SplitPairs) -> dict[str, Any]:
    """What says which pair a row is about: columns target, example, pair, cluster and answer of ``PAIR_COLUMNS``."""
    numbers = np.array([target.framed.place(pair) for pair in target.pairs], np.int64).reshape(-1, 2)
    return {
        "target": [target.name] * len(numbers),
        "example": numbers[:, 0],
        "pair": numbers[:, 1],
        "cluster": target.cluster,
        "answer": [target.framed.answer(pair) for pair in target.pairs],
    }


def judge(intervention: Intervention, pairs: Pairs | TextPairs, target: SplitPairs) -> pl.DataFrame:
    """A row per test pair, columns as in ``genies.evaluation.tables.PAIR_COLUMNS``.

    Args:
        intervention: fitted.
        pairs: the target's pairs as the intervention reads them, in the target's order.
        target: what they are.

    Raises:
        StoreError: the intervention gives something that is no probability, or no score.
    """
    import polars as pl

    from genies.evaluation.tables import PAIR_COLUMNS

    probability, scores = checked_prediction(intervention, pairs, target.name)
    repeats = checked_repeats(intervention, pairs, target.name)
    first = target.best_first
    return pl.DataFrame(
        {
            **places(target),
            "probability": np.where(first, probability, 1 - probability),
            "score_best": np.where(first, scores[:, 0], scores[:, 1]),
            "score_worse": np.where(first, scores[:, 1], scores[:, 0]),
            "repeated_over": [None if repeats is None else intervention.repeated_over] * len(pairs),
            "repeats": [None] * len(pairs) if repeats is None else np.where(first, repeats, 1 - repeats).T.tolist(),
            "stated_accuracy": [intervention.published_accuracy(pairs)] * len(pairs),
            "stated_RMS_calibration_error": [None] * len(pairs),
        },
        schema=PAIR_COLUMNS,
    )


def evaluate_fits(
    fits: Path,
    targets: dict[str, Sequence[str]],
    files: Sequence[Path],
    manifests: Sequence[Path],
    cache: Path,
    output: Path,
) -> None:
    """Evaluate every fit of an intervention on its targets: one parquet file per source in the folder ``output``.

    Args:
        fits: manifest of ``genies fit``.
        targets: target names by source.
        files: ``<distribution>/test.json`` of every target.
        manifests: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of the parquet files.
    """
    from genies.evaluation.tables import write_evaluation

    activations = Activations(manifests, cache)
    by_name = {file.parent.name: file for file in files}
    known: dict[str, SplitPairs] = {}
    manifest = read_json(fits, "intervention", "fits")
    digests: dict[str, str] = manifest["fits"]
    code = code_digest(__name__, module_of(manifest["intervention"]))
    for source, names in targets.items():
        if source not in digests:
            raise StoreError(f"{fits}: names no fit on {source}; delete it and run snakemake again")
        intervention = load(fits_folder(cache, digests[source]), manifest["intervention"])
        frames, tests = [], [by_name[name] for name in names if name in by_name]
        for name in names:
            if name not in by_name:
                raise DataError(f"{name}: target of {source}, but its test.json was not given")
            if name not in known:
                known[name] = read_test(by_name[name], activations.reading, activations.left_out(name, "test"))
            target = known[name]
            stores = activations.stores(name, "test", intervention.predict_views)
            labelled = intervention.reads_test_labels
            pairs = StoredPairs(target.pairs, stores, target.best_first, labelled, target.cluster)
            frames.append(judge(intervention, pairs, target))
        inputs = {"fits": fits, **stem_roles("activations", manifests), **data_roles(tests)}
        stated = {MADE_OF: made_of(code, inputs), "targets": list(names)}
        write_evaluation(output / f"{source}.parquet", frames, stated)
