"""What a run keeps of its making (texts, self-tests, trainings, sites, samples, costs): files and columns."""

from __future__ import annotations

import polars as pl

from genies.evaluation.seen import KINDS
from genies.evaluation.table import Rows, Table

SAMPLES_FILE = "samples.json"
TEXTS = Table(
    "texts.csv",
    {
        **dict.fromkeys(("model", "distribution", "split"), pl.String),
        **dict.fromkeys(("examples", "available", "left_out", "shortened", "indistinct", "merged"), pl.Int64),
        **dict.fromkeys(("intervention", "source"), pl.String),
        "dropped_shots": pl.Int64,
        **dict.fromkeys(KINDS, pl.Int64),
    },
    optional=True,
    rows=Rows(
        ("model", "distribution", "split", "intervention", "source"),
        blank=("intervention", "source"),
        where="source",
        own=("examples", "available", "left_out", "shortened", "indistinct", "merged"),
    ),
)
"""Columns of ``texts.csv``: a row per split that a model read, the same for every intervention; a row wherever an
intervention that was fitted on ``source`` had to change texts of its own accord: shots that it dropped, over all
examples of the split, or examples that it shortened; and a row, with ``source`` but no intervention, for every shift.

``examples`` counts those drawn of the ``available`` ones in the file, all where there is no limit. ``left_out`` counts
those of them that the model's context could not hold, ``indistinct`` those with responses that are the same tokens.
``merged`` counts texts, not examples: those in which the end of the prompt is one token with the response.
Under the framing ``truthfulness`` each question about an example counts as one.

``same_prompt``, ``same_text`` and ``other_label`` count examples of the file, whatever the framing, that a training
split shares in one of these ways (``genies.data.overlap``): in the row of a test split, that of the same distribution;
in the row of a shift, that of ``source``."""
CHECKS = Table(
    "checks.csv",
    {
        **dict.fromkeys(("model", "distribution", "split"), pl.String),
        "packed": pl.Boolean,
        **dict.fromkeys(("examples", "texts"), pl.Int64),
        **dict.fromkeys(("relative_difference", "log_probability_difference"), pl.Float64),
        **dict.fromkeys(("decisions", "decisions_changed"), pl.Int64),
        "reason": pl.String,
        "longest": pl.Int64,
    },
    optional=True,
    rows=Rows(
        ("model", "distribution", "split"),
        ("packed", "examples", "texts", "decisions", "decisions_changed"),
        repeats=True,
    ),
)
"""Columns of ``checks.csv``: a row per split that was extracted, as in ``genies.engine.self_test.Check``."""
TRAINING = Table(
    "training.csv",
    {
        **dict.fromkeys(("model", "intervention", "source"), pl.String),
        "step": pl.Int64,
        **dict.fromkeys(("loss", "learning_rate"), pl.Float64),
    },
    optional=True,
    rows=Rows(("model", "intervention", "source", "step"), ("loss",)),
)
"""Columns of ``training.csv``: a row per optimizer step; the loss is the step's mean in nats per pair."""
SITES = Table(
    "sites.csv",
    {
        **dict.fromkeys(("model", "intervention", "source"), pl.String),
        **dict.fromkeys(("layer", "head"), pl.Int64),
        "accuracy": pl.Float64,
        **dict.fromkeys(("tied", "tied_kept"), pl.Int64),
    },
    optional=True,
    rows=Rows(("model", "intervention", "source", "layer", "head"), blank=("head",)),
)
"""Columns of ``sites.csv``: a row per layer or head that a fitted probe chose, with its validation accuracy. ``tied``
sites of the fit are as accurate as the last one that was kept, and ``tied_kept`` of those were kept; both are 0 where
their order decided nothing."""
REWARD_MODELS = Table(
    "reward_models.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "distribution"), pl.String),
        **dict.fromkeys(("format", "written", "library"), pl.String),
        "texts": pl.Int64,
        "difference": pl.Float64,
        **dict.fromkeys(("elsewhere", "judged", "order_decides"), pl.Int64),
        "toward_first": pl.Float64,
    },
    optional=True,
    rows=Rows(("model", "intervention", "source", "distribution"), ("format", "library", "texts", "elsewhere")),
)
"""Columns of ``reward_models.csv``: a row per source and target (``distribution``) of a finished reward model.

``format`` is how its texts are put: ``chat``, ``prompt_response`` or ``judge``; ``written`` how a judge is asked:
``chat`` or ``text``. On so many ``texts`` of the source, each by itself, scores were compared with those of the model's
own pass in ``library``; ``difference`` is the largest one, and ``elsewhere`` counts texts whose reward that library
reads at another token, since they end with the padding token. Of a judge that read pairs in both orders, ``judged``
counts pairs, ``order_decides`` those of which it prefers the same place in both orders, and ``toward_first`` is its
mean log-odds for the first place, in nats."""
COSTS = Table(
    "costs.csv",
    {
        **dict.fromkeys(("model", "stage", "intervention", "source", "distribution", "split"), pl.String),
        **dict.fromkeys(("seconds", "cpu_seconds"), pl.Float64),
        "device": pl.String,
        **dict.fromkeys(("peak_memory", "peak_device_memory", "bytes", "computed_tokens", "distinct_tokens"), pl.Int64),
    },
    optional=True,
    rows=Rows(
        ("model", "stage", "intervention", "source", "distribution", "split"),
        ("bytes",),
        blank=("intervention", "source", "distribution", "split"),
        repeats=True,
    ),
)
"""Columns of ``costs.csv``: a row per thing that a run rests on and that was kept when it was made, be it by this run
or by another one: a split's stores (``extract``), a fit (``probe``, ``tune``), the test of a trained fit on a
``distribution`` (``test``), and what a plug-in did (``plugin``). ``genies.spent.Spent`` explains what was measured; it
is summed over the processes that made the thing, peaks are the largest, and all of it is null where nothing was noted.
``bytes`` is what it takes on the disk now.

Of this table and of ``jobs.csv`` no other result is made, and two equal runs may differ in them."""
JOBS = Table(
    "jobs.csv",
    {
        **dict.fromkeys(("rule", "model", "intervention", "job"), pl.String),
        **dict.fromkeys(("seconds", "cpu_seconds"), pl.Float64),
        "peak_memory": pl.Int64,
    },
    optional=True,
    rows=Rows(("rule", "model", "intervention", "job"), blank=("model", "intervention", "job"), repeats=True),
)
"""Columns of ``jobs.csv``: a row per job of the run, as Snakemake measured it when it last ran. A job that found all in
the cache took seconds; ``costs.csv`` has what its things cost when they were made. The jobs that come after this table
was made (``details``, ``provenance``, ``report``) are those of the run before."""
