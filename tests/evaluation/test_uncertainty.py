"""Intervals of means over shifts: what they cover, and what they do at the edges."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from genies.data.shifts import Shift, read_shifts
from genies.evaluation import bootstrap
from genies.evaluation.scored import Scored
from genies.evaluation.uncertainty import clustered_mean, supports_new_shifts, two_way_mean

MEAN = 0.65
EFFECTS = {
    "shifts alone": (0.0, 0.0, 0.15),
    "few of sources and targets": (0.05, 0.05, 0.1),
    "sources more than targets": (0.1, 0.05, 0.1),
    "sources above all": (0.15, 0.05, 0.05),
    "sources and targets alike": (0.1, 0.1, 0.1),
    "targets more than sources": (0.05, 0.1, 0.1),
}
"""Standard deviations of the effects of sources, of targets and of single shifts on an accuracy."""


def packaged(name: str, label: str) -> list[Shift]:
    return [shift for shift in read_shifts(name) if label in ("all", shift.label)]


def numbered(names: list[str]) -> np.ndarray:
    return np.unique(names, return_inverse=True)[1]


def variances(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """CR2 variance of the mean of each row."""
    sizes, n = np.bincount(cluster), len(cluster)
    sums = (values - values.mean(1, keepdims=True)) @ np.eye(len(sizes))[cluster]
    return np.sum(sums**2 / (1 - sizes / n), axis=1) / n**2


def coverage_of_new_shifts(shifts: list[Shift], effects: tuple[float, float, float]) -> tuple[float, float]:
    """Share of 10,000 benchmarks of this structure whose interval holds the mean, by source and two-way."""
    generator = np.random.default_rng([23, len(shifts)])
    source, target = numbered([shift.source for shift in shifts]), numbered([shift.target for shift in shifts])
    of_source, of_target, of_shift = (
        generator.normal(0, sd, (10_000, count))
        for sd, count in zip(effects, (source.max() + 1, target.max() + 1, len(shifts)), strict=True)
    )
    accuracy = np.clip(MEAN + of_source[:, source] + of_target[:, target] + of_shift, 0, 1)
    values = generator.binomial(250, accuracy) / 250
    one_way = [variances(values, cluster) for cluster in (source, target)]
    both = variances(values, numbered([f"{shift.source} {shift.target}" for shift in shifts]))
    two_way = np.maximum(sum(one_way) - both, np.maximum(*one_way))
    found = clustered_mean(values[0], source), two_way_mean(values[0], source, target)
    for variance, mean in zip((one_way[0], two_way), found, strict=True):
        assert variance[0] ** 0.5 == pytest.approx(mean.standard_error)
    distance = np.abs(values.mean(1) - MEAN)
    by_source, by_both = (
        float(np.mean(distance <= stats.t.ppf(0.975, mean.degrees_of_freedom) * np.sqrt(variance)))
        for variance, mean in zip((one_way[0], two_way), found, strict=True)
    )
    return by_source, by_both


@pytest.mark.long
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize(("name", "label", "freedom"), [
    ("published69", "all", 5.9), ("published69", "extreme", 12.4), ("genies15", "extreme", 4.6),
    ("genies15", "all", 2.8), ("published69", "probing", 1.5), ("genies15", "probing", 1.0),
])  # fmt: skip
def test_intervals_for_new_shifts_cover_what_they_promise(name: str, label: str, freedom: float, effects: str) -> None:
    shifts = packaged(name, label)
    found = clustered_mean(np.zeros(len(shifts)), [shift.source for shift in shifts])
    assert found.degrees_of_freedom == pytest.approx(freedom, abs=0.05)
    assert supports_new_shifts(found.degrees_of_freedom) == (freedom > 4)
    by_source, two_way = coverage_of_new_shifts(shifts, EFFECTS[effects])
    assert two_way >= 0.92
    large_targets = effects in ("sources and targets alike", "targets more than sources")
    if (name, label) == ("published69", "extreme") and large_targets:
        # Clusters of sources do not see that shifts of several sources share a target: 37 shifts have 26 targets.
        assert 0.9 <= by_source < 0.92
    else:
        assert by_source >= 0.92


@pytest.mark.long
def test_intervals_over_examples_cover_the_mean_of_the_very_shifts() -> None:
    for name in ("published69", "genies15"):
        covered = np.concatenate([coverage_of_new_examples(read_shifts(name), trial) for trial in range(10)])
        assert len(covered) == 2_000
        accuracy, elicitation = covered.mean(0)
        assert accuracy >= 0.92
        assert elicitation >= 0.92


def coverage_of_new_examples(shifts: list[Shift], trial: int) -> np.ndarray:
    """Whether intervals of mean accuracy and of mean elicitation hold the truth, bool (200, 2)."""
    generator, examples, simulations, resamples = np.random.default_rng([24, trial]), 250, 200, 400
    draws = bootstrap._Draws({}, trial, resamples)
    targets = {shift.target for shift in shifts}
    # The examples of a target are as hard for every source.
    hardness = {name: generator.random((examples, simulations)) for name in sorted(targets)}
    weight = {name: draws._weights(name, examples).astype(np.float32) for name in sorted(targets)}
    truth, drawn = np.zeros(2), np.zeros((2, resamples, simulations))
    rows, scores = [], {}
    for shift in shifts:
        level, capability = generator.uniform(0.3, 0.8), 0.85
        correct, reached = (hardness[shift.target] < share for share in (level, capability))
        accuracy, best = (weight[shift.target] @ of.astype(np.float32) / examples for of in (correct, reached))
        truth += np.array([level, level / capability]) / len(shifts)
        drawn += np.stack([accuracy, accuracy / best]) / len(shifts)
        scores["m", "mms", shift.source, shift.target] = scored_of(correct[:, 0])
        scores["m", "best", shift.target, shift.target] = scored_of(reached[:, 0])
        place = {"model": "m", "intervention": "mms", "source": shift.source, "target": shift.target}
        known = {"target_reference": shift.target, "target_tuned_capability": float(reached[:, 0].mean())}
        rows.append(place | known | {"target_tuned_capability_intervention": "best"})
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    if trial == 0:
        metrics = pl.DataFrame(rows)
        found = bootstrap.DrawnMeans(metrics, scores, trial, resamples=resamples)
        for number, name in enumerate(("generalization_accuracy", "elicitation")):
            assert found.interval(metrics, name) == pytest.approx((low[number, 0], high[number, 0]), abs=1e-5)
    return ((low <= truth[:, None]) & (truth[:, None] <= high)).T


def scored_of(correct: np.ndarray) -> Scored:
    values = correct.astype(np.float64)
    return Scored(values, np.arange(len(values)), values)


def test_with_a_value_in_each_cluster_the_interval_is_students() -> None:
    values = np.array([0.2, 0.5, 0.6, 0.9])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = clustered_mean(values, ["d", "a", "c", "b"])
    assert found.interval(0.9) == pytest.approx((expected.low, expected.high))
    assert (found.degrees_of_freedom, found.clusters) == (pytest.approx(3), 4)


def dense_cr2(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Standard error and degrees of freedom by the general matrices of Pustejovsky and Tipton, for one regressor."""
    n = len(values)
    design = np.ones((n, 1))
    bread = np.linalg.inv(design.T @ design)
    residual_maker = np.eye(n) - design @ bread @ design.T
    residual, variance, columns = residual_maker @ values, 0.0, []
    for cluster in np.unique(clusters):
        inside = clusters == cluster
        roots, vectors = np.linalg.eigh(residual_maker[np.ix_(inside, inside)])
        adjustment = vectors @ np.diag(roots**-0.5) @ vectors.T
        weight = adjustment @ design[inside] @ bread
        variance += (weight[:, 0] @ residual[inside]) ** 2
        columns.append(residual_maker[:, inside] @ weight[:, 0])
    form = np.array(columns) @ np.array(columns).T
    return float(np.sqrt(variance)), float(np.trace(form) ** 2 / np.trace(form @ form))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 1, 2), (21, 3, 3, 1, 1, 1), (7, 7), (900, 1), (500, 1, 1)])
def test_cr2_agrees_with_its_matrices(sizes: tuple[int, ...]) -> None:
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(25).normal(0.6, 0.2, len(clusters))
    found = clustered_mean(values, clusters)
    assert (found.standard_error, found.degrees_of_freedom) == pytest.approx(dense_cr2(values, clusters))


def test_order_and_names_of_clusters_play_no_part() -> None:
    values, clusters = np.array([0.1, 0.4, 0.5, 0.9, 0.3]), np.array(["b", "a", "a", "c", "b"])
    order = [3, 0, 4, 2, 1]
    assert clustered_mean(values[order], clusters[order]).interval() == pytest.approx(
        clustered_mean(values, numbered(list(clusters)) * 10).interval()
    )


def test_a_shift_listed_twice_stays_one_cluster() -> None:
    values, sources = np.array([0.1, 0.4, 0.5, 0.9]), np.array(["a", "b", "c", "d"])
    once, twice = clustered_mean(values, sources), clustered_mean(values[[0, *range(4)]], sources[[0, *range(4)]])
    assert twice.mean == pytest.approx((0.2 + 0.4 + 0.5 + 0.9) / 5)
    assert twice.clusters == 4 and twice.degrees_of_freedom < once.degrees_of_freedom
    everything = clustered_mean(np.repeat(values, 3), np.repeat(sources, 3))
    assert everything.interval() == pytest.approx(once.interval())


def test_one_source_says_nothing_of_others() -> None:
    found = clustered_mean([0.5, 0.7], ["a", "a"])
    assert (found.mean, found.standard_error, found.degrees_of_freedom, found.clusters) == (0.6, None, None, 1)
    assert found.interval() is None and not supports_new_shifts(found.degrees_of_freedom)
    assert two_way_mean([0.5, 0.7], ["a", "b"], ["t", "t"]).interval() is None
    assert two_way_mean([0.5, 0.7], ["a", "a"], ["t", "u"]).interval() is None


def test_two_way_variance_is_that_of_both_ways_less_that_of_single_shifts() -> None:
    generator = np.random.default_rng(26)
    sources, targets = generator.integers(0, 6, 40), generator.integers(0, 9, 40)
    values = generator.normal(0, 1, 6)[sources] + generator.normal(0, 1, 9)[targets] + generator.normal(0, 0.1, 40)
    by_source, by_target = clustered_mean(values, sources), clustered_mean(values, targets)
    single = clustered_mean(values, sources * 9 + targets)
    found = two_way_mean(values, sources, targets)
    expected = by_source.standard_error**2 + by_target.standard_error**2 - single.standard_error**2
    assert found.standard_error == pytest.approx(expected**0.5)
    assert found.degrees_of_freedom == min(by_source.degrees_of_freedom, by_target.degrees_of_freedom)
    assert found.clusters == 6


def test_two_way_variance_is_at_least_that_of_either_way() -> None:
    # Within a target the residuals cancel, so that the sum would fall below the variance by source.
    values, sources = [0.0, 1.0, 0.1, 0.9, 0.2, 0.8], list("abcdef")
    found = two_way_mean(values, sources, list("ttuuvv"))
    assert found.standard_error == clustered_mean(values, sources).standard_error


@pytest.mark.parametrize(
    ("values", "clusters"), [([], []), ([0.5, float("nan")], [1, 2]), ([0.5, 0.6], [1]), ([[0.5]], [[1]])]
)
def test_means_that_are_none_are_refused(values: list, clusters: list) -> None:
    with pytest.raises(ValueError):
        clustered_mean(values, clusters)
