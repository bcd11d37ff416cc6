"""The jobs of a run by the names of their benchmark files, so that no other file there counts as one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genies.plan.plan import Plan

ALWAYS = ("overlap", "metrics", "details", "provenance", "report")
"""Rules of which every run has one job."""


def timed(plan: Plan) -> list[str]:
    """Every job that makes a file of a run, as its benchmark file is named in their folder, without ``.tsv``.

    A rule's own name is first: ``extract/pythia-410m/0``.
    """
    names = [*ALWAYS, *_data(plan), *_analyses(plan)]
    for model in plan.models.every:
        names += _of_model(plan, model)
    for model in plan.models:
        names += _of_methods(plan, model)
    names += [f"merge_reward/{name}" for name in plan.models.rewards]
    folder = plan.files.results / "sweep"
    return names + [f"sweep_source/{file.relative_to(folder).with_suffix('')}" for file in plan.files.sweeps()]


def _data(plan: Plan) -> Iterator[str]:
    """What places or mixes data, and places the demo's model."""
    mixed = [name for name in plan.selection.all if name in plan.config.mixtures]
    yield from (f"mixture/{name}" for name in mixed)
    parts = [file for name in mixed for files in plan.data.mixture_parts(name).values() for file in files]
    folders = {plan.data.folder(name) for name in plan.selection.all} | {file.parent for file in parts}
    for rule, origin in (("unpack", "genies"), ("demo_data", "demo")):
        if plan.data.resources / origin / "distributions" in {folder.parent for folder in folders}:
            yield rule
    models = [file for model in plan.models.identifiers for file in plan.models.files(model)]
    others = [file for name in plan.methods.texts for file in plan.other_model_files(name)]
    if plan.models.demo in {*models, *others}:
        yield "demo_model"


def _analyses(plan: Plan) -> Iterator[str]:
    """A job writes all tables of its folder."""
    for folder in dict.fromkeys(file.parent for file in plan.files.analysed):
        yield str(folder.relative_to(plan.files.results))


def _of_model(plan: Plan, model: str) -> Iterator[str]:
    """What reads a model, be it a reference."""
    yield f"{'merge' if model in plan.models.tuned else 'model'}/{model}"
    yield f"tokenize/{model}"
    yield from (f"extract/{model}/{batch}" for batch in plan.jobs.batches)


def _of_methods(plan: Plan, model: str) -> Iterator[str]:
    """What fits and tests methods on a model of the run."""
    methods, jobs = plan.methods, plan.jobs
    if methods.on(model, plan.roles.featureless):
        yield f"surface/{model}"
    yield from (f"probe/{model}/{name}" for name in methods.on(model, plan.roles.with_jobs))
    trained = methods.on(model, methods.texts)
    if trained:
        yield f"gather/{model}"
    for name in trained:
        yield from (f"tune/{model}/{name}/{group}" for group in range(len(jobs.groups(name))))
    for name in methods.on(model, methods.plugins):
        yield from (f"plugin/{model}/{name}/{source}" for source in jobs.sources(name))
    for name in methods.on(model, methods.ensembles):
        yield f"{'ensemble_on_references' if name in jobs.on_references else 'ensemble'}/{model}/{name}"
