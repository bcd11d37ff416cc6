"""What can be said of an intervention on a target without the target's labels.

An evaluation holds probabilities of the *best* response, so the order of its pairs gives the labels away. Everything
here is made of products of two advantages on one pair, and of their sizes, which are the same when a pair is turned
round together with what all interventions say of it. The source's own test pairs are labelled; of the target's, none.

One trace of labels remains: pairs are the best response with each of the worse ones, so which responses were paired
follows from the labels. No quantity reads that: each is a mean over single pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from genies.evaluation.metrics import BASELINE
from genies.evaluation.scored import Scored

LIKELIHOODS = frozenset({BASELINE, "few_shot"})
"""Interventions that rank by the untouched model's likelihood. They agree with each other on nearly everything (their
accuracies correlate with 0.96 over the published shifts of LLaMA-7B), so their agreement says little of either."""
QUANTITIES = (
    "source_accuracy",
    "confident_share",
    "agreement_line",
    "confidence_change",
    "confidence_distance",
    "with_methods",
    "with_methods_change",
    "with_zero_shot",
    "with_zero_shot_change",
    "with_surface",
    "with_surface_change",
)
"""Names of the quantities of a cell; ``quantities`` says what they are."""
FEWEST_LINE = 3
"""Pairs of methods from which on a line through their agreements has a slope worth the name."""


def advantage(probability: np.ndarray) -> np.ndarray:
    """Probability of the first response minus ½, float64 (n,); exactly the opposite where they are exchanged."""
    confidence = np.maximum(probability, 1 - probability)
    return np.asarray(np.sign(probability - 0.5) * (confidence - 0.5))


@dataclass(frozen=True)
class Panel:
    """What several interventions, fitted on one source, say of the pairs of one distribution.

    Attributes:
        advantages: by intervention, the probability of the best response minus ½, float64 (pairs,).
        clusters: by intervention, the cluster of each pair, int64 (pairs,).
        aligned: interventions that judged the same pairs; agreement is known between these.
    """

    advantages: Mapping[str, np.ndarray]
    clusters: Mapping[str, np.ndarray]
    aligned: frozenset[str]

    @classmethod
    def of(cls, scores: Mapping[str, Scored]) -> Panel:
        """The panel of what interventions say, by name. Where some judged other pairs, the most frequent set counts."""
        pairs = {name: (scored.cluster.tobytes(), _bytes(scored.example)) for name, scored in scores.items()}
        common = Counter(pairs.values()).most_common(1)
        return cls(
            {name: advantage(scored.probability) for name, scored in scores.items()},
            {name: scored.cluster for name, scored in scores.items()},
            frozenset(name for name, own in pairs.items() if own == common[0][0]),
        )

    @property
    def pairs(self) -> int:
        """How many pairs most interventions judged; 0 where there is none."""
        return max((len(self.advantages[name]) for name in self.aligned), default=0)

    @cached_property
    def agreement(self) -> dict[tuple[str, str], float]:
        """Share of pairs that two interventions rank alike, a tie counting half; by both names, in either order."""
        names = sorted(self.aligned)
        if not names:
            return {}
        signs = np.sign(np.stack([self.advantages[name] for name in names]))
        shares = (1 + signs @ signs.T / signs.shape[1]) / 2
        return {(a, b): float(shares[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)}

    def drawn(self, pairs: int, generator: np.random.Generator) -> Panel:
        """The panel of a batch of so many pairs, whole clusters drawn at random; the last one may be cut short."""
        chosen: dict[bytes, np.ndarray] = {}
        for cluster in self.clusters.values():
            if (key := cluster.tobytes()) not in chosen:
                names, number = np.unique(cluster, return_inverse=True)
                chosen[key] = np.argsort(generator.permutation(len(names))[number], kind="stable")[:pairs]
        of_name = {name: chosen[cluster.tobytes()] for name, cluster in self.clusters.items()}
        return Panel(
            {name: own[of_name[name]] for name, own in self.advantages.items()},
            {name: own[of_name[name]] for name, own in self.clusters.items()},
            self.aligned,
        )


def _bytes(example: np.ndarray | None) -> bytes:
    return b"" if example is None else example.tobytes()


def confident_share(source: np.ndarray, accuracy: float, target: np.ndarray) -> float:
    """Average thresholded confidence: the accuracy that the target's confidences suggest.

    The threshold is the confidence that as large a share of the source's pairs exceeds as is ranked right there (Garg
    et al. 2022, arXiv 2201.04234). Pairs at the threshold count in the proportion that makes the source exact, so that
    confidences of 0 and 1 alone are no special case. It is never below what pure confidence allows, and so cannot
    recognise a target on which confident verdicts are wrong.

    Args:
        source: confidences on the source's test pairs, float (n,).
        accuracy: share of these pairs that are ranked right.
        target: confidences on the target's pairs, float (m,).
    """
    wanted = accuracy * len(source)
    ordered = np.sort(source)[::-1]
    threshold = ordered[max(int(np.ceil(wanted - 1e-9)), 1) - 1]
    at = (wanted - np.sum(source > threshold)) / np.sum(source == threshold)
    return float(np.mean(target > threshold) + at * np.mean(target == threshold))


def agreement_line(source: Panel, target: Panel, methods: Sequence[str]) -> tuple[float, float] | None:
    """Slope and intercept of the line through the probits of agreements on source and target.

    Over pairs of models, agreement on the target is often linear in that on the source, on the probit scale, and
    accuracy then follows the same line (Baek et al. 2022, arXiv 2206.13089, ALine-S). Here the models are the methods
    that were fitted on the source.

    Returns:
        None with fewer than ``FEWEST_LINE`` pairs of methods, or where they agree on the source all alike.
    """
    known = source.aligned & target.aligned
    chosen = [
        (a, b)
        for a, b in combinations(sorted(known & set(methods)), 2)
        if not {a, b} <= LIKELIHOODS
    ]  # fmt: skip
    if len(chosen) < FEWEST_LINE:
        return None
    x = _probit(np.array([source.agreement[pair] for pair in chosen]), source.pairs)
    y = _probit(np.array([target.agreement[pair] for pair in chosen]), target.pairs)
    spread = float(np.sum((x - x.mean()) ** 2))
    if spread < 1e-9:
        return None
    slope = float(np.sum((x - x.mean()) * (y - y.mean()))) / spread
    return slope, float(y.mean() - slope * x.mean())


def _probit(shares: np.ndarray, pairs: int) -> np.ndarray:
    """Normal quantiles of shares of so many pairs; none and all count as half a pair."""
    from scipy import special  # takes longer to import than most jobs take to do their work

    least = 0.5 / pairs
    return np.asarray(special.ndtri(np.clip(shares, least, 1 - least)))


def quantities(
    source: Panel,
    target: Panel,
    accuracy: Mapping[str, float],
    methods: Sequence[str],
    surface: Sequence[str] = (),
) -> dict[str, dict[str, float]]:
    """What is known of each method on a target without its labels.

    Args:
        source: verdicts on the source's test pairs.
        target: verdicts on the target's pairs.
        accuracy: on the source's test pairs, by intervention.
        methods: whose quantities are wanted; those without a verdict on the target have none.
        surface: names of the surface baselines.

    Returns:
        By method and by name, those of ``QUANTITIES`` that are known:

        - ``source_accuracy``: the accuracy on the source's test pairs;
        - ``confident_share``: average thresholded confidence, see ``confident_share``;
        - ``agreement_line``: accuracy by agreement-on-the-line, see ``agreement_line``;
        - ``confidence_change``: mean of \\|2p − 1\\| on the target minus that on the source;
        - ``confidence_distance``: Kolmogorov–Smirnov distance of these confidences on source and target;
        - ``with_methods``: mean share of the target's pairs that the method ranks as another method does, over the
          other methods, those of ``LIKELIHOODS`` left out;
        - ``with_zero_shot``: share that it ranks as the untouched model does; not for methods of ``LIKELIHOODS``;
        - ``with_surface``: share that it ranks as the source's strongest surface baseline does, the one with the
          highest accuracy on the source;
        - ``…_change``: the same on the target minus on the source.
    """
    line = agreement_line(source, target, methods)
    known = [name for name in surface if name in accuracy]
    strongest = max(known, key=lambda name: (accuracy[name], name), default=None)
    partners = {"with_surface": [strongest] if strongest else [], "with_zero_shot": [BASELINE]}
    found: dict[str, dict[str, float]] = {}
    for name in methods:
        if name not in target.advantages:
            continue
        others = {**partners, "with_methods": [one for one in methods if one != name and one not in LIKELIHOODS]}
        if name in LIKELIHOODS:
            others["with_zero_shot"] = []
        own = dict(_of_confidence(source, target, name, accuracy.get(name), line))
        for quantity, partner in others.items():
            own |= _of_agreement(source, target, name, partner, quantity)
        found[name] = own
    return found


def _of_confidence(
    source: Panel, target: Panel, name: str, accuracy: float | None, line: tuple[float, float] | None
) -> Iterator[tuple[str, float]]:
    """Quantities that need no other intervention, or those alone that the line was made of."""
    from scipy import special, stats  # takes longer to import than most jobs take to do their work

    if accuracy is not None:
        yield "source_accuracy", accuracy
    if name not in source.advantages:
        return
    here, there = (np.abs(panel.advantages[name]) for panel in (source, target))
    yield "confidence_change", 2 * float(there.mean() - here.mean())
    yield "confidence_distance", float(stats.ks_2samp(here, there, method="asymp").statistic)
    if accuracy is not None:
        yield "confident_share", confident_share(here, accuracy, there)
        if line is not None:
            slope, intercept = line
            probit = float(_probit(np.array([accuracy]), len(here))[0])
            yield "agreement_line", float(special.ndtr(slope * probit + intercept))


def _of_agreement(source: Panel, target: Panel, name: str, partners: Sequence[str], quantity: str) -> dict[str, float]:
    """Mean agreement with other interventions on the target, and how it differs from that on the source."""
    on_target = [target.agreement[name, other] for other in partners if (name, other) in target.agreement]
    if not on_target:
        return {}
    found = {quantity: float(np.mean(on_target))}
    both = [other for other in partners if (name, other) in target.agreement and (name, other) in source.agreement]
    if both:
        changes = [target.agreement[name, other] - source.agreement[name, other] for other in both]
        found[f"{quantity}_change"] = float(np.mean(changes))
    return found
