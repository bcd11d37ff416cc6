"""What is refused before a run begins, though the schema allows it."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genies.analyses import ANALYSES
from genies.config.load import check_readable
from genies.data.distributions import only_target
from genies.data.options import SPLITS
from genies.errors import ConfigError
from genies.interventions.registry import available, check_parameters
from genies.interventions.training.grid import grid
from genies.interventions.training.tuned import AdaptedReward
from genies.plan.layout import METRICS_FILE
from genies.plan.parameters import sweep_json

if TYPE_CHECKING:
    from genies.plan.plan import Plan


def check(plan: Plan) -> None:
    """Refuse what contradicts itself or is not there.

    Raises:
        ConfigError, ModelError: one line that names the key and what is nearest.
    """
    for of in (
        _parameters,
        _own_distributions,
        _names,
        _only_targets,
        _baselines,
        _limit,
        _archive,
        _sweep,
        _beside,
        _ensembles,
        _saw,
        _capability,
        _analyses,
        _tuned,
        _tuned_rewards,
        _models,
    ):
        of(plan)


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is nearest, for messages; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _parameters(plan: Plan) -> None:
    """Refuse parameters of what is no intervention; those of one that the run leaves out may stay."""
    known = {*plan.methods.specs, *available()}
    for name in plan.config.intervention_parameters:
        if name not in known:
            hint = _nearest(name, known) or f"; there are {', '.join(sorted(known))}"
            raise ConfigError(f"intervention_parameters: {name} is no intervention{hint}")


def _own_distributions(plan: Plan) -> None:
    for folder in plan.data.own.values():
        if not folder.is_dir():
            raise ConfigError(
                f"distributions: {folder.absolute()}: no such folder; name folders with train.json and test.json"
            )
        if not any((folder / f"{split}.json").is_file() for split in SPLITS):
            raise ConfigError(
                f"distributions: {folder.absolute()}: holds neither train.json nor test.json; "
                f"`genies validate {folder}` says what is missing"
            )


def _names(plan: Plan) -> None:
    """Refuse names of distributions that are not known, or known twice."""
    made = plan.data.known
    known = set(made)
    if twice := sorted(name for name in known if made.count(name) > 1):
        raise ConfigError(f"distributions: {twice[0]} is already the name of a known one; give another name")
    mixtures = plan.config.mixtures
    for name, mixture in mixtures.items():
        for part in (mixture.source, mixture.other):
            if part not in known - set(mixtures):
                raise ConfigError(f"mixtures: {name} is made of {part}, which is no known distribution")
    for shift in plan.shifts:
        for name in (shift.source, shift.target, shift.target_reference):
            if name not in known:
                raise ConfigError(
                    f"shift {shift.source} → {shift.target}: unknown distribution {name}{_nearest(name, known)} "
                    "(name own folders under `distributions`)"
                )


def _only_targets(plan: Plan) -> None:
    """Refuse to fit on distributions that have a test split alone, or to take labels from them."""
    absent = {name for name, folder in plan.data.own.items() if only_target(folder)}
    for shift in plan.shifts:
        place = f"shift {shift.source} → {shift.target}"
        if shift.source in absent:
            raise ConfigError(f"{place}: {shift.source} has no train.json, so it can be a target, but not a source")
        if shift.target_reference in absent and plan.roles.capability:
            raise ConfigError(
                f"{place}: {shift.target_reference} has no train.json, so no capability can be fitted on it; name "
                "another target_reference, or set capability_interventions: []"
            )
    for name, mixture in plan.config.mixtures.items():
        if part := next((part for part in (mixture.source, mixture.other) if part in absent), None):
            raise ConfigError(f"mixtures: {name} is made of {part}, which has no train.json")
    labelled = (shift.target for shift in plan.shifts if plan.config.few_labels and shift.target in absent)
    if target := next(labelled, None):
        raise ConfigError(
            f"few_labels: {target}, a target, has no train.json to take labels from; leave few_labels or that shift out"
        )


def _baselines(plan: Plan) -> None:
    """Refuse surface baselines where the responses are Yes and No, in which there is nothing to count."""
    if plan.reading.framing != "response" and plan.roles.surface:
        raise ConfigError(
            f"interventions: {plan.roles.surface[0]} counts in responses, which are Yes and No with framing: "
            f"{plan.reading.framing}; leave it out, or judge responses"
        )


def _limit(plan: Plan) -> None:
    known = plan.data.known
    for name in plan.config.limit.distributions:
        if name not in known:
            raise ConfigError(f"limit.distributions: unknown distribution {name}{_nearest(name, known)}")


def _archive(plan: Plan) -> None:
    """Refuse published distributions that are neither there nor in an archive that is named."""
    if plan.config.data_archive:
        for archive in plan.data.archive:
            check_readable(archive, "data archive")
        return
    folder = plan.data.resources / "genies" / "distributions"
    parts = {part for m in plan.config.mixtures.values() for part in (m.source, m.other)}
    for name in sorted({*plan.selection.all, *parts}):
        if plan.data.folder(name).parent == folder and not plan.data.file(name, "test").is_file():
            raise ConfigError(
                f"data_archive: {name} is a published distribution and not in {folder} yet; name the archive, "
                "for example --config data_archive=genies-datasets.tar.xz"
            )


def _sweep(plan: Plan) -> None:
    methods, sweep = plan.methods, plan.config.sweep
    if sweep is None:
        return
    for name in sweep.interventions:
        if name not in methods.texts or name in methods.repeats:
            raise ConfigError(f"sweep: {name} is not among the run's trained interventions; add it or leave it out")
        _sweep_size(plan, sweep.train + sweep.held_out)
        for combination in grid(json.loads(sweep_json(plan.config, name))):
            check_parameters(methods.specs[name], {**methods.parameters(name), **combination})


def _sweep_size(plan: Plan, asked: int) -> None:
    for source in plan.selection.sources:
        limit = plan.config.limit.of(source, "train")
        if limit is not None and limit < asked:
            raise ConfigError(
                f"limit: {limit} training examples of {source} are fewer than sweep.train + sweep.held_out = "
                f"{asked}; raise the limit or lower those"
            )


def beside_files(plan: Plan) -> list[Path]:
    """The metrics of the runs that are shown beside this one.

    Raises:
        ConfigError: there are none.
    """
    files = (Path(folder) / METRICS_FILE for folder in plan.config.beside)
    return [check_readable(file, "a run to show beside this one") for file in files]


def _beside(plan: Plan) -> None:
    """Refuse a run to show beside this one that has no shift of this one."""
    mine = {(shift.source, shift.target) for shift in plan.shifts}
    for file in beside_files(plan):
        with file.open(encoding="utf-8", newline="") as stream:
            theirs = {(row.get("source"), row.get("target")) for row in csv.DictReader(stream)}
        if not mine & theirs:
            raise ConfigError(f"beside: {file.absolute()}: has no shift that this run has; leave that run out")


def _ensembles(plan: Plan) -> None:
    """Refuse ensembles with another's name, or with members that cannot be."""
    for name, ensemble in plan.methods.ensembles.items():
        if name in {*plan.methods.specs, *plan.methods.plugins}:
            raise ConfigError(f"ensembles: {name} is also the name of another intervention; give another name")
        for member in ensemble.members:
            if problem := _no_member(plan, ensemble.members, member):
                raise ConfigError(f"ensembles: {name}: {member} {problem}")


def _no_member(plan: Plan, members: Sequence[str], member: str) -> str | None:
    methods = plan.methods
    if members.count(member) > 1:
        return "is named twice; name it once"
    if member in methods.ensembles:
        return "is an ensemble itself; name its members"
    if member in methods.plugins:
        return "is a plug-in, which states no scores; leave it out"
    if member not in methods.specs:
        hint = _nearest(member, methods.specs) or f"; there are {', '.join(methods.specs)}"
        return f"is no intervention of the run{hint}"
    return None


def _saw(plan: Plan) -> None:
    """Refuse what is said of anything but plug-ins, whose own classes cannot say it."""
    for name in plan.config.saw:
        if name not in plan.methods.plugins:
            hint = _nearest(name, plan.methods.plugins) or "; an intervention declares in its class what it saw"
            raise ConfigError(f"saw: {name} is no plug-in of the run{hint}")


def _capability(plan: Plan) -> None:
    for name in plan.roles.capability:
        if name in plan.methods.ensembles:
            raise ConfigError(f"capability_interventions: {name} is an ensemble; name its members")
        if name in plan.methods.specs and plan.methods.reads_test_labels(name):
            raise ConfigError(
                f"capability_interventions: {name} under the protocol {plan.config.protocol} chooses its sign on "
                "the test labels, so that its accuracy is no capability; leave it out"
            )


def _analyses(plan: Plan) -> None:
    """Refuse an analysis that no intervention of the run can be part of: its tables would be empty."""
    for name, analysis in ANALYSES.items():
        if getattr(plan.config, analysis.key) and not any(plan.roles.analysed(name, model) for model in plan.models):
            raise ConfigError(
                f"{analysis.key}: no intervention of the run {analysis.needs} to interventions, or leave "
                f"{analysis.key} out"
            )


def _tuned(plan: Plan) -> None:
    """Refuse tuned models of what the run does not train, and bases of what is none of its models."""
    methods, known = plan.methods, plan.models.identifiers
    for name, tuned in plan.config.tuned_models.items():
        where, base = f"tuned_models: {name}", plan.models.tuned_from(name)
        if base not in known:
            raise ConfigError(f"{where}: the run has no model {base}{_nearest(base, known)}")
        adapts = [text for text in methods.texts if issubclass(methods.kind(text), AdaptedReward)]
        if tuned.intervention not in adapts:
            has = f"; it has {', '.join(adapts)}" if adapts else "; add lora or prompt_tuning"
            raise ConfigError(f"{where}: the run trains no adapter with an intervention {tuned.intervention}{has}")
        if tuned.source not in (sources := plan.jobs.sources(tuned.intervention)):
            raise ConfigError(f"{where}: {tuned.source} is no source of the run{_nearest(tuned.source, sources)}")
        probes = [probe for probe in methods.probes if probe not in methods.repeats]
        for chosen in tuned.interventions or ():
            if chosen not in probes:
                hint = _nearest(chosen, probes)
                raise ConfigError(f"{where}: {chosen} is no intervention of the run that reads features{hint}")
        if not tuned.interventions and tuned.interventions is not None and name not in plan.models.rewards:
            raise ConfigError(f"{where}: no intervention reads it; name some, or a reward_model whose model it is")
    for adapter in plan.config.bases:
        if adapter not in plan.config.chosen_models:
            raise ConfigError(f"bases: {adapter} is no model of the run{_nearest(adapter, plan.config.chosen_models)}")


def _tuned_rewards(plan: Plan) -> None:
    """Refuse parameters that a reward model which the run tunes cannot have: it is no judge, and pinned as it is."""
    rewards = {str(manifest): name for name, manifest in plan.models.rewards.items()}
    for name in plan.methods.texts:
        parameters = plan.methods.parameters(name)
        if (tuned := rewards.get(str(parameters.get("model")))) is None:
            continue
        where = f"intervention_parameters: {name}:"
        if parameters.get("format") == "judge":
            raise ConfigError(
                f"{where} format: judge asks a language model, and {tuned} is tuned as a reward model; leave format out"
            )
        for key in ("revision", "base", "base_revision"):
            if parameters.get(key) is not None:
                raise ConfigError(f"{where} {key}: {tuned} is tuned by the run and has none; leave {key} out")


def _models(plan: Plan) -> None:
    """Refuse local models that are not whole."""
    for model in plan.models.identifiers:
        plan.models.files(model)
    for name in plan.methods.specs:
        plan.other_model_files(name)
