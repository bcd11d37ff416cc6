"""Features of the pairs of a run's splits, one layer at a time, with the best response first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from genies.data.options import Split
from genies.data.reading import SplitPairs
from genies.interventions.steps.permutations import chosen_sites, signs
from genies.interventions.steps.site_probe import SiteProbe
from genies.stages.splits import Splits
from genies.store.pairs import StoredPairs

SPLIT_SEED = 42
"""Of the folds by which a layer is chosen, as of probes."""


class SplitLayers(Splits):
    """Splits of a run, and single layers of them."""

    @cached_property
    def sources(self) -> dict[str, SplitPairs]:
        """The training splits by name."""
        return {name: self(name, "train") for name in self.names("train")}

    @cached_property
    def targets(self) -> dict[str, SplitPairs]:
        """The test splits by name."""
        return {name: self(name, "test") for name in self.names("test")}

    @cached_property
    def _bound(self) -> dict[tuple[str, Split, tuple[str, ...]], StoredPairs]:
        return {}

    def bound(self, probe: SiteProbe, name: str, split: Split) -> StoredPairs:
        """The pairs of a split as a probe reads them, without labels."""
        key = name, split, probe.fit_views if split == "train" else probe.predict_views
        if key not in self._bound:
            self._bound[key] = self.stored(probe, name, split)
        return self._bound[key]

    def texts(self, probe: SiteProbe, name: str, split: Split, layer: int) -> np.ndarray:
        """Features of a split's pairs in a layer, the best response first, float64 (n, 2, dim)."""
        found = probe.site_features(self.bound(probe, name, split), layer)[:, :, 0].astype(np.float64)
        if split == "train":
            return found
        return np.where(self.targets[name].best_first[:, None, None], found, found[:, ::-1])


def most_accurate_layer(probes: Mapping[str, SiteProbe], splits: SplitLayers, source: str) -> int:
    """The layer in which differences of means rank most training pairs right out of fold, of those all probes read.

    Args:
        probes: by name; they read the same view.
        splits: the run's.
        source: whose training pairs.
    """
    bound = {name: splits.bound(probe, source, "train") for name, probe in probes.items()}
    layers = sorted(set.intersection(*(set(probe.site_layers(bound[name])) for name, probe in probes.items())))
    probe = next(iter(probes.values()))
    cluster = splits.sources[source].cluster
    differences = ((layer, _differences(splits.texts(probe, source, "train", layer))) for layer in layers)
    kept = chosen_sites(differences, signs(cluster, 0, 0), cluster, 1, SPLIT_SEED)
    return layers[int(np.flatnonzero(kept[:, 0])[0])]


def _differences(texts: np.ndarray) -> np.ndarray:
    return (texts[:, 0] - texts[:, 1])[:, None].astype(np.float32)
