"""Rows of the page's tables that more than one table of the run is needed for."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.evaluation.averages import BLOCK, blocks
from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import BASELINE
from genies.evaluation.tables.generalization_metrics import LEFT_OUT
from genies.report.tables import Tables

Row = dict[str, Any]
BY_CHANCE = "calibration_error_by_chance"
WITHOUT = {
    "elicitation": "no capability, or too few clean pairs",
    "differential_elicitation": f"no capability or {BASELINE}, or too few clean pairs",
    "calibration_error": "no probabilities of single pairs",
    "brier": "no probabilities of single pairs",
    BY_CHANCE: "no probabilities of single pairs",
    "generalization_accuracy_low": "no intervals",
}
"""What a metric of a shift cannot be computed without, in words."""


def elicitations(tables: Tables) -> list[Row]:
    """Elicitation on every shift whose capability is known, with its intervals and remarks.

    Returns:
        Rows of the metrics with the columns of ``intervals.csv``, and the capability as ``capability``.
    """
    known = tables.metrics.filter(pl.col("target_tuned_capability").is_not_null())
    joined = known.join(tables["intervals"], on=PLACE, how="left", maintain_order="left")
    return joined.with_columns(capability="target_tuned_capability").to_dicts()


def capabilities(metrics: pl.DataFrame) -> list[Row]:
    """How capabilities were chosen: for each model, way and list chosen from, the number of shifts."""
    keys = ["model", "capability_chosen_by", "capability_chosen_from"]
    known = metrics.filter(pl.col("capability_chosen_by").is_not_null())
    shifts = known.select(*keys, "source", "target").unique(maintain_order=True)
    return shifts.group_by(keys, maintain_order=True).agg(pl.len().alias("shifts")).to_dicts()


def left_out(metrics: pl.DataFrame) -> list[str]:
    """Interventions that are measured against a capability without them, somewhere."""
    rows = metrics.filter(pl.col("remarks").str.contains(LEFT_OUT, literal=True))
    return rows["intervention"].unique(maintain_order=True).to_list()


def of_blocks(metrics: pl.DataFrame) -> dict[tuple[str, ...], Row]:
    """What the leaderboard says of single shifts, by model, label, way of averaging and intervention.

    Returns:
        ``by_chance``, the mean of what chance gives a calibration error (None where a shift's is not known),
        ``remarks``, how many shifts have one, and ``absent``: by metric why it has no mean, where it has none.
    """
    listed = metrics.filter(pl.col("benchmark").is_not_null()).group_by("benchmark", maintain_order=True)
    benchmarks = {str(name): set(own.select("source", "target").iter_rows()) for (name,), own in listed}
    found = {}
    for names, weighted, shifts in blocks(metrics, benchmarks):
        weight = pl.col("published_entries") if weighted else pl.lit(1)
        rows = shifts.with_columns(weight=weight)
        for (intervention,), own in rows.group_by("intervention", maintain_order=True):
            chance = own.select(pl.col(BY_CHANCE).dot("weight") / pl.col("weight").sum()).item()
            key = (*(names[name] for name in BLOCK), str(intervention))
            found[key] = {
                "by_chance": None if own[BY_CHANCE].null_count() else float(chance),
                "remarks": len(own) - own["remarks"].null_count(),
                "absent": {name: _absence(own[name], why) for name, why in WITHOUT.items() if own[name].null_count()},
            }
    return found


def _absence(values: pl.Series, why: str) -> str:
    """Why a metric has no mean over some shifts, one of which at least has no value."""
    lacking = values.null_count()
    return why if lacking == len(values) else f"{why} on {lacking} of {len(values)} shifts"


def calibrations(metrics: pl.DataFrame) -> list[Row]:
    """Calibration errors of single shifts, and how many are larger than chance gives.

    Returns:
        For each model and intervention ``model``, ``intervention``, ``shifts``, ``larger`` (how many of the shifts have
        an error that is larger) and ``rows``, those of the metrics.
    """
    known = metrics.filter(pl.col("calibration_error").is_not_null() & pl.col(BY_CHANCE).is_not_null())
    return [
        {
            "model": model,
            "intervention": intervention,
            "shifts": len(own),
            "larger": int((own["calibration_error"] > own[BY_CHANCE]).sum()),
            "rows": own.to_dicts(),
        }
        for (model, intervention), own in known.group_by("model", "intervention", maintain_order=True)
    ]


def answers(tables: Tables) -> list[Row]:
    """Rows of ``answers.csv`` that are shifts."""
    return _of_shifts(tables["answers"], tables.metrics)


def tie_orders(tables: Tables) -> list[Row]:
    """Rows of ``ties.csv`` that are shifts, those that move most first."""
    return _of_shifts(tables["ties"], tables.metrics, pl.col("accuracy_least") - pl.col("accuracy_most"))


def drawn_sets(tables: Tables) -> list[Row]:
    """Rows of ``sets.csv`` that are shifts, those to whose error the choice of sets adds most first."""
    return _of_shifts(tables["sets"], tables.metrics, -pl.col("added_error"))


def _of_shifts(frame: pl.DataFrame, metrics: pl.DataFrame, *order: pl.Expr) -> list[Row]:
    """Rows of a table that are shifts; where an order is given, those that have nothing to go by are last."""
    shifts = metrics.select("source", "target").unique()
    rows = frame.join(shifts, on=["source", "target"], how="semi", maintain_order="left")
    return (rows.sort(order, nulls_last=True, maintain_order=True) if order else rows).to_dicts()


def tied_sites(sites: pl.DataFrame) -> dict[str, Any]:
    """Fits that had to choose between equally accurate sites.

    Returns:
        ``fits``, how many fits are known to have chosen sites, and ``rows``, those of them where sites tie: ``model``,
        ``intervention``, ``source``, ``tied`` and ``tied_kept``.
    """
    known = sites.filter(pl.col("tied").is_not_null())
    fits = known.select("model", "intervention", "source", "tied", "tied_kept").unique(maintain_order=True)
    return {"fits": len(fits), "rows": fits.filter(pl.col("tied") > 0).to_dicts()}


def by_loss(tables: Tables) -> list[str]:
    """Distributions that have samples: targets of shifts first, that on which most was lost the first of all.

    What is lost on a shift is the accuracy on the source itself minus that on the target, by the method that loses
    most.
    """
    lost = tables.metrics.with_columns(lost=pl.col("source_ID_accuracy") - pl.col("generalization_accuracy"))
    most = lost.group_by("target").agg(pl.max("lost"))
    most = most.sort("lost", "target", descending=[True, False], nulls_last=True)
    shifts = [name for name in most["target"] if name in tables.samples]
    return [*shifts, *sorted(tables.samples.keys() - {*shifts})]


def judges(tables: Tables) -> dict[str, list[str]]:
    """Whose verdicts samples have: ``methods``, and the ``sources`` that they were fitted on."""
    columns = [column for sample in tables.samples.values() for column in sample["columns"]]
    return {
        "methods": list(dict.fromkeys(intervention for _, intervention, _ in columns)),
        "sources": sorted({source for _, _, source in columns}),
    }


def seen_otherwise(tables: Tables) -> bool:
    """Whether a model saw the prompt of some sample in another way than as it is written."""
    return any("seen" in pair for sample in tables.samples.values() for pair in sample["pairs"])


def texts(texts: pl.DataFrame) -> dict[str, Any]:
    """How many examples were read, and which splits have some left out, shortened, indistinct or changed by a fit."""
    splits = texts.filter(pl.col("intervention").is_null() & pl.col("source").is_null())
    odd = splits.filter(pl.any_horizontal(pl.col("left_out", "shortened", "indistinct") > 0))
    return {
        "splits": len(splits),
        "examples": int(splits["examples"].sum()),
        "available": int(splits["available"].sum()),
        "left_out": int(splits["left_out"].sum()),
        "shortened": int(splits["shortened"].sum()),
        "indistinct": int(splits["indistinct"].sum()),
        "merged": int(splits["merged"].sum()),
        "odd": odd.to_dicts(),
        "changes": texts.filter(pl.col("intervention").is_not_null()).to_dicts(),
    }


def checks(checks: pl.DataFrame) -> list[dict[str, Any]]:
    """By model: size of the sample on which packed passes were compared with separate ones, and what differed."""
    return (
        checks.group_by("model", maintain_order=True)
        .agg(
            pl.len().alias("splits"),
            pl.col("packed").sum(),
            pl.col("examples", "texts", "decisions", "decisions_changed").sum(),
            pl.col("relative_difference", "log_probability_difference").filter(pl.col("packed")).max(),
        )
        .to_dicts()
    )


def reward_models(frame: pl.DataFrame) -> list[Row]:
    """How finished reward models were read, a row per model, intervention and way of reading.

    Returns:
        Columns of ``reward_models.csv``, over sources (``texts``, ``difference``, ``elsewhere``) or over targets.
    """
    keys = ["model", "intervention", "format", "written", "library"]
    fits = frame.unique([*keys, "source"], keep="first", maintain_order=True).group_by(keys, maintain_order=True)
    compared = fits.agg(pl.col("texts", "elsewhere").sum(), pl.col("difference").max())
    # Nothing is fitted, so a target is judged alike whatever the source is.
    tests = frame.unique([*keys, "distribution"], keep="first", maintain_order=True)
    judged = tests.filter(pl.col("judged").is_not_null()).group_by(keys).agg(
        pl.col("toward_first").dot("judged") / pl.col("judged").sum(),
        pl.col("judged", "order_decides").sum(),
    )  # fmt: skip
    return compared.join(judged, on=keys, how="left", nulls_equal=True, maintain_order="left").to_dicts()


def claims(claims: pl.DataFrame) -> list[dict[str, Any]]:
    """What the paper states, each statement with its rows, and whether its own model is among them."""
    keys = ["claim", "stated_for", "stated"]
    return [
        {**dict(zip(keys, names, strict=True)), "rows": rows.to_dicts(), "there": names[1] in rows["model"]}
        for names, rows in claims.group_by(keys, maintain_order=True)
    ]
