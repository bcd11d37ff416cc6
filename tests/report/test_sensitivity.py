"""What more training pairs, a few labels of the target and other wordings change, in sentences and figures."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2
from test_page import TABLES, Page

from genies.evaluation.tables.few_labels import NONE
from genies.evaluation.tables.few_labels import TABLE as LABELS
from genies.evaluation.tables.learning_curves import TABLE as CURVES
from genies.evaluation.tables.wording_variance import COMPONENTS
from genies.evaluation.tables.wording_variance import TABLE as VARIANCE
from genies.evaluation.tables.wordings import TABLE as WORDINGS
from genies.report.intervals import TOO_FEW_SOURCES
from genies.report.page import render
from genies.report.sensitivity import common_counts, common_sizes, labels_help, still_gaining, wording_matters

SDS = [f"{name}_sd" for name in COMPONENTS]
SHIFTS = [(f"source {n}", f"target {n}") for n in range(8)]


def curves(gains: dict[str, float], shifts: list[tuple[str, str]] = SHIFTS) -> pl.DataFrame:
    """Accuracies of 0.6 and of 0.6 + gain with all pairs, and on the sources themselves of 0.8 and 0.9."""
    noise, rows = 0.004 * np.random.default_rng(1).standard_normal(len(shifts)), []
    for name, gain in gains.items():
        for (source, target), extra in zip(shifts, noise.tolist(), strict=True):
            for place, ends in ((target, (0.6, 0.6 + gain + extra)), (source, (0.8, 0.9 + extra))):
                for size, accuracy in zip((10, 40, 100), (0.55, *ends), strict=True):
                    rows.append({"model": "small", "intervention": name, "source": source, "target": place,
                                 "size": size, "draws": 5, "accuracy": accuracy, "low": 0.5, "high": 0.9})  # fmt: skip
    return CURVES.frame(rows)


def labels(gain: float, choice: float) -> pl.DataFrame:
    rows = []
    for number, (source, target) in enumerate(SHIFTS):
        for chosen, count, accuracy in (
            ("none", 0, 0.5), ("random", 8, 0.51), ("uncertain", 8, 0.51), ("random", 64, 0.5 + gain),
            ("uncertain", 64, 0.5 + gain + choice),
        ):  # fmt: skip
            extra = 0.002 * (-1) ** number if count == 64 else 0
            rows.append({"model": "small", "intervention": "mms", "source": source, "target": target, "chosen": chosen,
                         "examples": count, "copies": 8 if count else 0, "draws": 5,
                         "accuracy": accuracy + extra * (1 if chosen == "random" else 2), "low": 0.4,
                         "high": 0.9})  # fmt: skip
    return LABELS.frame(rows)


def test_the_sentence_names_the_probes_that_still_gain_and_no_others():
    text = still_gaining(curves({"flat": 0.0, "mms": 0.05}))
    assert text is not None and TOO_FEW_SOURCES not in text
    assert "With all training pairs in place of 40, mean accuracy over 8 shifts changes by +0.05" in text
    assert "with mms, the most of 2 probes. 1 of 2 gains by more than noise: mms (95 %" in text
    assert text.endswith("On the sources' own test pairs: 2 of 2 gain by more than noise: flat, mms.")
    assert "0 of 1 gain by more than noise (" in str(still_gaining(curves({"flat": 0.0})))


def test_too_few_sources_are_named_and_curves_without_fewer_pairs_say_nothing():
    assert str(still_gaining(curves({"mms": 0.05}, SHIFTS[:3]))).endswith(TOO_FEW_SOURCES)
    assert still_gaining(CURVES.frame()) is None
    assert still_gaining(curves({"mms": 0.05}).filter(size=100)) is None
    assert still_gaining(curves({"mms": 0.05}).filter(pl.col("source") == pl.col("target"))) is None


def test_sizes_that_some_source_lacks_are_left_out():
    table = curves({"mms": 0.05})
    lacking = table.filter((pl.col("size") != 40) | (pl.col("source") != "source 3"))
    assert common_sizes(table) == [10, 40] and common_sizes(lacking) == [10]
    few = labels(0.1, 0.0)
    assert common_counts(few) == [8, 64]
    assert common_counts(few.filter((pl.col("examples") != 64) | (pl.col("source") != "source 3"))) == [8]


def test_whether_labels_help_and_whether_it_matters_which():
    text = str(labels_help(labels(gain=0.1, choice=0.0)))
    assert (
        "With 64 labelled pairs of the target, drawn at random, mean accuracy over 8 shifts changes by +0.100" in text
    )
    assert "1 of 1 gains by more than noise: mms (95 %" in text and text.endswith("0 of 1 gain by more than noise.")
    assert str(labels_help(labels(gain=0.0, choice=0.05))).endswith("1 of 1 gains by more than noise: mms.")
    assert labels_help(LABELS.frame()) is None


def test_equal_gains_of_all_sources_have_no_interval_and_are_no_claim():
    """Accuracies of few examples are coarse: two sources may gain the same, which says nothing of how new ones vary."""
    table = labels(gain=0.1, choice=0.0).filter(pl.col("source").is_in(["source 0", "source 1"]))
    equal = table.with_columns(accuracy=pl.when(chosen=NONE).then(0.5).otherwise(0.55))
    text = str(labels_help(equal))
    assert "changes by +0.050 with mms. 0 of 1 gain by more than noise (" in text
    assert "mean accuracy over 2 shifts changes by 0.000 with mms. 0 of 1 gain by more than noise." in text
    assert text.endswith(TOO_FEW_SOURCES)
    apart = equal.with_columns(accuracy=pl.when(source="source 1", examples=64).then(0.551).otherwise("accuracy"))
    assert "1 of 1 gains by more than noise: mms (95 %" in str(labels_help(apart))


def test_a_shift_from_a_source_to_itself_has_no_labels_to_add_and_hides_no_other():
    table = labels(gain=0.1, choice=0.0)
    onto_itself = table.filter(source="source 0", chosen=NONE).with_columns(target="source")
    both = pl.concat([table, onto_itself])
    assert labels_help(both) == labels_help(table) is not None
    assert labels_help(onto_itself) is None
    drawn = [Page(render("trial", TABLES.having(few_labels=rows), {"configuration": {"seed": 3}})).content()["data"]
             for rows in (both, table)]  # fmt: skip
    assert drawn[0]["few_labels"] == drawn[1]["few_labels"]


@pytest.fixture(scope="module")
def html() -> str:
    both = curves({"mms": 0.05, "zero_shot": 0.0}), labels(0.1, 0.0)
    return render("trial", TABLES.having(learning_curves=both[0], few_labels=both[1]), {"configuration": {"seed": 3}})


def test_a_panel_per_probe_has_means_over_shifts_and_over_sources(html):
    data = Page(html).content()["data"]
    ends = {
        row["kind"]: row["accuracy"] for row in data["learning_curves"] if (row["index"], row["place"]) == (0, "all")
    }
    assert ends == pytest.approx({"targets of shifts": 0.65, "sources' own test pairs": 0.9}, abs=0.005)
    assert {row["place"] for row in data["learning_curves"]} == {"10", "40", "all"}
    assert all(
        0 < row["low"] < row["accuracy"] < row["high"] < 1 for row in data["learning_curves"] if row["place"] == "all"
    )
    first = [row for row in data["few_labels"] if row["place"] == "0"]
    assert [row["accuracy"] for row in first] == [0.5, 0.5] and {row["index"] for row in data["few_labels"]} == {0}


def test_a_panel_has_no_intervals_for_new_shifts_where_sources_are_too_few():
    tables = TABLES.having(learning_curves=curves({"mms": 0.05}, SHIFTS[:3]))
    rows = Page(render("trial", tables, {"configuration": {"seed": 3}})).content()["data"]["learning_curves"]
    assert rows and all(row["low"] is None and row["high"] is None for row in rows)


def test_the_section_is_folded_and_both_questions_are_answered_in_front(html):
    section = html[html.index('<section id="sensitivity">') :].partition("</section>")[0]
    assert section.index("<details>") < section.index("figure-learning-curves-0") < section.index("figure-few-labels-0")
    assert "More training pairs?" in html and "A few labels of the target?" in html
    bare = render("trial", TABLES, {"configuration": {"seed": 3}})
    assert 'id="sensitivity"' not in bare and "More training pairs?" not in bare


def wordings(names: dict[str, tuple[float, float]], shifts: list[tuple[str, str]] = SHIFTS) -> dict[str, pl.DataFrame]:
    """Tables of probes whose accuracy is 0.6 under the published wording and less by a step under each other one.

    Args:
        names: step, and standard deviation between wordings, of each probe.
        shifts: source and target of each.
    """
    rows, variances = [], []
    for name, (step, sd) in names.items():
        model = {"model": "small", "intervention": name}
        for source, target in shifts:
            for place in (target, source):
                for wording in range(4):
                    rows.append({**model, "source": source, "target": place, "wording": wording, "seeds": 1,
                                 "accuracy": 0.6 - step * wording, "low": 0.4, "high": 0.7})  # fmt: skip
        extra = {"wordings": 4, "seeds": 1, "accuracy": 0.6, "example_sd": 0.03, "rest_sd": 0.04}
        ends = {"lowest": 0.6 - 3 * step, "highest": 0.6, "wording_sd": sd}
        variances += [{**model, **extra, **ends, "source": source, "target": target, "shifts": 1}
                      for source, target in shifts]  # fmt: skip
        variances.append({**model, **extra, **ends, "shifts": len(shifts)})
    return {"wordings": WORDINGS.frame(rows), "wording_variance": VARIANCE.frame(variances)}


def test_the_probe_that_depends_most_on_the_wording_is_named_with_its_spread() -> None:
    tables = wordings({"cra": (0.002, 0.001), "lat_stim_2": (0.05, 0.06)})
    text = str(wording_matters(tables["wording_variance"]))
    assert text.startswith(
        "Under 4 wordings of what it asks, mean accuracy over 8 shifts goes from 0.450 to 0.600 with lat_stim_2, the "
        "widest range of 2 probes. That of one fit has a standard deviation of 0.060 between wordings, and 0.050 "
        "between samples of test examples. From 4 wordings, the first is uncertain: it may be 0.6 to 3.7 times as "
        "large (95 %). 1 of 2 is estimated to vary more with the wording than with the sample of examples: lat_stim_2."
    )
    assert text.endswith("with lat_stim_2 on source 0 → target 0: 0.450 to 0.600.")
    alone = str(wording_matters(wordings({"cra": (0.002, 0.001)}, SHIFTS[:1])["wording_variance"]))
    assert alone.endswith("0 of 1 are estimated to vary more with the wording than with the sample of examples.")
    six = str(wording_matters(tables["wording_variance"].with_columns(wordings=pl.lit(6))))
    low, high = np.sqrt(5 / chi2.ppf([0.975, 0.025], 5))
    assert f"From 6 wordings, the first is uncertain: it may be {low:.1f} to {high:.1f} times" in six
    assert wording_matters(VARIANCE.frame()) is None


def test_seeds_are_named_where_there_are_several_and_nothing_is_claimed_of_unknown_components() -> None:
    variances = wordings({"ccs": (0.05, 0.06)})["wording_variance"]
    assert "0.060 between wordings, 0.010 between seeds, and" in str(
        wording_matters(variances.with_columns(seed_sd=pl.lit(0.01), seeds=pl.lit(10)))
    )
    unknown = variances.with_columns(pl.lit(None, pl.Float64).alias(name) for name in SDS)
    text = str(wording_matters(unknown))
    assert "goes from 0.450 to 0.600 with ccs. How much of it is due to the wordings is not known: half of a" in text
    assert "–" not in text and "estimated" not in text


def test_wordings_have_a_panel_per_probe_and_a_sentence_in_front() -> None:
    tables = TABLES.having(**wordings({"cra": (0.002, 0.001), "lat_stim_2": (0.05, 0.06)}))
    html = render("trial", tables, {"configuration": {"seed": 3}})
    rows = [row for row in Page(html).content()["data"]["wordings"] if row["index"] == 1]
    assert [row["accuracy"] for row in rows if row["kind"] == "targets of shifts"] == pytest.approx(
        [0.6, 0.55, 0.5, 0.45]
    )
    assert {row["place"] for row in rows} == {"published", "1", "2", "3"} and len(rows) == 8
    assert "The wording of a question?" in html and 'id="figure-wordings-1"' in html
