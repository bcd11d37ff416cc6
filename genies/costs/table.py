"""The costs of a run as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from genies.costs.costs import Costs, ModelCosts, gibibytes
from genies.costs.parts import EXTRACTION
from genies.costs.rates import READING_SHARE, TRAINING_SHARE
from genies.costs.sampling import Count, error_of, value_of
from genies.costs.trees import SplitCounts

HERE = "hours on this machine"


def render(costs: Costs) -> str:
    """The costs in Markdown: a table with a column for each model, what is assumed, and whether the disk suffices."""
    models = costs.models
    disk = [kind for kind in ("model", "tokens", "activations", "fits") if any(kind in m.disk for m in models)]
    rows = {
        "weights": [f"{model.parameters / 1e9:.3g} · 10⁹" for model in models],
        "tokenizer": [model.tokenizer for model in models],
        **_text_rows(models),
        **_time_rows(costs),
        **{f"disk: {kind}": [gibibytes(model.disk.get(kind, 0)) for model in models] for kind in disk},
        "disk in all": [gibibytes(sum(model.disk.values())) for model in models],
    }
    if any(model.stored for model in models):
        rows["of it in the cache already"] = [gibibytes(model.stored) for model in models]
    lines = [
        f"| {costs.run} | {' | '.join(model.name for model in models)} |",
        f"|---|{'---:|' * len(models)}",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
        "",
        *_assumptions(costs),
        "",
        costs.verdict,
    ]
    return "\n".join(lines)


def _text_rows(models: Sequence[ModelCosts]) -> dict[str, list[str]]:
    def total(count: Callable[[SplitCounts], Count]) -> list[str]:
        return [_count(sum(map(count, model.splits))) for model in models]

    return {
        "distributions": [str(len({split.distribution for split in model.splits})) for model in models],
        "examples": total(lambda split: split.examples),
        "examples left out (context)": total(lambda split: split.left_out),
        "texts (a response under a view)": total(lambda split: split.texts * len(split.extracted)),
        "tokens as strings": total(lambda split: sum(split.tokens[view] for view in split.extracted)),
        "distinct tokens in trees": total(lambda split: split.trees.tokens),
    }


def _time_rows(costs: Costs) -> dict[str, list[str]]:
    models, there = costs.models, f"hours on {costs.rate.name}"
    rows = {}
    for number, part in enumerate(models[0].parts):
        of_all = [model.parts[number] for model in models]
        if part.name != EXTRACTION:  # its tokens are those in trees, given above
            rows[f"{part.name}: distinct tokens"] = [_count(one.tokens) for one in of_all]
        rows[f"{part.name}: FLOP"] = [f"{one.operations:.2e}".replace("e+", "e") for one in of_all]
        rows[f"{part.name}: {there}"] = [_hours(one.hours) for one in of_all]
        rows[f"{part.name}: {HERE}"] = [_hours(one.hours_here) for one in of_all]
        if part.name == EXTRACTION and costs.write_rate is not None:
            rows[f"{part.name}: hours of the disk"] = [_hours(costs.write_hours(model) or 0) for model in models]
    rows[f"other jobs: {HERE}"] = [_hours(model.other_hours_here) for model in models]
    rows[f"jobs of the run: {HERE}"] = [_hours(costs.run_hours_here)] * len(models)
    rows[f"all: {there}"] = [_hours(model.hours) for model in models]
    return {**rows, f"all: {HERE}": [_hours(model.hours_here + costs.run_hours_here) for model in models]}


def _assumptions(costs: Costs) -> list[str]:
    lines = [*_sample(costs), _there(costs), _here(costs), _disk(costs)]
    lines.append(
        "FLOP are 2 for each token and weight of the blocks (trainings: 4, or 6 where all weights are trained), and "
        "attention within each tree. Self-tests are in them; padding and fits of probes are not."
    )
    if any(model.tokenizer.startswith("none") for model in costs.models):
        lines.append(
            "Without a tokenizer the counts of tokens are rough, and may be off by a third; ± says nothing of that. "
            "--tokenizer names one."
        )
    if costs.left_out:
        lines.append(f"Not counted: {'; '.join(costs.left_out)}.")
    return lines


def _sample(costs: Costs) -> list[str]:
    """Where tokens were counted in a sample, how large it was."""
    splits = costs.models[0].splits
    tokenized, examples = sum(split.tokenized for split in splits), sum(s.examples + s.left_out for s in splits)
    if tokenized == examples:
        return []
    return [
        f"Tokens are estimated from {tokenized:,} of {examples:,} examples, drawn from every split by seed; ± is half "
        "of the 95 % interval. --exact tokenizes them all."
    ]


def _there(costs: Costs) -> str:
    return (
        f"The named device is {costs.rate}, of which {100 * costs.rate.utilisation:g} % are assumed to be reached"
        f"{_types(costs, 'dtype')}. Its hours are arithmetic, not a measurement, and leave out the start of jobs."
    )


def _here(costs: Costs) -> str:
    rates = [
        f"{rate / 1e9:,.0f} GFLOP/s ({dtype}, {model.name})"
        for model in costs.models
        for dtype, rate in model.rates.items()
    ]
    together = (
        f" All models together take {_hours(costs.hours_here)} hours here. That counts the {costs.run_jobs} jobs of "
        "the run once; each column has them."
    )
    return (
        f"This machine ({costs.here}) passes texts through blocks of this width at {', '.join(rates)}, as measured "
        f"now. Jobs are expected to reach {100 * READING_SHARE:g} % of it, and {100 * TRAINING_SHARE:g} % while they "
        f"train{_types(costs, 'dtype_here')}. "
        f"Each of {costs.jobs} jobs takes {costs.here.start:.0f} s to start, and more to load weights."
        f"{together if len(costs.models) > 1 else ''}"
    )


def _disk(costs: Costs) -> str:
    """How fast stores are written, and whether that or computing takes longer, by model."""
    if costs.write_rate is None:
        return f"How fast the disk of {costs.cache} is was not measured: nothing can be written there."
    limits = []
    for model in costs.models:
        of_extraction = next(part for part in model.parts if part.name == EXTRACTION)
        written = costs.write_hours(model) or 0
        slower = [
            "the disk" if written > hours else "computing" for hours in (of_extraction.hours_here, of_extraction.hours)
        ]
        limits.append(f"{slower[0]} here and by {slower[1]} on {costs.rate.name} ({model.name})")
    return (
        f"The disk takes {costs.write_rate / 2**20:,.0f} MiB of stores a second, as measured now; it writes while the "
        f"next texts are computed. Extraction is limited by {'; by '.join(limits)}."
    )


def _types(costs: Costs, attribute: str) -> str:
    """What extraction and interventions compute in, as the end of a sentence."""
    first, *others = (getattr(part, attribute) for part in costs.models[0].parts)
    alike = all(other == first for other in others)
    return f", all in {first}" if alike else f", extraction in {first}, the others in {', '.join(sorted(set(others)))}"


def _count(count: Count) -> str:
    """A count, with its error where it is an estimate."""
    number, error = f"{value_of(count):,.0f}", 100 * error_of(count)
    return f"{number} ± {error:.1f} %" if error else number


def _hours(hours: float) -> str:
    if hours < 0.001:
        return "< 0.001" if hours else "0"
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.0f}"
