"""What a model can do on a reference, measured on pairs that neither choice nor training has seen.

Under the protocol ``corrected``. The best of several interventions, chosen by its accuracy on the very pairs that it is
then measured on, looks better than it is, the more so the more there are. So the best one is chosen by the accuracy of
fits on training pairs that they had not seen. Where that is not known of each (a training would have to be repeated for
each fold), the choice is cross-fitted: made on four fifths of the test pairs and measured on the last one, in turn,
over several seeded divisions. Either way, test pairs that the training split knows are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from genies.evaluation.clean import enough
from genies.evaluation.scored import Key, Scored

FOLDS, DIVISIONS = 5, 20
OUT_OF_FOLD = "out-of-fold accuracy on training pairs"
CROSS_FITTED = "cross-fitting on test pairs"
ALONE = "nothing else to choose from"
ON_TEST_PAIRS = "accuracy on test pairs"
AS_GIVEN = "as published"
"""Ways of choosing the best intervention, as ``capability_chosen_by`` states them."""


@dataclass(frozen=True)
class Measured:
    """An accuracy on some of a target's pairs.

    Attributes:
        judged: what an intervention says of all of them.
        kept: which of them count, bool (n,).
    """

    judged: Scored
    kept: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the kept pairs that are ranked right."""
        return float(self.judged.correct[self.kept].mean())

    def interval(self) -> tuple[float, float]:
        """Its 95 % interval over clusters."""
        kept = self.judged.where(self.kept)
        return kept.interval


@dataclass(frozen=True)
class Capability:
    """What a model can do on a reference.

    Attributes:
        accuracy: of the best intervention, None where it is not known.
        intervention: the best one; where the choice was cross-fitted, that which was chosen most often.
        chosen_by: how it was chosen.
        chosen_from: from which.
        measured: on which pairs; None where that is not known.
        too_few_clean: whether it is unknown because too few of the reference's pairs are clean.
    """

    accuracy: float | None = None
    intervention: str | None = None
    chosen_by: str | None = None
    chosen_from: tuple[str, ...] = ()
    measured: Measured | None = None
    too_few_clean: bool = False


@dataclass(frozen=True)
class CleanCapabilities:
    """Capabilities of a run, and the accuracies that are compared with them.

    Attributes:
        scores: what every intervention says of every target.
        seen: by (source, target), the target's examples of which the source's training split shows something.
        interventions: those to choose the best from.
        out_of_fold: accuracy on training pairs of fits that had not seen them, by (model, intervention, reference).
    """

    scores: Mapping[Key, Scored]
    seen: Mapping[tuple[str, str], Collection[int]]
    interventions: Sequence[str]
    out_of_fold: Mapping[tuple[str, str, str], float]
    _found: dict[tuple[str, ...], Capability] = field(default_factory=dict)

    def measured(self, model: str, intervention: str, source: str, target: str, reference: str) -> Measured | None:
        """An intervention on the target's clean pairs; None where its pairs are not known, or too few of them clean.

        Where the target is its own reference, clean are those that stand in neither training split, so that accuracy
        and capability are of the same pairs.
        """
        judged = self.scores.get((model, intervention, source, target))
        return None if judged is None else self._clean(judged, source, target, reference)

    def capability(self, model: str, source: str, target: str, reference: str) -> Capability:
        """The capability on a shift's reference: of the same pairs where that is the target itself."""
        key = (model, reference, source if target == reference else "")
        if key not in self._found:
            self._found[key] = self._best(model, source, target, reference)
        return self._found[key]

    def _best(self, model: str, source: str, target: str, reference: str) -> Capability:
        """Interventions whose accuracy is stated and not that of pairs are no candidates."""
        own_source = source if target == reference else reference
        judged = {name: self.scores.get((model, name, reference, reference)) for name in self.interventions}
        known_pairs = {name: of_all for name, of_all in judged.items() if of_all is not None}
        found = {name: self._clean(of_all, own_source, reference, reference) for name, of_all in known_pairs.items()}
        candidates = {name: measured for name, measured in found.items() if measured is not None}
        names = tuple(candidates)
        if not names:
            return Capability(too_few_clean=bool(known_pairs))
        if len(names) == 1:
            (measured,) = candidates.values()
            return Capability(measured.accuracy, names[0], ALONE, names, measured)
        unseen = (self.out_of_fold.get((model, name, reference)) for name in names)
        known = [accuracy for accuracy in unseen if accuracy is not None]
        if len(known) == len(names):
            best = names[int(np.argmax(known))]
            return Capability(candidates[best].accuracy, best, OUT_OF_FOLD, names, candidates[best])
        best, measured = cross_fitted(candidates)
        return Capability(measured.accuracy, best, CROSS_FITTED, names, measured)

    def _clean(self, judged: Scored, source: str, target: str, reference: str) -> Measured | None:
        examples = set(self.seen.get((source, target), ()))
        if target == reference:
            examples |= set(self.seen.get((target, target), ()))
        nothing = np.zeros(len(judged.cluster), bool)
        known = nothing if judged.example is None else np.isin(judged.example, list(examples))
        kept = ~np.isin(judged.cluster, judged.cluster[known])
        clean = judged.where(kept)
        return Measured(judged, kept) if kept.all() or enough(clean) else None


def cross_fitted(candidates: Mapping[str, Measured]) -> tuple[str, Measured]:
    """The best of several interventions, each pair judged by the one that is best on the folds without its cluster.

    Source: cross-fitting as in the double use of one sample (Chernozhukov et al., Econometrics Journal 21, 2018),
    averaged over divisions.

    Args:
        candidates: by name, all on the same pairs; the earlier one of equals is chosen.

    Returns:
        The one that was chosen most often, and how right each pair is ranked, a mean over divisions.
    """
    names = list(candidates)
    first = candidates[names[0]]
    rows = np.flatnonzero(first.kept)
    correct = np.stack([candidates[name].judged.correct[rows] for name in names])
    clusters, position = np.unique(first.judged.cluster[rows], return_inverse=True)
    folds, generator = min(FOLDS, len(clusters)), np.random.default_rng(0)
    total = np.zeros(len(rows))
    chosen: Counter[str] = Counter()
    for _ in range(DIVISIONS):
        fold = generator.permutation(len(clusters))[position] % folds
        for number in range(folds):
            held_out = fold == number
            best = int(np.argmax(correct[:, ~held_out].mean(axis=1))) if folds > 1 else 0
            total[held_out] += correct[best, held_out]
            chosen[names[best]] += 1
    judged = first.judged.correct.copy()
    judged[rows] = total / DIVISIONS
    measured = Measured(Scored(judged, first.judged.cluster, judged, example=first.judged.example), first.kept)
    return chosen.most_common(1)[0][0], measured
