"""What the page says first: each sentence where it holds, and where its opposite does."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl
import pytest
from test_page import Page, make_tables

from genies.data.shifts import Shift, benchmarks
from genies.evaluation.tables.claims import TABLE as CLAIMS
from genies.evaluation.tables.comparisons import compare
from genies.evaluation.tables.leaderboard import leaderboard
from genies.report.findings import findings
from genies.report.intervals import INDEPENDENT
from genies.report.page import render
from genies.report.tables import Tables

METHODS = ("random", "zero_shot", "mms", "lora")
SHIFTS = [Shift(f"s{n}", f"t{n}", f"t{n}", "extreme" if n < 8 else "probing", "skill", 1) for n in range(16)]
LEVELS = {"random": 0.5, "zero_shot": 0.6, "mms": 0.8, "lora": 0.79}
WIGGLE = (0.00, 0.03, -0.02, 0.01, -0.03, 0.02, -0.01)


def made(
    levels: dict[str, float] | None = None,
    places: dict[tuple[str, int], float] | None = None,
    shifts: list[Shift] = SHIFTS,
    margin: float = 0.05,
    **columns: pl.Expr,
) -> Tables:
    """Tables in which each method is about as accurate as its level, and on some shifts (by number) as planted."""
    levels = LEVELS | (levels or {})
    run = make_tables(["small"], list(METHODS), shifts)
    numbers = {(shift.source, shift.target): n for n, shift in enumerate(shifts)}
    accuracies = []
    for row in run.metrics.iter_rows(named=True):
        method, n = row["intervention"], numbers[row["source"], row["target"]]
        wiggle = 0 if method == "random" else WIGGLE[(n * (METHODS.index(method) + 1)) % 7]
        accuracies.append((places or {}).get((method, n), levels[method] + wiggle))
    metrics = run.metrics.with_columns(pl.Series("generalization_accuracy", accuracies))
    metrics = metrics.with_columns(
        generalization_accuracy_low=pl.col("generalization_accuracy") - margin,
        generalization_accuracy_high=pl.col("generalization_accuracy") + margin,
    ).with_columns(**columns)
    sets = benchmarks(shifts)
    comparisons = compare(metrics, {}, sets)
    board = leaderboard(metrics, sets, comparisons=comparisons)
    return run.having(generalization_metrics=metrics, comparisons=comparisons, leaderboard=board)


def said(run: Tables) -> dict[str, str]:
    return {finding.about: finding.text for finding in findings(run)["small"]}


def test_the_best_method_is_named_for_extreme_and_probing_shifts() -> None:
    weak_on_probing = {("mms", n): 0.62 + WIGGLE[n % 7] for n in range(8, 16)}
    found = said(made(places=weak_on_probing))
    assert found["Best on extreme shifts"].startswith("mms has the highest mean accuracy over 8 shifts: 0.8")
    assert found["Best on probing shifts"].startswith("lora has the highest")
    assert "Best method" not in found
    one_label = [replace(shift, label="extreme") for shift in SHIFTS]
    assert said(made(shifts=one_label))["Best method"].startswith("mms has the highest mean accuracy over 16 shifts")


def test_a_single_method_is_compared_with_none() -> None:
    run = made(calibration_error=pl.lit(0.1))
    alone = {name: run[name].filter(intervention="mms") for name in ("generalization_metrics", "leaderboard")}
    found = said(run.having(**alone))
    assert found["Best on extreme shifts"].startswith("mms is the only method; its mean accuracy over 8 shifts is 0.8")
    assert found["Calibration"].startswith("The mean calibration error of mms is 0.100 (0.100 to 0.100, 95 %")
    for text in found.values():
        assert "highest" not in text and "smallest" not in text and "noise" not in text
    assert "the only method" not in said(run)["Best on extreme shifts"]


def test_methods_that_are_equal_are_all_named() -> None:
    same = {("lora", n): LEVELS["mms"] + WIGGLE[3 * n % 7] for n in range(16)}
    run = made(places=same, calibration_error=pl.when(intervention="zero_shot").then(0.2).otherwise(0.1))
    found = said(run)
    assert "mms and lora have the highest mean accuracy over 8 shifts: 0.8" in found["Best on extreme shifts"]
    assert "mms and lora have the smallest calibration error: 0.100" in found["Calibration"]
    assert "over the other method is noise is not tested" in found["Calibration"]
    assert " have the " not in said(made())["Best on extreme shifts"]


def test_no_method_has_a_lead_over_one_that_is_as_good() -> None:
    same = {("lora", n): LEVELS["mms"] + WIGGLE[3 * n % 7] for n in range(16)}
    text = said(made(places=same))["Best on extreme shifts"]
    assert "mms and lora have the highest" in text and "lead of 0.000" not in text and "over lora" not in text
    assert re.search(
        r" mms's lead of 0\.\d+ .* over the runner-up, zero_shot \(the untouched model, 0\.\d+\), is", text
    )
    assert "Its lead" not in text and "None of the" not in text
    all_same = {(name, n): LEVELS["mms"] + WIGGLE[3 * n % 7] for n in range(16) for name in ("lora", "zero_shot")}
    text = said(made(places=all_same))["Best on extreme shifts"]
    assert text.count(" have the highest mean accuracy") == 1
    assert "lead" not in text and "runner-up" not in text
    alone = said(made())["Best on extreme shifts"]
    assert "Its lead of 0.0" in alone and "'s lead" not in alone


def test_means_over_different_shifts_are_called_so_and_a_paired_difference_may_go_the_other_way() -> None:
    """lora is better wherever both were tested, but was tested on hard shifts that mms was not tested on."""
    places = {("lora", n): LEVELS["mms"] + 0.05 + 0.1 * WIGGLE[n % 7] for n in range(6)}
    places |= {("lora", n): 0.55 for n in (6, 7)} | {("mms", n): 0.8 for n in range(6)}
    run = made(places=places)
    metrics = run.metrics.filter((pl.col("intervention") != "mms") | ~pl.col("target").is_in(["t6", "t7"]))
    comparisons = compare(metrics, {})
    board = leaderboard(metrics, comparisons=comparisons)
    run = run.having(generalization_metrics=metrics, comparisons=comparisons, leaderboard=board)
    text = said(run)["Best on extreme shifts"]
    assert text.startswith("mms has the highest mean accuracy over 6 shifts")
    assert "tested on different shifts, 6 to 8 of them, so their means differ for that reason, too." in text
    assert re.search(
        r"Its distance of 0\.05\d \(0\.0\d\d to 0\.0\d\d, for new shifts\) behind the runner-up, lora, on the 6 shifts "
        r"that both were tested on, is more than noise\.",
        text,
    )
    assert "lead of −" not in text and "different shifts" not in said(made())["Best on extreme shifts"]
    untested = run["comparisons"].with_columns(verdict=pl.lit("not tested"), remark=pl.lit("why"))
    text = said(run.having(comparisons=untested))["Best on extreme shifts"]
    assert re.search(r"Whether its distance of 0\.05\d behind .* tested on, is noise is not known: why\.", text)


def test_random_is_no_method() -> None:
    below_chance = dict.fromkeys(("zero_shot", "mms", "lora"), 0.3)
    assert "random" not in " ".join(said(made(below_chance)).values())


@pytest.mark.parametrize(("lora", "verdict"), [(0.79, "may be noise"), (0.60, "is more than noise")])
def test_a_lead_over_the_runner_up_is_noise_or_not(lora: float, verdict: str) -> None:
    text = said(made({"lora": lora, "zero_shot": 0.55}))["Best on extreme shifts"]
    assert "over the runner-up, lora, " + verdict in text
    assert re.search(r"over zero_shot \(the untouched model, 0\.5\d\d\), is more than noise", text)


def test_a_lead_over_the_untouched_model_may_be_noise() -> None:
    text = said(made({"zero_shot": 0.79, "lora": 0.7}))["Best on extreme shifts"]
    assert re.search(r"over the runner-up, zero_shot \(the untouched model, 0\.7\d\d\), may be noise", text)
    assert text.count("zero_shot") == 1
    best = said(made({"zero_shot": 0.9}))["Best on extreme shifts"]
    assert best.startswith("zero_shot has the highest") and "Its lead of 0.1" in best


def test_a_benchmark_comes_first() -> None:
    first = [replace(shift, benchmark="GENIES") if n % 2 else shift for n, shift in enumerate(SHIFTS)]
    assert next(iter(said(made(shifts=first)))) == "Best on GENIES"
    assert next(iter(said(made()))) == "Best on extreme shifts"


def test_a_run_of_just_the_benchmark_has_its_answer_first() -> None:
    just = [replace(shift, benchmark="GENIES") for shift in SHIFTS]
    found = said(made(shifts=just))
    assert list(found)[:3] == ["Best on GENIES", "Best on extreme shifts", "Best on probing shifts"]
    assert found["Best on GENIES"].startswith("mms has the highest mean accuracy over 16 shifts: 0.8")
    assert "Best method" not in found and "Best on GENIES" not in said(made())


def test_the_best_method_is_the_one_of_the_first_answer_and_says_of_which_shifts() -> None:
    weak_on_extreme = {("mms", n): 0.75 + WIGGLE[n % 7] for n in range(8)}
    known = {"calibration_error": pl.lit(0.1), "calibration_error_by_chance": pl.lit(0.2)}
    for benchmark, best, over in (
        (lambda n: None, "lora", "the extreme shifts"),
        (lambda n: "GENIES", "lora", "the shifts of GENIES"),
        (lambda n: "GENIES" if n > 7 else None, "mms", "the shifts of GENIES"),
    ):
        shifts = [replace(shift, benchmark=benchmark(n)) for n, shift in enumerate(SHIFTS)]
        found = said(made(places=weak_on_extreme, shifts=shifts, **known))
        assert next(iter(found.values())).startswith(f"{best} has the highest")
        named = f"{best}, the method with the highest mean accuracy over {over},"
        assert f" For {named} r = " in found["Can it be foreseen?"]
        assert f" The confidence of {named} is off by more than" in found["Calibration"]
        assert not any("best method" in text for text in found.values())
    one_label = [replace(shift, label="extreme") for shift in SHIFTS]
    assert (
        "mms, the method with the highest mean accuracy over all shifts, is off"
        in (said(made(shifts=one_label, **known))["Calibration"])
    )


def test_few_sources_support_no_claim() -> None:
    one_source = [replace(shift, source="s0") for shift in SHIFTS]
    found = said(made(shifts=one_source))
    few = [text for text in found.values() if "so few sources that they cannot support a claim about new ones" in text]
    assert few == [found["Claims about new shifts?"]]
    assert all(f"“{name}”" in few[0] for name in ("Best on extreme shifts", "Best on probing shifts"))
    text = found["Best on extreme shifts"]
    assert "is not known: the shifts of one source support no claim about new shifts, and how" in text
    assert "cannot" not in said(made())["Best on extreme shifts"]


def test_an_interval_that_says_nothing_is_called_so() -> None:
    two = [Shift("a", "t0", "t0", "extreme", "skill", 1), Shift("b", "t1", "t1", "extreme", "skill", 1)]
    wide = said(made(places={("mms", 0): 0.5, ("mms", 1): 0.95, ("lora", 1): 0.6}, shifts=two))["Best method"]
    assert (
        "(0.000 to 1.000, 95 % for new shifts, which carries no information: 1.0 degrees of freedom, fewer than 4), "
        "an interval that contains 0.5" in wide
    )
    assert "no information" not in said(made())["Best on extreme shifts"]


def test_the_best_method_is_the_best_in_any_order_of_the_rows() -> None:
    run = made()
    resorted = run.having(leaderboard=run["leaderboard"].sort("intervention", "label"))
    assert said(resorted) == said(run)


def test_shifts_on_which_all_methods_fail_are_named_and_counted_apart() -> None:
    places = {(method, n): 0.3 for method in METHODS[1:] for n in (0, 1)}
    places |= {(method, 2): 0.48 for method in METHODS[1:]} | {
        ("mms", 3): 0.3,
        ("zero_shot", 3): 0.3,
        ("lora", 3): 0.52,
    }
    text = said(made(places=places))["Where all methods fail"]
    assert "On 2 of 16 shifts every method is worse than guessing, 0.5: s0 → t0, s1 → t1." in text
    assert "On 2 of 16 shifts no method is shown to be better than guessing" in text
    assert text.endswith("s2 → t2, s3 → t3. Each method's interval is judged alone, whatever the number of methods.")
    assert said(made())["Where all methods fail"].startswith("Nowhere: on each of 16 shifts")
    many = {(method, n): 0.3 for method in METHODS[1:] for n in range(9)}
    assert (
        "s0 → t0, s1 → t1, s2 → t2, s3 → t3, s4 → t4 and 4 more." in said(made(places=many))["Where all methods fail"]
    )


@pytest.mark.parametrize("end", ["low", "high"])
def test_shifts_without_intervals_are_not_called_failures(end: str) -> None:
    column = f"generalization_accuracy_{end}"
    unknown = made(**{column: pl.lit(None, pl.Float64)})
    assert "Where all methods fail" not in said(unknown)
    some = made(**{column: pl.when(pl.col("target").is_in(["t1", "t2"])).then(None).otherwise(column)})
    assert said(some)["Where all methods fail"] == (
        "Nowhere: on each of 14 shifts, some method's interval lies above 0.5. "
        "Of 2 more shifts some interval is not known. "
        "Each method's interval is judged alone, whatever the number of methods."
    )
    assert "not known" not in said(made())["Where all methods fail"]


def of_levels(**slopes: float) -> dict[tuple[str, int], float]:
    """Accuracies that rise from shift to shift by so much; a wiggle keeps two methods from rising exactly alike."""
    rise = {(name, n): 0.5 + slope * n for name, slope in slopes.items() for n in range(16)}
    return {(name, n): value + (WIGGLE[n % 7] if name != "zero_shot" else 0) for (name, n), value in rise.items()}


def test_whether_the_untouched_model_foretells_generalization_is_said_over_all_methods() -> None:
    text = said(made(places=of_levels(zero_shot=0.02, mms=0.03, lora=-0.01)))["Can it be foreseen?"]
    assert text.startswith("Over 16 shifts, the accuracy of the untouched model (zero_shot) and that of another method")
    r = r"−?\d\.\d\d"
    assert re.search(rf"correlate with r from −{r} \(lora\) to {r} \(mms\), {r} in the median of 2", text)
    judged = "2 of their 95 % intervals, each judged alone and as if shifts were independent, leave out 0: mms, lora."
    assert judged in text
    named = "For mms, the method with the highest mean accuracy over the extreme shifts, r = "
    assert re.search(rf"{named}{r} \(0\.\d\d to {r}, {INDEPENDENT}\)\.$", text)
    one = said(made(places=of_levels(zero_shot=0.02, mms=0.02)))["Can it be foreseen?"]
    assert "; 1 of their 95 % intervals" in one and "leaves out 0: mms." in one


def test_one_method_that_goes_with_the_untouched_model_does_not_speak_for_the_others() -> None:
    """The untouched model is the best one, so that there is no best other method to name."""
    run = made({"zero_shot": 0.9}, places={("lora", n): 0.7 + WIGGLE[2 * n % 7] for n in range(16)})
    text = said(run)["Can it be foreseen?"]
    assert "(lora)" in text and "(mms)" in text and "in the median of 2 methods" in text
    assert "leaves out 0: lora." in text and "best method" not in text


def test_correlations_that_may_be_noise_are_called_so() -> None:
    apart = {("zero_shot", n): 0.5 + 0.1 * (n % 2) for n in range(16)}
    apart |= {(name, n): 0.8 + 0.1 * (n // 2 % 2) for name in ("mms", "lora") for n in range(16)}
    text = said(made(places=apart))["Can it be foreseen?"]
    assert "; none of their 95 % intervals, each judged alone and as if shifts were independent, leaves out 0." in text
    assert text.endswith("as if shifts were independent), which may be noise.")
    constant = {("zero_shot", n): 0.5 for n in range(16)}
    assert "Can it be foreseen?" not in said(made(places=constant))


def test_a_correlation_with_a_single_method_stands_alone() -> None:
    run = made(places=of_levels(zero_shot=0.02, mms=0.02))
    two = run.having(generalization_metrics=run.metrics.filter(pl.col("intervention") != "lora"))
    text = said(two)["Can it be foreseen?"]
    assert "(zero_shot) and that of mms correlate with r = " in text and "median" not in text and "best" not in text


def test_correlations_over_few_sources_support_no_claim() -> None:
    few = [replace(shift, source=f"s{n % 3}") for n, shift in enumerate(SHIFTS)]
    run = made(places=of_levels(zero_shot=0.02, mms=0.02), shifts=few)
    assert "“Can it be foreseen?”" in said(run)["Claims about new shifts?"]
    assert "Claims about new shifts?" not in said(made()) and "few sources" not in said(made())["Can it be foreseen?"]


def test_correlations_over_different_shifts_say_over_how_many() -> None:
    run = made(places=of_levels(zero_shot=0.02, mms=0.02, lora=-0.01))
    fewer = run.metrics.filter((pl.col("intervention") != "lora") | (pl.col("target") != "t3"))
    assert said(run.having(generalization_metrics=fewer))["Can it be foreseen?"].startswith("Over 15 to 16 shifts, ")


def test_calibration_says_who_is_nearest_and_how_often_the_best_is_off() -> None:
    error = pl.when(intervention="lora").then(0.02).otherwise(0.1)
    by_chance = pl.when(pl.col("target").is_in(["t0", "t1", "t2"])).then(0.2).otherwise(0.05)
    text = said(made(calibration_error=error, calibration_error_by_chance=by_chance))["Calibration"]
    assert text.startswith("lora has the smallest calibration error: 0.020")
    assert "Whether the lead over the other 2 methods is noise is not tested." in text
    assert text.endswith("accuracy over the extreme shifts, is off by more than chance gives on 13 of 16 shifts.")
    calibrated = said(made(calibration_error=error, calibration_error_by_chance=pl.lit(0.3)))["Calibration"]
    assert calibrated.endswith("on 0 of 16 shifts.")
    assert "Calibration" not in said(made(calibration_error=pl.lit(None, pl.Float64)))
    some = pl.when(intervention="zero_shot").then(None).otherwise(error)
    assert said(made(calibration_error=some))["Calibration"].startswith(
        "lora has the smallest calibration error of the 2 methods that have one: 0.020"
    )
    alike = said(made(calibration_error=pl.lit(0.1)))["Calibration"]
    assert alike.startswith("mms, lora and zero_shot have the smallest") and "lead" not in alike


def test_what_an_interval_is_for_is_said_and_without_one_the_figure_stands_alone() -> None:
    one_source = made(shifts=[replace(shift, source="s0") for shift in SHIFTS])
    assert said(made())["Best on extreme shifts"].count("95 % for new shifts") == 1
    assert said(made())["Best on extreme shifts"].count(", for new shifts)") == 2
    alone = said(one_source)["Best on extreme shifts"]
    assert re.match(r"mms has the highest mean accuracy over 8 shifts: 0\.8\d\d\. ", alone)
    ends = {"generalization_accuracy_examples_low": 0.71, "generalization_accuracy_examples_high": 0.85}
    board = one_source["leaderboard"].with_columns(pl.lit(value).alias(name) for name, value in ends.items())
    text = said(one_source.having(leaderboard=board))["Best on extreme shifts"]
    assert "(0.710 to 0.850, 95 % for new examples)" in text and "for new shifts)" not in text


def test_how_many_others_may_be_as_good_is_said_where_it_is_more_than_the_runner_up() -> None:
    alike = said(made({"zero_shot": 0.79}))["Best on extreme shifts"]
    assert alike.endswith("None of the 2 other methods is shown to be worse.")
    for text in (alike, said(made())["Best on extreme shifts"]):
        assert "may be as good" not in text
    assert "None of the" not in said(made())["Best on extreme shifts"]
    assert "may be as good" not in said(made({"lora": 0.6, "zero_shot": 0.5}))["Best on extreme shifts"]


def test_a_lead_over_what_was_not_compared_is_not_judged() -> None:
    run = made()
    lacking = run.having(comparisons=run["comparisons"].filter(pl.col("other") != "lora"))
    text = said(lacking)["Best on extreme shifts"]
    assert "It was not compared with lora." in text and "runner-up" not in text
    assert "not compared" not in said(run)["Best on extreme shifts"]


def test_where_nothing_was_tested_no_method_is_called_as_good_and_a_missing_reason_is_no_word() -> None:
    run = made(shifts=[replace(shift, source="s0") for shift in SHIFTS])
    text = said(run)["Best on extreme shifts"]
    assert "is not known: the shifts of one source" in text and "None of" not in text and "as good" not in text
    bare = run.having(comparisons=run["comparisons"].with_columns(remark=pl.lit(None, pl.String)))
    text = said(bare)["Best on extreme shifts"]
    assert "is noise is not known, and its table does not say why." in text and "None" not in text


def test_a_lead_over_the_shifts_of_one_source_is_for_new_examples() -> None:
    run = made(shifts=[replace(shift, source="s0") for shift in SHIFTS])
    known = {"low": 0.004, "high": 0.3, "p_adjusted": 0.01, "interval_over": "examples", "verdict": "higher"}
    sign = pl.when(pl.col("intervention") == "mms").then(1.0).otherwise(-1.0)
    judged = run["comparisons"].with_columns(
        pl.lit(known["p_adjusted"]).alias("p_adjusted"),
        pl.lit("examples").alias("interval_over"),
        verdict=pl.when(sign > 0).then(pl.lit("higher")).otherwise(pl.lit("lower")),
        low=pl.min_horizontal(sign * known["low"], sign * known["high"]),
        high=pl.max_horizontal(sign * known["low"], sign * known["high"]),
    )
    text = said(run.having(comparisons=judged))["Best on extreme shifts"]
    assert text.count("(0.004 to 0.300, for new examples of these shifts) over ") == 2
    assert text.count("is more than noise.") == 2 and "may be noise" not in text
    assert "for new examples of these shifts" not in said(made())["Best on extreme shifts"]


def test_a_lead_whose_interval_has_no_ends_may_be_noise() -> None:
    """Differences that are the same on too few shifts for any p-value below the level."""
    few = [Shift(f"s{n}", f"t{n}", f"t{n}", "extreme", "skill", 1) for n in range(5)]
    same = {(method, n): LEVELS[method] for method in METHODS for n in range(5)}
    text = said(made(places=same, shifts=few))["Best method"]
    assert "Its lead of 0.010 over the runner-up, lora, may be noise." in text
    many = said(made(places={(method, n): LEVELS[method] for method in METHODS for n in range(16)}))
    assert (
        "Its lead of 0.010 (0.010 to 0.010, for new shifts) over the runner-up, lora, "
        in many["Best on extreme shifts"]
    )


def test_a_correlation_may_be_negative() -> None:
    against = {("zero_shot", n): 0.5 + 0.02 * n for n in range(16)}
    against |= {("mms", n): 0.95 - 0.01 * n + WIGGLE[n % 7] for n in range(16)}
    text = said(made(places=against))["Can it be foreseen?"]
    assert re.search(r"For mms, .* r = −0\.9\d \(−0\.\d\d to −0\.\d\d, as if shifts were independent\)\.$", text)
    assert "(mms) to " in text


def test_the_smallest_calibration_error_has_its_interval_where_there_is_one() -> None:
    error = pl.when(intervention="lora").then(0.02 + 0.001 * (pl.int_range(pl.len()) % 7)).otherwise(0.1)
    text = said(made(calibration_error=error))["Calibration"]
    assert re.match(
        r"lora has the smallest calibration error: 0\.0\d\d \(0\.0\d\d to 0\.0\d\d, 95 % for new shifts\)\. W", text
    )
    one_source = made(shifts=[replace(shift, source="s0") for shift in SHIFTS], calibration_error=error)
    assert re.match(r"lora has the smallest calibration error: 0\.0\d\d\. W", said(one_source)["Calibration"])


def test_a_calibration_error_over_few_sources_carries_no_information() -> None:
    few = [replace(shift, source=f"s{n % 2}") for n, shift in enumerate(SHIFTS)]
    error = pl.when(intervention="lora").then(0.02 + 0.001 * (pl.int_range(pl.len()) % 7)).otherwise(0.1)
    text = said(made(calibration_error=error, shifts=few))["Calibration"]
    assert re.search(
        r"\(0\.0\d\d to 0\.0\d\d, 95 % for new shifts, which carries no information: "
        r"1\.0 degrees of freedom, fewer than 4\)",
        text,
    )


def test_the_evidence_of_calibration_is_a_section_that_the_page_has() -> None:
    run = made(calibration_error=pl.lit(0.1))
    assert {finding.evidence for finding in findings(run)["small"] if finding.about == "Calibration"} == {"calibration"}
    bare = run.having(reliability=run["reliability"].clear())
    (evidence,) = (finding.evidence for finding in findings(bare)["small"] if finding.about == "Calibration")
    page = render("trial", bare, {})
    assert evidence == "leaderboard" and '<section id="calibration">' not in page


def stated(**ends: tuple[float, float] | None) -> dict[str, str]:
    """What is said where the paper states 0.5 of everything, and this run has these intervals."""
    rows = [
        {"claim": name.replace("_", " "), "stated_for": "llama-30b", "stated": 0.5, "model": "small", "figure": "f",
         "recomputed": 0.7, "low": own and own[0], "high": own and own[1], "over": "15 shifts"}
        for name, own in ends.items()
    ]  # fmt: skip
    return said(made().having(claims=CLAIMS.frame(rows)))


def test_which_of_the_papers_figures_lie_within_the_intervals_is_said() -> None:
    both = stated(first_claim=(0.4, 0.8), second_claim=(0.6, 0.8), third_claim=None)["Next to the paper"]
    assert both == (
        "Of 3 figures that the paper states of llama-30b, 1 lies within the 95 % intervals of small. "
        "Within: first claim (stated 0.500, here f 0.700 (0.400 to 0.800, for new shifts) over 15 shifts). "
        "Outside: second claim (stated 0.500, here f 0.700 (0.600 to 0.800, for new shifts) over 15 shifts). "
        "Not tested: third claim (stated 0.500, here f 0.700 without an interval over 15 shifts)."
    )
    inside = stated(first_claim=(0.4, 0.8), second_claim=(0.0, 1.0))["Next to the paper"]
    assert "Of 2 figures that the paper states of llama-30b, 1 lies within" in inside and "Outside" not in inside
    assert inside.endswith(
        " Not tested: second claim (stated 0.500, "
        "here f 0.700 (0.000 to 1.000, for new shifts, which carries no information) over 15 shifts)."
    )
    nothing = stated(first_claim=None)["Next to the paper"]
    assert nothing.startswith("Of 1 figure that the paper states of llama-30b, 0 lie within the 95 %")
    assert "Not tested: first claim" in nothing and "Next to the paper" not in said(made())


def test_the_papers_figures_name_their_metric_and_what_their_interval_is_for() -> None:
    common = {"stated_for": "llama-30b", "model": "small", "low": 0.1, "high": 0.2}
    rows = [
        {"claim": "MMS is ahead", "stated": 0.08, "figure": "difference of generalization_accuracy",
         "recomputed": 0.15, "over": "15 shifts of the benchmark, new examples", **common},
        {"claim": "it foretells", "stated": 0.7, "figure": "r with zero_shot", "recomputed": 0.15,
         "over": "56 distinct shifts", **common},
        {"claim": "LoRA is at chance", "stated": 6, "figure": "shifts", "recomputed": 7, "over": "15 shifts",
         **common, "low": None, "high": None},
    ]  # fmt: skip
    text = said(made().having(claims=CLAIMS.frame(rows)))["Next to the paper"]
    ahead = "here difference of generalization accuracy 0.150 (0.100 to 0.200) over 15 shifts of the benchmark, new exa"
    assert ahead in text
    assert "here r with zero_shot 0.150 (0.100 to 0.200, as if shifts were independent) over 56 distinct" in text
    assert "LoRA is at chance (stated 6, here shifts 7 without an interval over 15 shifts)" in text


def test_findings_stand_first_and_lead_to_sections_of_the_page() -> None:
    page = render("trial", made(), {})
    parsed = Page(page)
    ids = {attributes.get("id") for tag, attributes in parsed.elements if tag == "section"}
    links = [attributes["href"] for tag, attributes in parsed.elements if tag == "a"]
    evidence = [f"#{finding.evidence}" for finding in findings(made())["small"]]
    assert links[: len(evidence)] == evidence and {link[1:] for link in evidence} <= ids
    assert page.index('id="findings"') < page.index("<nav")
