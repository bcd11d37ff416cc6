"""What probes lose on a target once the direction of a source is erased from the features that they are fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from genies.data.pairs import text_seed
from genies.interventions.steps.directions import direct
from genies.interventions.steps.erasure import Eraser, accuracy, erasers
from genies.interventions.steps.site_probe import SiteProbe
from genies.stages.layers import SplitLayers, most_accurate_layer

RANDOM_ERASURES = 19
"""Random directions of each source; the fewest that can show p = 0.05."""


def erasures(
    probes: Mapping[str, SiteProbe], splits: SplitLayers, targets: Mapping[str, Sequence[str]], seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of ``erasure.csv`` but for the model: of each shift whose target is a source too, and of each source itself.

    All probes of a target are fitted in one layer: that in which differences of means rank most of its held-out
    training pairs right.

    Args:
        probes: by name; they read the same features.
        splits: the run's.
        targets: of shifts, by source.
        seed: of random directions.
    """
    for target in splits.sources:
        sources = [name for name in splits.sources if name == target or target in targets.get(name, ())]
        layer = most_accurate_layer(probes, splits, target)
        probe = next(iter(probes.values()))
        train, test = (splits.texts(probe, target, split, layer) for split in ("train", "test"))
        own = {name: accuracy(train, test, direct(probe)) for name, probe in probes.items()}
        for source in sources:
            fitted = train if source == target else splits.texts(probe, source, "train", layer)
            cluster = splits.sources[source].cluster
            found = erasers(fitted, cluster, RANDOM_ERASURES, text_seed(seed, "erasure", source))
            erased = _erased(probes, found, train, test)
            for name, after in erased.items():
                losses = own[name] - after
                yield {
                    "intervention": name, "source": source, "target": target, "layer": layer, "accuracy": own[name],
                    "erased_accuracy": float(after[0]), "loss": float(losses[0]),
                    "random_loss": float(losses[1:].mean()), "random_loss_most": float(losses[1:].max()),
                    "draws": RANDOM_ERASURES,
                    "p": float((losses >= losses[0] - 1e-12).sum() / len(losses)),
                }  # fmt: skip


def _erased(
    probes: Mapping[str, SiteProbe], found: Sequence[Eraser], train: np.ndarray, test: np.ndarray
) -> dict[str, np.ndarray]:
    """Accuracies of probes fitted and tested after each eraser, by name."""
    after: dict[str, list[float]] = {name: [] for name in probes}
    for erase in found:
        erased = erase(train), erase(test)
        for name, probe in probes.items():
            after[name].append(accuracy(*erased, direct(probe)))
    return {name: np.array(accuracies) for name, accuracies in after.items()}
