"""Planned power against simulated tests, and against figures of published results."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from genies.commands import power as command
from genies.data.distributions import Example
from genies.data.framing import frame
from genies.evaluation.power import Assumptions, over_shifts, pairs_needed, shifts_needed, standard_errors, within_shift
from genies.evaluation.uncertainty import clustered_mean

TWO = Assumptions(methods=2)


def test_the_published_difference_over_15_shifts_needs_about_the_figure_of_a_plain_t_test():
    """mms − lora of LLaMA-7B: s.d. 0.143 over 15 shifts; were all sources different, 0.11 could be seen."""
    assert over_shifts([f"s{n}" for n in range(15)], TWO) == pytest.approx(0.111, abs=0.001)


def test_a_difference_of_the_planned_size_on_a_shift_is_found_in_80_percent():
    pairs, draws = 250, 4000
    smallest = within_shift(pairs, pairs, TWO)
    generator = np.random.default_rng(2)
    better, worse = (TWO.discordance + smallest) / 2, (TWO.discordance - smallest) / 2
    answers = generator.choice([1, -1, 0], size=(draws, pairs), p=[better, worse, 1 - TWO.discordance])
    found = np.mean(stats.ttest_1samp(answers, 0, axis=1).pvalue < 0.05)
    low, high = stats.binom.interval(0.999, draws, 0.8)
    assert low / draws - 0.01 <= found <= high / draws + 0.01  # a shifted t is nearly, not quite, a noncentral one


def test_a_difference_of_the_planned_size_is_found_where_prompts_have_three_pairs():
    """Differences on the pairs of a prompt correlate with about 0.3; planned for independent pairs, 0.6 are found."""
    prompts, draws, found = 83, 1500, 0
    smallest = within_shift(3 * prompts, prompts, TWO)
    better, worse = (TWO.discordance + smallest) / 2, (TWO.discordance - smallest) / 2
    generator, cluster = np.random.default_rng(0), np.repeat(np.arange(prompts), 3)
    for _ in range(draws):
        of_prompt, own = generator.standard_normal((prompts, 1)), generator.standard_normal((prompts, 3))
        rank = stats.norm.cdf(np.sqrt(0.45) * of_prompt + np.sqrt(0.55) * own).ravel()
        mean = clustered_mean(1.0 * (rank > 1 - better) - 1.0 * (rank < worse), cluster)
        found += abs(mean.mean) > stats.t.ppf(0.975, mean.degrees_of_freedom) * mean.standard_error
    assert 0.75 < found / draws < 0.85


@pytest.mark.parametrize(("methods", "freedom"), [(2, 20.0), (5, 20.0), (9, 200.0)])
def test_more_methods_need_larger_differences_as_tukeys_test_has_them(methods, freedom):
    critical = stats.studentized_range.ppf(0.95, methods, freedom) / math.sqrt(2)
    expected = critical + stats.t.ppf(0.8, freedom)
    assert standard_errors(methods, freedom) == pytest.approx(expected, rel=1e-4)
    assert standard_errors(methods + 1, freedom) > standard_errors(methods, freedom)


@pytest.mark.parametrize("difference", [0.02, 0.05, 0.2])
def test_what_a_difference_needs_is_what_just_detects_it(difference):
    pairs = pairs_needed(difference, TWO)
    assert within_shift(pairs, pairs, TWO) <= difference < within_shift(pairs - 1, pairs - 1, TWO)
    shifts = shifts_needed(difference, TWO)
    assert over_shifts([str(n) for n in range(shifts)], TWO) <= difference
    smaller = over_shifts([str(n) for n in range(shifts - 1)], TWO)
    assert smaller is None or smaller > difference


def test_shared_sources_cost_degrees_of_freedom_and_correlation_costs_more():
    apart, shared = [str(n) for n in range(24)], [str(n // 2) for n in range(24)]
    assert over_shifts(apart, TWO) < over_shifts(shared, TWO)
    assert over_shifts(shared, TWO) < over_shifts(shared, Assumptions(methods=2, within_source=0.5))
    assert over_shifts(["a", "a", "b"], TWO) is over_shifts([], TWO) is None


def test_what_no_number_of_pairs_shows():
    assert pairs_needed(0.4, TWO) is None and within_shift(10, 1, TWO) is None
    assert within_shift(8, 8, TWO) is None  # two interventions that differ on 0.35 of the pairs cannot be 0.4 apart


@pytest.mark.parametrize(
    ("prompts", "framing", "size"),
    [
        (["rewrite this"] * 30, "response", (30, 30)),  # an instruction: each of its examples is a cluster
        ([f"p{n // 2}" for n in range(30)], "response", (30, 15)),
        ([f"p{n}" for n in range(30)], "truthfulness", (60, 30)),  # two questions about each example
    ],
)
def test_a_target_has_as_many_prompts_as_the_test_has_clusters(prompts, framing, size, monkeypatch):
    examples = [Example(prompt, (f"good {n}", f"worse {n}"), 0, (1,)) for n, prompt in enumerate(prompts)]
    framed = frame(examples, framing, 0)
    split = "test", Path("target/test.json"), framed, list(range(len(framed.examples)))
    monkeypatch.setattr(command, "read_splits", lambda plan: [split])
    assert command._sizes(SimpleNamespace()) == {"target": size}


def test_random_is_one_of_the_interventions_that_are_compared(capsys):
    """As in comparisons.csv, whose family of the demo has 12 interventions."""
    command.power()
    assert "all comparisons of 12 interventions" in capsys.readouterr().out
