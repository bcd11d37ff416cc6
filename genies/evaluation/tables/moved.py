"""Which direction moved: a probe on a tuned model next to the same probe on the model that it was tuned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import BASELINE, NULL
from genies.evaluation.scored import Key, Scored
from genies.evaluation.simultaneous import Estimate, judged
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.comparisons import NOT_TESTED, verdict
from genies.evaluation.tables.cues import followed_rule
from genies.evaluation.uncertainty import cluster_influences, clustered_mean

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "moved.csv",
    {
        **dict.fromkeys(("model", "base", "intervention", "source", "target", "rival"), pl.String),
        "pairs": pl.Int64,
        **dict.fromkeys(("before", "after", "difference", "difference_low", "difference_high"), pl.Float64),
        "p_adjusted": pl.Float64,
        "verdict": pl.String,
        "score_correlation": pl.Float64,
    },
    optional=True,
    rows=Rows((*PLACE, "rival"), ("base", "pairs", "before", "after", "difference", "verdict"), blank=("rival",)),
)
"""Columns of ``moved.csv``: ``intervention``, fitted on the same source on a tuned ``model`` and on its ``base``. Where
``rival`` is empty, ``before`` and ``after`` are its accuracies under the base and under the tuned model, and
``score_correlation`` says how alike the two fits score the pairs of the target. In the other rows they are the shares
of pairs that it ranks as the rival of ``cues.csv`` does; the likelihood that is a rival is that of the base. ``pairs``
counts those on which the rival has a preference; where they lie in fewer than half of the target's clusters, the row is
not tested. ``difference_low`` to ``difference_high`` is the simultaneous 95 % interval over all rows of the model and
the shift that are, paired by cluster, and ``verdict`` one of ``comparisons.VERDICTS``, said of the tuned model."""


def rows(run: Measurements) -> pl.DataFrame:
    rivals = run.surface["intervention"].unique(maintain_order=True).to_list() if len(run.surface) else []
    return moved(run.metrics, run.scores, run.tuned, [*rivals, BASELINE])


def moved(
    metrics: pl.DataFrame, scores: Mapping[Key, Scored], tuned: Mapping[str, str], rivals: Sequence[str]
) -> pl.DataFrame:
    """Probes on tuned models next to the same ones on their bases, columns as in ``TABLE``.

    Args:
        metrics: of methods, as in ``tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked; shifts on which that is not known of both models are left out.
        tuned: base by tuned model.
        rivals: names of the interventions whose rules are rivals, as the base ran them.
    """
    methods = metrics.filter(pl.col("intervention") != NULL)
    found: list[dict[str, Any]] = []
    for model, base in tuned.items():
        for (source, target), own in methods.filter(model=model).group_by("source", "target", maintain_order=True):
            rules = {rival: scores.get((base, rival, str(source), str(target))) for rival in rivals}
            family: list[dict[str, Any]] = []
            estimates: list[tuple[Scored, Scored]] = []
            for name in own["intervention"].unique(maintain_order=True):
                before, after = (scores.get((of, name, str(source), str(target))) for of in (base, model))
                if before is None or after is None or not before.same_pairs(after):
                    continue
                place = {"model": model, "base": base, "intervention": name, "source": source, "target": target}
                for columns, pair in _by_rule(name, before, after, rules):
                    family.append(place | columns)
                    estimates.append(pair)
            found += _judged(family, estimates)
    return TABLE.frame(found)


def score_correlation(before: Scored, after: Scored) -> float | None:
    """How alike two fits score pairs: Pearson's r of their differences of scores, each pair taken in both orders.

    Which response of a pair comes first plays no part then, so that r is Σ ab / √(Σ a² Σ b²).

    Returns:
        None where scores are missing, or one fit gives both responses of every pair the same.
    """
    if before.advantage is None or after.advantage is None:
        return None
    product = float(np.linalg.norm(before.advantage) * np.linalg.norm(after.advantage))
    return float(before.advantage @ after.advantage) / product if product and np.isfinite(product) else None


def _by_rule(
    name: str, before: Scored, after: Scored, rules: Mapping[str, Scored | None]
) -> list[tuple[dict[str, Any], tuple[Scored, Scored]]]:
    """Columns that name a rule, and what both fits say of the pairs as if that rule were right: the labels first."""
    by_labels: dict[str, Any] = {"score_correlation": score_correlation(before, after)}
    found = [(by_labels, (before, after))]
    for rival, rule in rules.items():
        if rival == name or rule is None or not before.same_pairs(rule):
            continue
        followed = followed_rule(before, rule.correct), followed_rule(after, rule.correct)
        if len(followed[0].correct):
            found.append(({"rival": rival}, followed))
    return found


def _judged(family: Sequence[dict[str, Any]], pairs: Sequence[tuple[Scored, Scored]]) -> list[dict[str, Any]]:
    """The rows of a shift with their differences, judged together."""
    estimates = [_estimate(pair, number, pairs) for number, pair in enumerate(pairs)]
    judgements = iter(judged([one for one in estimates if one is not None]))
    found = []
    for row, (before, after), estimate in zip(family, pairs, estimates, strict=True):
        shares = {"before": float(before.correct.mean()), "after": float(after.correct.mean())}
        difference = shares["after"] - shares["before"]
        row = {**row, "pairs": len(before.correct), **shares, "difference": difference, "verdict": NOT_TESTED}
        if estimate is not None:
            judgement = next(judgements)
            row |= {"difference_low": judgement.low, "difference_high": judgement.high}
            row |= {"p_adjusted": judgement.p_adjusted, "verdict": verdict(difference, judgement.p_adjusted)}
        found.append(row)
    return found


def _estimate(pair: tuple[Scored, Scored], number: int, pairs: Sequence[tuple[Scored, Scored]]) -> Estimate | None:
    """The difference of one row, over the clusters of the target and the seeds of each row.

    Error and degrees of freedom are those of ``clustered_mean``, which hold where a prompt has most of the pairs.
    Which seeds a row's fits were drawn with is taken as independent of the others'.

    Returns:
        None for one cluster, and for fewer than half of the target's: since the fewest degrees of freedom count for a
        family, a rival with a preference on three pairs would widen the intervals of all.
    """
    before, after = pair
    clusters = np.unique(np.concatenate([one.cluster for one, _ in pairs]))
    place, difference = np.searchsorted(clusters, before.cluster), after.correct - before.correct
    count = len(np.unique(place))
    if count < 2 or 2 * count < len(clusters):
        return None
    of_clusters, of_seeds = np.zeros(len(clusters)), np.zeros(len(pairs))
    known, influences = cluster_influences(difference, place)
    of_clusters[known] = influences
    of_seeds[number] = np.sqrt(before.seed_variance + after.seed_variance)
    freedom = clustered_mean(difference, place).degrees_of_freedom
    assert freedom is not None  # of two clusters or more it is known
    return Estimate(float(difference.mean()), np.concatenate([of_clusters, of_seeds]), freedom, count)
