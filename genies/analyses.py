"""Analyses: stages that look once more at what a model's stores hold, each for tables of its own.

An analysis is declared here once; command line, plan, progress, costs and estimates go by this list. Its rule has its
name, and its verb the same with hyphens. The rule makes ``results/<run>/<analysis>/<model>/<table>.csv`` of each model,
or ``<model>/<source>/<table>.csv`` of each source, and ``metrics`` joins these files over models.
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
        takes: property of ``genies.plan.roles.Roles`` with the interventions that it needs, one of them at least; a
            model that none of them reads is left out.
        needs: which these are, in words that follow "no intervention of the run", up to what can be added.
        passes: whether it passes texts through the model.
        by_source: whether each source has a job of its own, which writes into a folder of its name.
    """

    place: str
    help: str
    tables: tuple[str, ...]
    key: str
    takes: str
    needs: str
    passes: bool = False
    by_source: bool = False


OF_LAYERS = "reads the layers of the residual stream under the view plain; add lat_stim_1"
ANALYSES: Mapping[str, Analysis] = {
    "directions": Analysis(
        "genies.stages.directions:write_directions",
        "compare the directions of sources, and erase them",
        ("directions", "direction_layers", "transfer", "erasure"),
        key="directions",
        takes="with_layers",
        needs=OF_LAYERS,
    ),
    "causal": Analysis(
        "genies.stages.causal:write_causal",
        "say what directions change in the model itself",
        ("causal",),
        key="causal",
        takes="with_layers",
        needs=OF_LAYERS,
        passes=True,
    ),
    "nulls": Analysis(
        "genies.stages.nulls:write_nulls",
        "say what probes would score if labels said nothing",
        ("nulls",),
        key="permutations",
        takes="with_sites",
        needs="chooses among layers or heads by training pairs; add mms",
    ),
    "learning_curves": Analysis(
        "genies.stages.curves:write_learning_curves",
        "say what probes reach with fewer training pairs",
        ("learning_curves",),
        key="learning_curves",
        takes="learning",
        needs="is fitted on training pairs without a training of its own; add mms",
    ),
    "wordings": Analysis(
        "genies.stages.wordings:write_wordings",
        "say what probes reach under other wordings of what they ask",
        ("wordings", "wording_variance"),
        key="wordings",
        takes="with_wordings",
        needs="reads a view that has further ones (lat_template, yes, no); add lat_stim_2, ccs or cra",
    ),
    "few_labels": Analysis(
        "genies.stages.few_labels:write_few_labels",
        "say what probes reach with a few labelled pairs of the target",
        ("few_labels",),
        key="few_labels",
        takes="with_few_labels",
        needs="is fitted on training pairs and reads neither other views nor labels of test pairs; add mms",
        by_source=True,
    ),
}
"""By name of the rule."""
PASSING = tuple(name for name, analysis in ANALYSES.items() if analysis.passes)
"""Those that pass texts through the model."""
