"""Analyses: stages that look once more at what a model's stores hold, each for tables of its own.

An analysis is declared here once; command line, plan, progress, costs and estimates go by this list. Its rule has its
name, and its verb the same with hyphens. The rule makes ``results/<run>/<analysis>/<model>/<table>.csv`` of each model,
and ``metrics`` joins these files over models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Analysis(NamedTuple):
    """What has to be known of an analysis.

    Attributes:
        place: its stage, as ``module:name``.
        help: one line about its verb.
        tables: names of the tables that it writes of a model.
        key: of the configuration; a run that sets it asks for the analysis.
        takes: property of ``genies.plan.methods.Methods`` with the interventions that it is made of; a model that none
            of them reads is left out.
        passes: whether it passes texts through the model.
    """

    place: str
    help: str
    tables: tuple[str, ...]
    key: str
    takes: str
    passes: bool = False


ANALYSES: Mapping[str, Analysis] = {
    "directions": Analysis(
        "genies.stages.directions:write_directions",
        "compare the directions of sources, and erase them",
        ("directions", "direction_layers", "transfer", "erasure"),
        key="directions",
        takes="with_layers",
    ),
    "causal": Analysis(
        "genies.stages.causal:write_causal",
        "say what directions change in the model itself",
        ("causal",),
        key="causal",
        takes="with_layers",
        passes=True,
    ),
    "nulls": Analysis(
        "genies.stages.nulls:write_nulls",
        "say what probes would score if labels said nothing",
        ("nulls",),
        key="permutations",
        takes="with_sites",
    ),
    "learning_curves": Analysis(
        "genies.stages.curves:write_learning_curves",
        "say what probes reach with fewer training pairs",
        ("learning_curves",),
        key="learning_curves",
        takes="learning",
    ),
    "wordings": Analysis(
        "genies.stages.wordings:write_wordings",
        "say what probes reach under other wordings of what they ask",
        ("wordings", "wording_variance"),
        key="wordings",
        takes="with_wordings",
    ),
    "few_labels": Analysis(
        "genies.stages.few_labels:write_few_labels",
        "say what probes reach with a few labelled pairs of the target",
        ("few_labels",),
        key="few_labels",
        takes="with_few_labels",
    ),
}
"""By name of the rule."""
PASSING = tuple(name for name, analysis in ANALYSES.items() if analysis.passes)
"""Those that pass texts through the model."""
