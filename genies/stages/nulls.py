"""The stage ``nulls``: what every probe would score if the labels of its source said nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genies.data.pairs import text_seed
from genies.evaluation.tables.nulls import OF_MODEL
from genies.interventions.registry import make
from genies.interventions.steps.permutations import Nulls, chosen_sites, nulls, signs
from genies.interventions.steps.site_probe import SiteProbe, choosing_sites
from genies.stages.splits import Splits
from genies.stages.targets import targets_of
from genies.store.pairs import StoredPairs

LOW, MIDDLE, HIGH = 0.025, 0.5, 0.975
"""Quantiles of the null that are kept."""


def write_nulls(
    *pairs: str,
    probes: Mapping[str, Any],
    model: str,
    repeats: int,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Repeat the fits of probes with flipped labels; see ``genies.interventions.steps.permutations``.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        probes: by name of the run, ``intervention`` (name, or path of a Python file) and its ``parameters``.
        model: name of the run's model.
        repeats: how many there are.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of ``nulls.csv``, columns as in ``genies.evaluation.tables.nulls.OF_MODEL``.
    """
    splits = Splits(train, test, activations, cache)
    made = {name: choosing_sites(make(one["intervention"], one["parameters"])) for name, one in probes.items()}
    rows = []
    for source, targets in targets_of(pairs, splits.names("train"), splits.names("test")).items():
        for name, probe in made.items():
            found = _nulls(probe, splits, source, targets, repeats)
            rows += [_row(model, name, source, target, null) for target, null in found.items()]
    OF_MODEL.write(OF_MODEL.frame(rows), output)


def _nulls(probe: SiteProbe, splits: Splits, source: str, targets: Sequence[str], repeats: int) -> dict[str, Nulls]:
    """The nulls of one probe on each target; one layer of the source, and of one target, is in memory at a time."""
    cluster, shown = splits(source, "train").cluster, splits.stored(probe, source, "train")
    read = {target: splits.stored(probe, target, "test") for target in targets}

    def layers() -> Iterator[tuple[int, np.ndarray]]:
        for layer in probe.site_layers(shown):
            yield layer, _differences(probe, shown, layer)

    # The same signs for every probe of a source, so that their nulls compare.
    turned = signs(cluster, repeats, text_seed(probe.seed, "nulls", source))
    split_seed = getattr(probe, "split_seed", probe.seed)
    keeps = chosen_sites(layers(), turned, cluster, probe.sites_kept, split_seed)
    of_targets = [
        (target, lambda layer, name=target: _differences(probe, read[name], layer), splits(target, "test").best_first)
        for target in targets
    ]
    return nulls(layers, of_targets, turned, keeps)


def _differences(probe: SiteProbe, pairs: StoredPairs, layer: int) -> np.ndarray:
    """First minus second response at a layer's sites, float32 (n, sites, dim)."""
    features = probe.site_features(pairs, layer)
    return features[:, 0] - features[:, 1]


def _row(model: str, name: str, source: str, target: str, null: Nulls) -> dict[str, Any]:
    place = {"model": model, "intervention": name, "source": source, "target": target}
    ends = {"low": null.quantile(LOW), "median": null.quantile(MIDDLE), "high": null.quantile(HIGH)}
    return {**place, "repeats": len(null.repeats), "solver_accuracy": null.accuracy, **ends, "p": null.p}
