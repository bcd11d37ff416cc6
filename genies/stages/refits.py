"""Fits of a probe on other training pairs than the run's own, and how right they rank test pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genies.data.options import Split
from genies.data.reading import SplitPairs, read_test, read_training
from genies.errors import DataError
from genies.evaluation.judge import judge
from genies.evaluation.scored import scored
from genies.evaluation.uncertainty import accuracy_interval
from genies.interventions.base import Intervention, Pairs
from genies.interventions.registry import make
from genies.interventions.steps.joined import KeptPairs
from genies.making import data_roles
from genies.stages.stored import stored_pairs
from genies.store.manifest import Activations


@dataclass(frozen=True)
class Probe:
    """A probe of the run that is fitted again and again.

    Attributes:
        name: its name in the run.
        intervention: name, or path of a Python file.
        parameters: keyword arguments of its class.
    """

    name: str
    intervention: str
    parameters: Mapping[str, Any]

    @classmethod
    def all_of(cls, probes: Mapping[str, Any]) -> list[Probe]:
        """Probes by name, each with ``intervention`` and ``parameters``."""
        return [cls(name, one["intervention"], one["parameters"]) for name, one in probes.items()]

    def unfitted(self) -> Intervention:
        """A new one."""
        return make(self.intervention, self.parameters)

    def fitted(self, pairs: Pairs, what: str) -> Intervention:
        """One that is fitted on pairs.

        Args:
            pairs: training pairs, best response first.
            what: says in errors which those are.

        Raises:
            DataError: it cannot be fitted on them.
        """
        try:
            return self.unfitted().fit(pairs)
        except DataError as error:
            raise DataError(f"{what}: {self.name} cannot be fitted: {error}") from None


class Splits:
    """Splits of a run, each read once, and their pairs as a probe reads them."""

    def __init__(self, train: Sequence[Path], test: Sequence[Path], activations: Sequence[Path], cache: Path) -> None:
        """Remember where they are.

        Args:
            train: ``<distribution>/train.json`` files.
            test: ``<distribution>/test.json`` files.
            activations: manifests of ``genies extract``.
            cache: the cache folder.
        """
        self._files: dict[Split, dict[str, Path]] = {
            "train": {file.parent.name: file for file in data_roles(train).values()},
            "test": {file.parent.name: file for file in data_roles(test).values()},
        }
        self._extracted = Activations(activations, cache)
        self._read: dict[tuple[str, Split], SplitPairs] = {}

    def __call__(self, name: str, split: Split) -> SplitPairs:
        """The pairs of a split."""
        if (name, split) not in self._read:
            read = read_training if split == "train" else read_test
            left_out = self._extracted.left_out(name, split)
            self._read[name, split] = read(self._files[split][name], self._extracted.reading, left_out)
        return self._read[name, split]

    def shown(self, probe: Intervention, name: str, split: Split) -> KeptPairs:
        """The same with their features, which are kept in memory once read."""
        views = probe.fit_views if split == "train" else probe.predict_views
        labelled = split == "train" or probe.reads_test_labels
        stores = self._extracted.stores(name, split, views)
        return KeptPairs(stored_pairs(probe, self(name, split), stores, labelled))


def correct(fitted: Intervention, pairs: Pairs, target: SplitPairs) -> np.ndarray:
    """How right a fit ranks each test pair of a target: 1, 0, or ½ for a tie; a mean over its seeds; float64 (n,)."""
    return scored(judge(fitted, pairs, target)).correct


def summarized(draws: Iterable[np.ndarray], cluster: np.ndarray) -> dict[str, Any]:
    """What several fits, each on training pairs of its own draw, reach on the same test pairs.

    The interval holds what other test examples would change and, by Student's t, what other draws would.

    Args:
        draws: how right each pair is ranked under each draw, float64 (n,) each.
        cluster: the cluster of each pair, int64 (n,).

    Returns:
        ``draws`` (how many), ``accuracy`` (their mean), ``accuracy_sd`` (over draws; None of one), ``low`` and
        ``high`` (95 %).
    """
    values = np.stack(list(draws))
    accuracies = values.mean(axis=1)
    count = len(accuracies)
    sd = float(accuracies.std(ddof=1)) if count > 1 else None
    # Means of sums of halves may round to a little more than 1.
    low, high = accuracy_interval(
        np.clip(values.mean(axis=0), 0, 1), cluster, seed_variance=(sd or 0.0) ** 2 / count, seeds=max(count, 2)
    )
    return {"draws": count, "accuracy": float(accuracies.mean()), "accuracy_sd": sd, "low": low, "high": high}
