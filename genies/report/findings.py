"""What a run found, in a few sentences, each with its interval and where its evidence stands on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from genies.evaluation.averages import ALL_LABELS, DISTINCT, PUBLISHED
from genies.evaluation.classes import UNKNOWN
from genies.evaluation.metrics import BASELINE, CHANCE, NULL
from genies.evaluation.tables.claims import CORRELATION, OF_EXAMPLES
from genies.evaluation.tables.correlations import correlations
from genies.evaluation.uncertainty import supports_new_shifts
from genies.report import details
from genies.report.baselines import beyond_counting, beyond_null, followed
from genies.report.best import best_method, equal, have
from genies.report.causal import used
from genies.report.classes import among, by_class, several
from genies.report.cost import computing, costs, in_words
from genies.report.directions import one_or_several
from genies.report.intervals import INDEPENDENT, TOO_FEW_SOURCES, degrees_of_freedom, empty, of_mean
from genies.report.predicted import worth_of_predictions
from genies.report.progress import readable
from genies.report.sensitivity import labels_help, still_gaining, wording_matters
from genies.report.tables import Tables
from genies.report.words import counted, listed, number, percent, span

ALL_MODELS = "All models"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """A sentence or two about a run.

    Attributes:
        about: what they answer, in a word or two.
        text: the sentences; the first one answers.
        evidence: id of the page's section that they rest on.
    """

    about: str
    text: str
    evidence: str

    @property
    def answer(self) -> str:
        """The first sentence."""
        return self.text.partition(". ")[0].removesuffix(".") + "."

    @property
    def limits(self) -> str:
        """What limits or explains it: the other sentences, if there are any."""
        return self.text.partition(". ")[2]


def findings(tables: Tables) -> dict[str, list[Finding]]:
    """What was found of each model, in the order of a reader's questions; of several, the cost is that of all."""
    models = tables.metrics["model"].unique(maintain_order=True).to_list()
    tables = tables.ranked()
    found = {model: _said_once([*_of_model(tables, model)]) for model in models}
    if cost := _cost(computing(costs(tables))):
        whose = models[0] if len(models) == 1 else ALL_MODELS
        found.setdefault(whose, []).append(Finding("Cost", cost, "cost"))
    return found


def _said_once(found: list[Finding]) -> list[Finding]:
    """The same with what several say of their shifts, that these are of few sources, said once of all of them."""
    few = [finding for finding in found if TOO_FEW_SOURCES in finding.text]
    if len(few) < 2:
        return found
    behind = listed([f"“{finding.about}”" for finding in few], len(few))
    text = f"The shifts behind {behind} have so few sources that they cannot support a claim about new ones."
    shorter = [replace(one, text=one.text.replace(f" {TOO_FEW_SOURCES}", "")) for one in found]
    return [*shorter, Finding("Claims about new shifts?", text, "leaderboard")]


def _of_model(tables: Tables, model: str) -> Iterator[Finding]:
    board = tables["leaderboard"].filter(pl.col("model") == model, pl.col("intervention") != NULL)
    metrics = tables.metrics.filter(pl.col("model") == model, pl.col("intervention") != NULL)
    sets = [*_of_sets(tables, model, board, metrics)]
    for one in sets:
        yield one.finding
    best, over = ([sets[0].best], sets[0].over) if sets else ([], "")
    if failures := _failures(metrics):
        yield Finding("Where all methods fail", failures, "shifts")
    if counting := beyond_counting(tables["surface"].filter(model=model)):
        yield Finding("Better than counting words?", counting, "surface")
    if rules := followed(tables["cues"].filter(model=model)):
        yield Finding("Which cue was learned?", rules, "cues")
    if by_chance := beyond_null(tables["nulls"].filter(model=model)):
        yield Finding("What labels add", by_chance, "shifts")
    of_model = (tables[name].filter(model=model) for name in ("prediction_errors", "prediction_alarms"))
    if predicted := worth_of_predictions(*of_model):
        yield Finding("Known without target labels?", predicted, "predictions")
    if gaining := still_gaining(tables["learning_curves"].filter(model=model)):
        yield Finding("More training pairs?", gaining, "sensitivity")
    if helped := labels_help(tables["few_labels"].filter(model=model)):
        yield Finding("A few labels of the target?", helped, "sensitivity")
    if worded := wording_matters(tables["wording_variance"].filter(model=model)):
        yield Finding("The wording of a question?", worded, "sensitivity")
    layers, erased = (tables[name].filter(model=model) for name in ("direction_layers", "erasure"))
    if alike := one_or_several(layers, erased):
        yield Finding("One direction, or several?", alike, "directions")
    if caused := used(tables["causal"].filter(model=model)):
        yield Finding("Does the model use it?", caused, "directions")
    if stated := _stated(tables["claims"].filter(model=model)):
        yield Finding("Next to the paper", stated, "claims")
    named = f"the method with the highest mean accuracy over {over},"
    if foreseen := _foreseen(tables.metrics.filter(model=model), best, named):
        yield Finding("Can it be foreseen?", foreseen, "correlations")
    if calibrated := _calibrated(board, metrics, best, named):
        yield Finding("Calibration", calibrated, "calibration" if len(tables["reliability"]) else "leaderboard")


@dataclass(frozen=True)
class _Best:
    """What is said of the best method of a set of shifts and of what it saw.

    Attributes:
        finding: the sentences.
        best: the method.
        over: the shifts, in words.
    """

    finding: Finding
    best: str
    over: str


def _of_sets(tables: Tables, model: str, board: pl.DataFrame, metrics: pl.DataFrame) -> Iterator[_Best]:
    for label, averaged_over, benchmark in _sets(board, metrics):
        block = board.filter(label=label, averaged_over=averaged_over).to_dicts()
        compared = tables["comparisons"].filter(model=model, label=label, averaged_over=averaged_over)
        base = [row for row in block if row["intervention"] == BASELINE]
        for place, (saw, rows) in enumerate(by_class(block).items()):
            about, of = _about(label, benchmark), among(saw) if several(block) else ""
            if place and len(rows) == 1:
                continue  # The only one of its kind is best of nothing; the leaderboard shows it.
            about += f", {of}" if place else ""
            finding = Finding(about, best_method(rows, compared, of, base), "differences")
            yield _Best(finding, rows[0]["intervention"], _shifts_of(label, benchmark))


def _sets(board: pl.DataFrame, metrics: pl.DataFrame) -> list[tuple[str, str, str | None]]:
    """The sets of shifts to name a best method of: benchmarks, then labels or else all.

    Returns:
        Label, averaged over, and name of the benchmark, if it is one. One that is the whole run has no rows of its own.
    """
    known = list(board.select("label", "averaged_over").unique(maintain_order=True).iter_rows())
    sets = [(label, over, over) for label, over in known if over not in (DISTINCT, PUBLISHED)]
    names = metrics["benchmark"].unique().to_list()
    if len(names) == 1 and names[0] is not None:
        sets.append((ALL_LABELS, DISTINCT, names[0]))
    labels = [(label, over, None) for label, over in known if label != ALL_LABELS and over == DISTINCT]
    if len(labels) > 1:
        return [*sets, *labels]
    return sets if (ALL_LABELS, DISTINCT) in [each[:2] for each in sets] else [*sets, (ALL_LABELS, DISTINCT, None)]


def _about(label: str, benchmark: str | None) -> str:
    if benchmark:
        return f"Best on {benchmark}"
    return "Best method" if label == ALL_LABELS else f"Best on {label} shifts"


def _shifts_of(label: str, benchmark: str | None) -> str:
    if benchmark:
        return f"the shifts of {benchmark}"
    return "all shifts" if label == ALL_LABELS else f"the {label} shifts"


def _failures(metrics: pl.DataFrame) -> str | None:
    """The shifts on which no method is above chance; None where the intervals are not known."""
    low, high = pl.col("generalization_accuracy_low"), pl.col("generalization_accuracy_high")
    shifts = metrics.group_by("source", "target", maintain_order=True).agg(
        (high < CHANCE).all().alias("below"),
        (low > CHANCE).any().alias("above"),
        (low.is_null() | high.is_null()).any().alias("unknown"),
    )
    known = shifts.filter(~pl.col("unknown"))
    if not len(known):
        return None
    lacking = len(shifts) - len(known)
    more = f" Of {counted(lacking, 'more shift')} some interval is not known." if lacking else ""
    more += " Each method's interval is judged alone, whatever the number of methods."
    below = [" → ".join(place) for place in known.filter("below").select("source", "target").iter_rows()]
    chance = known.filter(~pl.col("below"), ~pl.col("above"))
    around = [" → ".join(place) for place in chance.select("source", "target").iter_rows()]
    count = counted(len(known), "shift")
    if not below and not around:
        where = f"each of {count}" if len(known) > 1 else "the only shift"
        return f"Nowhere: on {where}, some method's interval lies above 0.5.{more}"
    parts = []
    if below:
        parts.append(f"On {len(below)} of {count} every method is worse than guessing, 0.5: {listed(below)}.")
    if around:
        parts.append(
            f"On {len(around)} of {count} no method is shown to be better than guessing, 0.5: {listed(around)}."
        )
    return " ".join(parts) + more


def _stated(claims: pl.DataFrame) -> str | None:
    """Which figures that the paper states lie within this run's intervals; of each the first that has one counts."""
    if not len(claims):
        return None
    known = claims.sort(pl.col("low").is_null(), maintain_order=True).unique("claim", keep="first", maintain_order=True)
    order = {name: place for place, name in enumerate(claims["claim"].unique(maintain_order=True))}
    rows = sorted(known.to_dicts(), key=lambda row: order[row["claim"]])
    untested = [row for row in rows if row["low"] is None or empty(row["low"], row["high"])]
    inside = [row for row in rows if row not in untested and row["low"] <= row["stated"] <= row["high"]]
    outside = [row for row in rows if row not in untested and row not in inside]
    text = (
        f"Of {counted(len(rows), 'figure')} that the paper states of {rows[0]['stated_for']}, {len(inside)} "
        f"{'lies' if len(inside) == 1 else 'lie'} within the 95 % intervals of {rows[0]['model']}."
    )
    for kind, of_kind in (("Within", inside), ("Outside", outside), ("Not tested", untested)):
        if of_kind:
            text += f" {kind}: {'; '.join(_both(row) for row in of_kind)}."
    return text


def _both(row: Row) -> str:
    """A statement of the paper with its figure, and that of this run by its name."""
    stated, here = (f"{value:g}" if abs(value) > 1 else number(value) for value in (row["stated"], row["recomputed"]))
    ends = "without an interval"
    if row["low"] is not None:
        kind = f", {INDEPENDENT}" if row["figure"] == CORRELATION else ", for new shifts"
        kind = "" if row["over"].endswith(OF_EXAMPLES) else kind
        ends = f"({span(row['low'], row['high'])}{kind}{empty(row['low'], row['high'])})"
    figure = row["figure"] if row["figure"] == CORRELATION else row["figure"].replace("_", " ")
    return f"{row['claim']} (stated {stated}, here {figure} {here} {ends} over {row['over']})"


def _foreseen(metrics: pl.DataFrame, best: list[str], named: str) -> str | None:
    """How well accuracy under the untouched model tells where other methods generalize (the perplexity heuristic)."""
    rows = correlations(metrics, BASELINE).filter(pl.col("with") == BASELINE, pl.col("intervention") != NULL).sort("r")
    if not len(rows):
        return None
    fewest, most = min(rows["shifts"]), max(rows["shifts"])
    over = counted(most, "shift") if fewest == most else f"{fewest} to {most} shifts"
    text = f"Over {over}, the accuracy of the untouched model ({BASELINE}) and that of "
    if len(rows) == 1:
        text += f"{rows['intervention'][0]} correlate with {_correlation(rows.row(0, named=True))}."
    else:
        text += f"another method correlate with {_range(rows)}."
        for row in rows.filter(pl.col("intervention").is_in(best)).to_dicts():
            text += f" For {row['intervention']}, {named} {_correlation(row)}."
    base = metrics.filter(intervention=BASELINE).select("source", "target")
    both = [base.join(metrics.filter(intervention=name), on=["source", "target"]) for name in rows["intervention"]]
    supported = all(supports_new_shifts(degrees_of_freedom(shifts["source"].to_list())) for shifts in both)
    return text if supported else f"{text} {TOO_FEW_SOURCES}"


def _correlation(row: Row) -> str:
    """A correlation with its interval, and whether it may be noise."""
    noise = ", which may be noise" if row["low"] <= 0 <= row["high"] else ""
    return f"r = {number(row['r'], 2)} ({span(row['low'], row['high'], 2)}, {INDEPENDENT}){noise}"


def _range(rows: pl.DataFrame) -> str:
    """Correlations of several methods, from small to large: the ends, the median, and how many intervals exclude 0."""
    (least, first), (most, last) = (rows.select("r", "intervention").row(place) for place in (0, -1))
    text = f"r from {number(least, 2)} ({first}) to {number(most, 2)} ({last})"
    text += f", {number(rows.select(pl.median('r')).item(), 2)} in the median of {len(rows)} methods"
    shown = rows.filter((pl.col("low") > 0) | (pl.col("high") < 0))["intervention"].to_list()
    of = f"of their 95 % intervals, each judged alone and {INDEPENDENT},"
    if not shown:
        return f"{text}; none {of} leaves out 0"
    return f"{text}; {len(shown)} {of} {'leaves' if len(shown) == 1 else 'leave'} out 0: {listed(shown[::-1])}"


def _calibrated(board: pl.DataFrame, metrics: pl.DataFrame, best: list[str], named: str) -> str | None:
    """Whose confidence is nearest to its accuracy, and on how many shifts the best method's is off."""
    everything = board.filter(label=ALL_LABELS, averaged_over=DISTINCT)
    ranked = everything.to_dicts()
    classes = by_class(ranked)
    saw = next((saw for saw, rows in classes.items() if best and best[0] in [row["intervention"] for row in rows]), "")
    apart = several(ranked)
    overall = everything.filter(pl.col("saw").fill_null(UNKNOWN) == saw) if apart else everything
    known = overall.drop_nulls("calibration_error").sort("calibration_error", maintain_order=True).to_dicts()
    if not known:
        return None
    error, nearest = of_mean(known[0], "calibration_error"), equal(known, "calibration_error")
    if len(known) == 1:
        text = f"The mean calibration error of {nearest[0]} is {error}."
    else:
        of_these = f" of the {len(known)} methods that have one" if len(known) < len(overall) else ""
        whose = f"Of the {among(saw)}, {have(nearest)}" if apart else have(nearest)
        text = f"{whose} the smallest calibration error{of_these}: {error}."
        if others := len(known) - len(nearest):
            what = "method" if others == 1 else f"{others} methods"
            text += f" Whether the lead over the other {what} is noise is not tested."
    for row in details.calibrations(metrics.filter(pl.col("intervention").is_in(best))):
        text += (
            f" The confidence of {row['intervention']}, {named} is off by more than chance gives on {row['larger']} of "
            f"{counted(row['shifts'], 'shift')}."
        )
    return text


def _cost(spent: Row) -> str | None:
    """What it took to compute what the results rest on, and how much of that this run did itself."""
    duration = in_words(spent)
    if duration is None:
        return None
    jobs = f"The {counted(spent['jobs'], 'job')} of this run took {readable(spent['job_seconds'])} in all"
    unknown = f"{spent['unknown']} of {spent['things']} results in the cache say nothing of what they took."
    if spent["things"] and spent["unknown"] == spent["things"]:
        return f"{jobs}. What the cache had before is {duration}: {unknown}"
    where = f" on {' and '.join('the CPU' if name == 'cpu' else name for name in spent['devices'])}"
    text = f"Computing all of it took {duration}{where if spent['devices'] else ''}"
    if spent["unknown"]:
        text += f": {unknown}"
    elif spent["dearest"]:
        text += f", {percent(spent['share'])} of that for the stage {spent['dearest']}."
    else:
        text += "."
    return f"{text} {jobs}{'; most was in the cache.' if spent['job_seconds'] < spent['seconds'] / 2 else '.'}"
