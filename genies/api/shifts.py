"""Metrics of interventions on shifts in one call: the workflow's stages, one after the other in this process.

Nothing is computed here. A call writes the folder that a run of the workflow would write, by the functions that the
rules call, over the same cache.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from genies.analyses import ANALYSES
from genies.config.load import load_config
from genies.config.sections import Config
from genies.data.shifts import Shift, merge_shifts, parse_shifts, read_shifts
from genies.errors import ConfigError, DataError
from genies.evaluation.table import read_csv
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS
from genies.files import whole_file
from genies.interventions.base import Intervention
from genies.interventions.registry import name_of, spec_of
from genies.locks import locked
from genies.models.merging import Form
from genies.plan import Plan
from genies.plan.data import published_files
from genies.plan.selection import pairs_of
from genies.store.users import at_work

CONFIG_FILE = "config.yaml"
"""The configuration of a call, in its run's folder. No run of the workflow has such a file."""
SHIFTS_FILE = "shifts.yaml"
"""The shifts of a call, as a list, beside it."""

OneIntervention = str | Path | type[Intervention] | Intervention
OneShift = Shift | Mapping[str, Any] | str | Path


def evaluate_shifts(
    model: str | Path,
    interventions: OneIntervention | Sequence[OneIntervention],
    shifts: OneShift | Sequence[OneShift],
    *,
    distributions: Sequence[str | Path] = (),
    run: str = "python",
    **settings: Any,
) -> pl.DataFrame:
    """Metrics of interventions on distribution shifts, as the workflow computes them.

    What the cache holds is taken from there, whether a call or the workflow made it, and what is computed is kept
    there for both. ``results/<run>/`` then has manifests, evaluations and tables where the workflow would put them,
    and the configuration: ``snakemake --configfile results/<run>/config.yaml`` adds the report.

    Args:
        model: folder, ``.gguf`` file or hub id of a causal language model.
        interventions: one or several: a name, the path of a Python file, a class, or an instance. An instance stands
            for its parameters, all of them, protocol and seed included; it is not changed.
        shifts: one or several: a ``Shift``, a mapping with its keys, or the path of a list (YAML).
        distributions: folders of the distributions that the shifts name; those of the demo and of the published data
            are known by name.
        run: name of the run. A later call of the same name replaces its results.
        **settings: any other key of the configuration (``config/README.md``), such as ``seed``, ``framing``,
            ``capability_interventions``, ``intervention_parameters``, ``extraction``, ``data_archive``, ``folders``.

    Returns:
        A row per intervention and shift; columns as in ``tables.generalization_metrics.TABLE``.

    Raises:
        ConfigError: something named is unknown or contradictory, or ``run`` is a run of the workflow's own.
        DataError: a distribution or a shift is missing or breaks its format.
        ModelError: the model cannot be found, read or used.
        StoreError: something in the cache is damaged.
    """
    listed = _listed(shifts)
    config = _config(model, interventions, distributions, run, settings)
    results = Path(config.folders.results)
    folder = results / config.run
    config = config.model_copy(update={"shifts": (str(folder / SHIFTS_FILE),)})
    with at_work(Path(config.folders.cache), results), locked(results, [config.run], str(folder)):
        _claim(folder)
        _write_yaml(folder / CONFIG_FILE, config.model_dump(mode="json", exclude_unset=True))
        _write_yaml(folder / SHIFTS_FILE, [_entry(shift) for shift in listed])
        plan = Plan(config)
        _provide_data(plan)
        for name in plan.models.references:
            _extract(plan, name)
        for name in plan.models:
            _evaluate(plan, name)
        return _tabulate(plan)


def _listed(shifts: OneShift | Sequence[OneShift]) -> list[Shift]:
    """The shifts of lists and those given one by one, checked like those of lists."""
    given = [shifts] if isinstance(shifts, Shift | Mapping | str | Path) else list(shifts)
    paths = [Path(shift) for shift in given if isinstance(shift, str | Path)]
    entries = [_entry(shift) for shift in given if not isinstance(shift, str | Path)]
    lists = [(str(path), read_shifts(path)) for path in paths]
    return merge_shifts([*lists, *([("shifts", parse_shifts(entries, "shifts"))] if entries or not paths else [])])


def _entry(shift: Any) -> Any:
    """A shift as an entry of a list."""
    return {k: v for k, v in asdict(shift).items() if v is not None} if isinstance(shift, Shift) else shift


def _config(
    model: str | Path,
    interventions: OneIntervention | Sequence[OneIntervention],
    distributions: Sequence[str | Path],
    run: str,
    settings: Mapping[str, Any],
) -> Config:
    if settings.get("sweep") is not None:
        raise ConfigError("sweep: is not part of evaluate_shifts; `snakemake sweep` computes it")
    for analysis in ANALYSES.values():
        if settings.get(analysis.key) not in (None, False, 0):
            raise ConfigError(f"{analysis.key}: is not part of evaluate_shifts; snakemake computes it")
    specs, parameters = [], dict(settings.get("intervention_parameters", {}))
    listed: Sequence[OneIntervention] = (
        interventions if isinstance(interventions, Sequence) and not isinstance(interventions, str) else [interventions]
    )
    for given in listed:
        if isinstance(given, str | Path):
            specs.append(str(given))
            continue
        kind = given if isinstance(given, type) else type(given)
        if not issubclass(kind, Intervention):
            raise ConfigError(f"interventions: {given!r} is none; give names, paths, classes or instances")
        specs.append(spec_of(kind))
        if isinstance(given, Intervention):
            parameters[name_of(specs[-1])] = given.get_params()
    return load_config(
        {
            **settings,
            "run": run,
            "model": str(model),
            "shifts": [SHIFTS_FILE],
            "distributions": [str(folder) for folder in distributions],
            "interventions": specs,
            "intervention_parameters": parameters,
        }
    )


def _claim(folder: Path) -> None:
    """Take a run's folder, and drop the evaluations of an earlier call."""
    if folder.is_dir() and not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"{folder}: holds a run of the workflow; give another name as run")
    shutil.rmtree(folder / "evaluations", ignore_errors=True)
    (folder / METRICS.file).unlink(missing_ok=True)


def _write_yaml(path: Path, value: Any) -> None:
    with whole_file(path) as partial:
        partial.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _provide_data(plan: Plan) -> None:
    """Unpack the archive and make the mixtures, where the run has them; then every file has to be there."""
    from genies.data.archive import published_digests, unpack
    from genies.data.mixture import mix

    archive = plan.config.data_archive
    if archive and not all(file.is_file() for file in published_files(plan.data.resources)):
        unpack(archive, plan.files.resources / "genies", published_digests(), downloads=plan.files.cache / "downloads")
    for name, mixture in plan.config.mixtures.items():
        source, other = (files[0].parent for files in plan.data.mixture_parts(name).values())
        mix(source, other, mixture.percent, plan.config.seed, plan.files.results / "mixtures" / name)
    for file in plan.data.files:
        if not file.is_file():
            raise DataError(f"{file}: file not found; a distribution's folder holds train.json and test.json")


def _extract(plan: Plan, name: str) -> None:
    """Every stage from the model to its activations, with the files that the rules name."""
    from genies.engine.reads import to_flags
    from genies.stages.extract import extract_distributions
    from genies.stages.model import pin_model
    from genies.stages.tokenize import tokenize_splits

    files, cache = plan.files, plan.files.cache
    model, tokens = files.model(name), files.tokens(name)
    if name in plan.models.tuned:
        _merge(plan, name, "language model", model)
    else:
        base, base_revision = plan.models.base(name)
        pin_model(
            plan.models.identifiers[name], revision=plan.models.revision(name), base=base, base_revision=base_revision,
            cache=cache, output=model,
        )  # fmt: skip
    reads = {f"{split}_views": to_flags(of_split) for split, of_split in plan.reads(name).items()}
    asked = plan.tokenized(name)
    train, test = plan.data.train(plan.trained_on(name)), plan.data.test(plan.selection.tested)
    tokenize_splits(
        model=model, train=train, test=test, train_views=to_flags(asked["train"]), test_views=to_flags(asked["test"]),
        reading=plan.reading, extraction=plan.config.extraction, cache=cache, output=tokens,
    )  # fmt: skip
    for batch, output in zip(plan.jobs.batches, files.activations(name), strict=True):
        extract_distributions(
            *plan.jobs.batch(batch), model=model, tokens=tokens, **reads, extraction=plan.config.extraction,
            cache=cache, output=output,
        )  # fmt: skip


def _evaluate(plan: Plan, name: str) -> None:
    """Every stage from the model to its evaluations, likewise."""
    _extract(plan, name)
    for intervention in plan.methods.on(name, plan.methods.probes):
        _evaluate_probe(plan, name, intervention)
    if plan.methods.on(name, plan.methods.texts):
        _evaluate_text_interventions(plan, name)
    for plugin in plan.methods.on(name, plan.methods.plugins):
        for source in plan.jobs.sources(plugin):
            _evaluate_plugin(plan, name, plugin, source)
    for ensemble in plan.methods.on(name, plan.methods.ensembles):
        _combine(plan, name, ensemble)


def _evaluate_probe(plan: Plan, name: str, intervention: str) -> None:
    from genies.stages.probe import probe_sources

    probe_sources(
        plan.methods.specs[intervention], *plan.selection.probe_pairs,
        parameters=plan.methods.parameters(intervention), train=plan.data.train(plan.selection.fitted_on),
        test=plan.data.test(plan.selection.tested), activations=plan.files.activations(name),
        reference=plan.reference_activations(name, intervention), cache=plan.files.cache,
        fits=plan.fits.of_probe(name, intervention), output=plan.evaluations.folder / name / intervention,
    )  # fmt: skip


def _evaluate_text_interventions(plan: Plan, name: str) -> None:
    from genies.interventions.training.loaded import LoadedModel
    from genies.stages.gather import gather_sources
    from genies.stages.tune import tune_sources

    made = {str(manifest): tuned for tuned, manifest in plan.models.rewards.items()}

    def tuned_models(intervention: str) -> list[str]:
        return [made[other.identifier] for other in plan.methods.other_models(intervention) if other.identifier in made]

    for intervention in sorted(plan.methods.texts, key=lambda name: bool(tuned_models(name))):
        for tuned in tuned_models(intervention):
            _merge(plan, tuned, "reward model", plan.models.rewards[tuned])
        loaded = LoadedModel()  # as a job has it: what one intervention loaded would be in the way of the next one's
        for number, sources in enumerate(plan.jobs.groups(intervention)):
            tune_sources(
                plan.methods.specs[intervention], *plan.jobs.pairs(intervention, str(number)),
                parameters=plan.methods.parameters(intervention),
                model=plan.files.model(name), tokens=plan.files.tokens(name),
                train=plan.data.train(sources), test=plan.data.test(plan.jobs.tests(intervention, str(number))),
                device=plan.jobs.device(intervention), cache=plan.files.cache,
                output=plan.fits.training(name, intervention, number), _loaded=loaded,
            )  # fmt: skip
    gather_sources(*plan.fits.trainings(name), cache=plan.files.cache, output=plan.files.results)


def _merge(plan: Plan, tuned: str, form: Form, output: Path) -> None:
    from genies.stages.merge import merge_fit

    merge_fit(
        tuned, fits=plan.fits.tuned(tuned), model=plan.files.model(plan.models.tuned_from(tuned)),
        source=plan.models.fit_of(tuned).source, form=form, cache=plan.files.cache, output=output,
    )  # fmt: skip


def _evaluate_plugin(plan: Plan, name: str, plugin: str, source: str) -> None:
    from genies.stages.plugin import run_plugin

    run_plugin(
        plan.methods.plugins[plugin], model=plan.files.model(name), tokens=plan.files.tokens(name),
        train=plan.data.file(source, "train"), test=plan.data.test(plan.selection.targets[source]),
        work=plan.evaluations.plugin(name, plugin, source),
        cache=plan.files.cache,
        output=plan.evaluations.of(name, plugin, source),
    )  # fmt: skip


def _combine(plan: Plan, name: str, ensemble: str) -> None:
    from genies.stages.ensemble import combine_sources

    chosen = plan.methods.ensembles[ensemble]
    combine_sources(
        *pairs_of(plan.jobs.targets(ensemble)), members=plan.evaluations.of_members(name, ensemble),
        combine=chosen.combine, penalty=chosen.penalty, seed=plan.config.seed,
        output=plan.evaluations.folder / name / ensemble,
    )  # fmt: skip


def _tabulate(plan: Plan) -> pl.DataFrame:
    from genies.stages.metrics import write_tables
    from genies.stages.overlap import write_overlap

    results = plan.files.results
    write_overlap(
        *plan.selection.probe_pairs, train=plan.data.train(plan.selection.fitted_on),
        test=plan.data.test(plan.selection.tested), reading=plan.reading, output=results,
    )  # fmt: skip
    write_tables(
        plan.evaluations.folder,
        models=list(plan.models),
        interventions=plan.methods.names,
        shifts=[Path(path) for path in plan.config.shifts],
        protocol=plan.config.protocol,
        capability=plan.roles.capability,
        fits=plan.fits.for_capability,
        trained=plan.roles.trained,
        surface=plan.roles.baselines,
        on_references=plan.jobs.on_references,
        repeats=list(plan.methods.repeats),
        absent=plan.absent,
        overlap=plan.files.overlap,
        own_scores=plan.data.own_scores,
        tuned=plan.lineage.tuned_from_own,
        saw=plan.methods.saw,
        seed=plan.config.seed,
        output=results,
    )
    return read_csv(results / METRICS.file, METRICS.columns)
