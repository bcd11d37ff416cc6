"""What the paper states in its text, next to the same figure of a run over its shifts.

The statements are of GENIES (Clymer, Baker, Subramani and Wang 2023, arXiv 2311.07723) and of the post that announced
it. They are about LLaMA-30B; a run has the figures of its own models, be it of the paper's results or a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from genies.evaluation.averages import ALL_LABELS, DISTINCT, EXAMPLES, PUBLISHED, within
from genies.evaluation.metrics import BASELINE, CHANCE
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.correlations import correlations
from genies.evaluation.uncertainty import clustered_mean, supports_new_shifts

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

MMS = "mms"
LORA = ("lora", "lora_fine_tuning")
"""LoRA by its name here, and in the paper's results."""
IS_LORA = pl.col("intervention").is_in(LORA)
BENCHMARK_SHIFTS = 15
CORRELATION = f"r with {BASELINE}"
OF_EXAMPLES = ", new examples"
"""Ends ``over`` where the interval is for new examples."""
TABLE = Table(
    "claims.csv",
    {
        **dict.fromkeys(("claim", "stated_for"), pl.String),
        "stated": pl.Float64,
        **dict.fromkeys(("model", "figure"), pl.String),
        **dict.fromkeys(("recomputed", "low", "high"), pl.Float64),
        "over": pl.String,
    },
    optional=True,
    rows=Rows(("claim", "model", "figure", "over"), ("stated_for", "stated", "recomputed")),
)
"""Columns of ``claims.csv``: a row per statement, model of the run and way to count (``figure``, ``over``); none where
a shift is not the paper's. ``stated_for`` is the model that the paper states it of; ``low`` to ``high`` is a 95 %
interval for new shifts, unless ``over`` says that it is for new examples (that of a correlation holds as if shifts were
independent); null where the shifts support no claim about new ones."""


class Recomputed(NamedTuple):
    """A figure of one model of a run."""

    figure: str
    value: float
    low: float | None
    high: float | None
    over: str


class Claim(NamedTuple):
    """A statement of the paper.

    Attributes:
        text: what it says, without the number.
        model: of which.
        stated: the number.
        recompute: the same from a run with one model; nothing where that lacks what it needs.
    """

    text: str
    model: str
    stated: float
    recompute: Callable[[Measurements, str], Iterator[Recomputed]]


def _elicitation(label: str) -> Callable[[Measurements, str], Iterator[Recomputed]]:
    def recompute(run: Measurements, model: str) -> Iterator[Recomputed]:
        for averaged_over, what in ((PUBLISHED, "entries"), (DISTINCT, "distinct shifts")):
            rows = run["leaderboard"].filter(IS_LORA, model=model, label=label, averaged_over=averaged_over)
            for row in rows.filter(pl.col("elicitation").is_not_null()).iter_rows(named=True):
                count = row["entries" if averaged_over == PUBLISHED else "shifts"]
                yield Recomputed(
                    "elicitation",
                    row["elicitation"],
                    *_supported((row["elicitation_low"], row["elicitation_high"]), row["degrees_of_freedom"]),
                    f"{count} {what}",
                )

    return recompute


def _supported(
    ends: tuple[float | None, float | None], degrees_of_freedom: float | None
) -> tuple[float | None, float | None]:
    """The ends of an interval for new shifts; none where the shifts support no claim about new ones."""
    return ends if supports_new_shifts(degrees_of_freedom) else (None, None)


def _foreseen(run: Measurements, model: str) -> Iterator[Recomputed]:
    own = run.metrics.filter(model=model)
    entries = own.filter(IS_LORA, pl.col("baseline_accuracy").is_not_null())
    weights = entries["published_entries"].fill_null(0).to_numpy()
    if weights.sum():
        x, y = (
            np.repeat(entries[name].to_numpy(), weights) for name in ("baseline_accuracy", "generalization_accuracy")
        )
        if np.ptp(x) and np.ptp(y):
            # Entries that repeat a shift are no evidence of their own: an interval would be too narrow.
            r = float(np.corrcoef(x, y)[0, 1])
            yield Recomputed(CORRELATION, r, None, None, f"{weights.sum()} entries")
    for row in correlations(own, BASELINE).filter(IS_LORA).iter_rows(named=True):
        sources = own.filter(IS_LORA, pl.col("baseline_accuracy").is_not_null())["source"].to_numpy()
        freedom = clustered_mean(np.zeros(len(sources)), sources).degrees_of_freedom
        ends = _supported((row["low"], row["high"]), freedom)
        yield Recomputed(CORRELATION, row["r"], *ends, f"{row['shifts']} distinct shifts")


def _benchmark(run: Measurements, model: str) -> pl.DataFrame:
    """Metrics of a model on the benchmark's shifts; no rows where no list names them."""
    own = run.metrics.filter(model=model)
    sets = [shifts for shifts in run.benchmarks.values() if len(shifts) == BENCHMARK_SHIFTS]
    return within(own, sets[0]) if sets else own.clear()


def _ahead(run: Measurements, model: str) -> Iterator[Recomputed]:
    shifts = _benchmark(run, model)
    both = shifts.filter(intervention=MMS).join(shifts.filter(IS_LORA), on=["source", "target"])
    for name in ("generalization_accuracy", "elicitation", "differential_elicitation"):
        known = both.drop_nulls([name, f"{name}_right"])
        if len(known):
            found = clustered_mean((known[name] - known[f"{name}_right"]).to_numpy(), known["source"].to_numpy())
            over, (low, high) = "", _supported(found.interval() or (None, None), found.degrees_of_freedom)
            if name == "generalization_accuracy":
                over, low, high = _compared(run, model)
            over = f"{len(known)} shifts of the benchmark{over}"
            yield Recomputed(f"difference of {name}", found.mean, low, high, over)


def _compared(run: Measurements, model: str) -> tuple[str, float | None, float | None]:
    """The interval of how far MMS is ahead of LoRA on the benchmark, as in ``comparisons``, after what it is for."""
    sets = [name for name, shifts in run.benchmarks.items() if len(shifts) == BENCHMARK_SHIFTS]
    either = pl.col("intervention", "other").is_in([MMS, *LORA])
    rows = run["comparisons"].filter(pl.all_horizontal(either), model=model, label=ALL_LABELS)
    # A benchmark that is the whole run has no comparisons of its own.
    for averaged_over in (*sets[:1], DISTINCT):
        for row in rows.filter(averaged_over=averaged_over).iter_rows(named=True):
            over = OF_EXAMPLES if row["interval_over"] == EXAMPLES else ""
            low, high = row["low"], row["high"]
            return over, *((low, high) if low is None or row["intervention"] == MMS else (-high, -low))
    return "", None, None


def _near_chance(run: Measurements, model: str) -> Iterator[Recomputed]:
    rows = _benchmark(run, model).filter(IS_LORA)
    rows = rows.filter(pl.col("generalization_accuracy_low").is_not_null())
    if len(rows):
        count = int((rows["generalization_accuracy_low"] <= CHANCE).sum())
        yield Recomputed(
            "shifts whose interval contains 0.5 or lies below it",
            count,
            None,
            None,
            f"{len(rows)} shifts of the benchmark",
        )


STATED = (
    Claim("LoRA elicits on extreme shifts", "llama-30b", 0.85, _elicitation("extreme")),
    Claim("LoRA elicits on probing shifts", "llama-30b", 0.53, _elicitation("probing")),
    Claim("the untouched model's accuracy foretells LoRA's generalization", "llama-30b", 0.7, _foreseen),
    Claim("MMS is ahead of LoRA", "llama-30b", 0.08, _ahead),
    Claim("LoRA is worse than random, or close to it, on shifts of the benchmark", "llama-30b", 6, _near_chance),
)


def rows(run: Measurements) -> pl.DataFrame:
    """Each statement with the same figure of every model of a run, columns as in ``TABLE``."""
    listed = run.metrics.filter(pl.col("published_entries").is_not_null())
    models = run.metrics["model"].unique(maintain_order=True).to_list() if len(listed) == len(run.metrics) else []
    found: list[dict[str, Any]] = []
    for claim in STATED:
        stated = {"claim": claim.text, "stated_for": claim.model, "stated": claim.stated}
        for model in models:
            for figure, value, low, high, over in claim.recompute(run, model):
                row = {"figure": figure, "recomputed": value, "low": low, "high": high, "over": over}
                found.append({**stated, "model": model, **row})
    return TABLE.frame(found)


def claim_lines(table: pl.DataFrame) -> Iterator[str]:
    """The statements as lines to print."""
    for (claim, model, stated), rows in table.group_by("claim", "stated_for", "stated", maintain_order=True):
        absent = "" if model in rows["model"] else f"; this run has no {model}"
        yield f"the paper: {claim}: {stated:g} ({model}{absent})"
        for row in rows.iter_rows(named=True):
            yield f"  {row['model']}: {_said(row)}"


def _said(row: Mapping[str, Any]) -> str:
    ends = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['figure']} {row['recomputed']:.4g}{ends} over {row['over']}"
