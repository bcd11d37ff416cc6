"""Fits of a probe on other training pairs than the run's own, and how right they rank test pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genies.data.options import Split
from genies.data.reading import SplitPairs
from genies.errors import DataError
from genies.evaluation.judge import checked_prediction, checked_repeats
from genies.evaluation.metrics import correctness
from genies.evaluation.uncertainty import accuracy_interval
from genies.interventions.base import Intervention, Pairs
from genies.interventions.registry import make
from genies.interventions.steps.joined import KeptPairs
from genies.interventions.steps.selection import accuracies_kept
from genies.stages.splits import Splits
from genies.stages.targets import targets_of


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


def on_sources(pairs: Sequence[str], probes: Sequence[Probe]) -> Iterator[tuple[str, Probe, list[str]]]:
    """Each source with each probe, and the source's targets; probes of a source share what they compute alike.

    Args:
        pairs: ``SOURCE:TARGET`` each.
        probes: of the run.
    """
    for source, targets in targets_of(pairs).items():
        with accuracies_kept():
            for probe in probes:
                yield source, probe, targets


def shown(splits: Splits, probe: Intervention, name: str, split: Split, wording: int = 0) -> KeptPairs:
    """The pairs of a split as a probe reads them under a wording; their features are kept in memory once read."""
    labelled = split == "train" or probe.reads_test_labels
    return KeptPairs(splits.stored(probe, name, split, labelled, wording))


def correct(fitted: Intervention, pairs: Pairs, target: SplitPairs) -> np.ndarray:
    """How right a fit ranks each test pair of a target: 1, 0, or ½ for a tie; a mean over its seeds; float64 (n,)."""
    return np.mean(correct_by_seed(fitted, pairs, target), axis=0)


def correct_by_seed(fitted: Intervention, pairs: Pairs, target: SplitPairs) -> np.ndarray:
    """The same under each seed of the fit, float64 (seeds, n); of a fit of one seed a row."""
    first = target.best_first
    repeats = checked_repeats(fitted, pairs, target.name) if fitted.repeated_over == "seeds" else None
    if repeats is None:
        repeats = checked_prediction(fitted, pairs, target.name)[0][None]
    return np.stack([correctness(np.where(first, drawn, 1 - drawn)) for drawn in repeats])


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
