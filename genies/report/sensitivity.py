"""What more training pairs, a few labels of the target, and other wordings of a question change.

Sentences, and what their figures are drawn of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from genies.evaluation.simultaneous import ROUNDING
from genies.evaluation.tables.few_labels import NONE, RANDOM, UNCERTAIN
from genies.evaluation.uncertainty import ClusteredMean, clustered_mean, supports_new_shifts
from genies.report.intervals import TOO_FEW_SOURCES
from genies.report.words import counted, listed, number, span

EACH = ("intervention", "source", "target")
ON_SOURCE = pl.col("source") == pl.col("target")


def still_gaining(curves: pl.DataFrame) -> str | None:
    """Which probes are more accurate with all training pairs than with fewer of them; None if not known of a shift.

    Args:
        curves: rows of a model, columns as in ``genies.evaluation.tables.learning_curves.TABLE``.
    """
    sizes = common_sizes(curves)
    if not sizes:
        return None
    both = all_pairs(curves).join(curves.filter(size=sizes[-1]), on=EACH)
    gains, own = _differences(both.filter(~ON_SOURCE)), _differences(both.filter(ON_SOURCE))
    if not gains:  # every shift is from a source to itself
        return None
    text = (
        f"With all training pairs in place of {sizes[-1]}, {_largest(gains)}. {_shown(gains)} (95 % intervals for new "
        f"shifts above 0, each judged alone)."
    )
    if own:
        text += f" On the sources' own test pairs: {_shown(own)}."
    return _supported(text, gains)


def labels_help(labels: pl.DataFrame) -> str | None:
    """Whether a few labelled pairs of the target help, and whether it matters which; None if not known of a shift.

    A shift from a source to itself has no labels to add.

    Args:
        labels: rows of a model, columns as in ``genies.evaluation.tables.few_labels.TABLE``.
    """
    labels = labels.filter(~ON_SOURCE)
    counts = common_counts(labels)
    if not counts:
        return None
    drawn, uncertain = (labels.filter(chosen=chosen, examples=counts[-1]) for chosen in (RANDOM, UNCERTAIN))
    gains = _differences(drawn.join(labels.filter(chosen=NONE), on=EACH))
    choice = _differences(uncertain.join(drawn, on=EACH))
    text = (
        f"With {counted(counts[-1], 'labelled pair')} of the target, drawn at random, {_largest(gains)}. "
        f"{_shown(gains)} (95 % intervals for new shifts above 0, each judged alone). "
        f"With the pairs that the fit on the source is least sure of in place of random ones, {_largest(choice)}. "
        f"{_shown(choice)}."
    )
    return _supported(text, gains)


def wording_matters(variances: pl.DataFrame) -> str | None:
    """How far accuracies move with the wording of what probes ask, next to seeds and examples; None if not known.

    Args:
        variances: rows of a model, columns as in ``genies.evaluation.tables.wording_variance.TABLE``.
    """
    ranged = variances.with_columns(range=pl.col("highest") - pl.col("lowest")).sort("range", descending=True)
    means = [*ranged.filter(pl.col("source").is_null()).iter_rows(named=True)]
    shifts = [*ranged.filter(~ON_SOURCE).iter_rows(named=True)]
    if not means:
        return None
    first, more = means[0], f", the widest range of {counted(len(means), 'probe')}" if len(means) > 1 else ""
    text = (
        f"Under {counted(first['wordings'], 'wording')} of what it asks, mean accuracy over "
        f"{counted(first['shifts'], 'shift')} goes from {number(first['lowest'])} to {number(first['highest'])} with "
        f"{first['intervention']}{more}. {_components(means)}"
    )
    if first["shifts"] > 1:
        widest = shifts[0]
        text += (
            f" On single shifts the range is widest with {widest['intervention']} on {widest['source']} → "
            f"{widest['target']}: {number(widest['lowest'])} to {number(widest['highest'])}."
        )
    return text


def _components(means: Sequence[Mapping[str, Any]]) -> str:
    """Where the variance of the first row's accuracy comes from, and in how many rows wordings are most of it."""
    first = means[0]
    if first["wording_sd"] is None:  # the targets are the same for all
        return (
            "How much of it is due to the wordings is not known: half of a target's test pairs or more have one prompt."
        )
    seeds = "" if first["seed_sd"] is None else f"{number(first['seed_sd'])} between seeds, "
    beyond = [row["intervention"] for row in means if _beyond_examples(row)]
    low_to_high = span(*_factors(first["wordings"]), digits=1)
    return (
        f"That of one fit has a standard deviation of {number(first['wording_sd'])} between wordings, {seeds}and "
        f"{number(_of_examples(first))} between samples of test examples. From "
        f"{counted(first['wordings'], 'wording')}, the first is uncertain: it may be {low_to_high} times as "
        f"large (95 %). {len(beyond)} of {len(means)} "
        f"{'is' if len(beyond) == 1 else 'are'} estimated to vary more with the wording than with the sample of "
        f"examples{': ' + listed(beyond) if beyond else ''}."
    )


def _factors(count: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a standard deviation from so many normal values, as multiples of the estimate."""
    from scipy import special

    low, high = (math.sqrt((count - 1) / (2 * special.gammaincinv((count - 1) / 2, p))) for p in (0.975, 0.025))
    return low, high


def common_sizes(curves: pl.DataFrame) -> list[int]:
    """Numbers of training pairs, ascending, of which all cells of one model have a row and more pairs than that."""
    whole = all_pairs(curves).select(*EACH, whole="size")
    fewer = curves.join(whole, on=EACH).filter(pl.col("size") < pl.col("whole"))
    return _common(fewer, "size", len(whole))


def common_counts(labels: pl.DataFrame) -> list[int]:
    """Numbers of target pairs, ascending, of which all cells of one model have a row."""
    return _common(labels.filter(chosen=RANDOM), "examples", len(labels.filter(chosen=NONE)))


def all_pairs(curves: pl.DataFrame) -> pl.DataFrame:
    """The last row of each curve of one model: the fit on all training pairs."""
    return curves.filter(pl.col("size") == pl.col("size").max().over(EACH))


def _common(rows: pl.DataFrame, name: str, cells: int) -> list[int]:
    return rows.group_by(name).len().filter(pl.col("len") == cells)[name].sort().to_list()


def _of_examples(row: Mapping[str, Any]) -> float:
    """Standard deviation of one fit's accuracy between samples of test examples."""
    return math.hypot(row["example_sd"], row["rest_sd"])


def _beyond_examples(row: Mapping[str, Any]) -> bool:
    """Whether one fit's accuracy is estimated to vary more between wordings than between samples of test examples."""
    return bool(row["wording_sd"] > _of_examples(row))


class _Difference(NamedTuple):
    """The mean difference of a probe's accuracy over shifts."""

    intervention: str
    shifts: int
    mean: ClusteredMean

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval for new shifts; None where sources do not vary, which says nothing of how new ones do."""
        error = self.mean.standard_error
        return None if error is None or error < ROUNDING else self.mean.interval()

    @property
    def is_above(self) -> bool:
        """Whether its interval lies above 0."""
        return self.interval is not None and self.interval[0] > 0


def _differences(both: pl.DataFrame) -> list[_Difference]:
    """Accuracy minus ``accuracy_right``, the largest mean first."""
    rows = both.with_columns(difference=pl.col("accuracy") - pl.col("accuracy_right"))
    found = [
        _Difference(str(name), len(own), clustered_mean(own["difference"].to_numpy(), own["source"].to_numpy()))
        for (name,), own in rows.group_by("intervention", maintain_order=True)
    ]
    return sorted(found, key=lambda one: -one.mean.mean)


def _largest(found: Sequence[_Difference]) -> str:
    best = found[0]
    shifts = counted(best.shifts, "shift")
    ends = best.interval
    interval = f" ({span(*ends)})" if ends else ""
    sign = "+" if best.mean.mean > 0 else ""
    of = f", the most of {counted(len(found), 'probe')}" if len(found) > 1 else ""
    return (
        f"mean accuracy over {shifts} changes by {sign}{number(best.mean.mean)}{interval} with {best.intervention}{of}"
    )


def _shown(found: Sequence[_Difference]) -> str:
    gaining = [one.intervention for one in found if one.is_above]
    names = f": {listed(gaining)}" if gaining else ""
    return f"{len(gaining)} of {len(found)} {'gains' if len(gaining) == 1 else 'gain'} by more than noise{names}"


def _supported(text: str, found: Sequence[_Difference]) -> str:
    return text if supports_new_shifts(found[0].mean.degrees_of_freedom) else f"{text} {TOO_FEW_SOURCES}"
