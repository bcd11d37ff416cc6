"""Whether the files of a run were made as it is configured today, of the inputs and by the code that are there now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genies.digests import file_sha256
from genies.errors import StoreError
from genies.files import read_json
from genies.making import MADE_OF, data_roles, member_roles, stem_roles
from genies.options import deciding
from genies.plan.plan import Plan


@dataclass(frozen=True)
class Product:
    """A file of a run that states what it was made of, and what it should state.

    Attributes:
        file: a manifest (JSON), an evaluation, or the overlaps (parquet).
        code: digest of the code of its rule.
        inputs: its inputs by their roles.
        configured: further fields that it should hold; a dot leads into a field.
    """

    file: Path
    code: str
    inputs: Mapping[str, Path]
    configured: Mapping[str, Any] = field(default_factory=dict)


def products(plan: Plan) -> Iterator[Product]:
    """Every manifest and evaluation of a run, and its overlaps."""
    for model in plan.models.references:
        yield from _manifests(plan, model)
    for model in plan.models:
        yield from _manifests(plan, model)
        for name in plan.methods.on(model, plan.methods.probes):
            yield from _probe(plan, model, name)
        for name in plan.methods.on(model, plan.methods.texts):
            yield from _trained(plan, model, name)
        for name in plan.methods.on(model, plan.methods.plugins):
            yield from _plugin(plan, model, name)
        for name in plan.methods.on(model, plan.methods.ensembles):
            yield from _ensemble(plan, model, name)
    for name, manifest in plan.models.rewards.items():
        yield _merged(plan, name, manifest, "reward model")
    yield _overlap(plan)


def check_results(plan: Plan) -> None:
    """Compare what every file of a run states with the configuration, the code and the files that are there now.

    Raises:
        StoreError: one states something else, or is missing; the message says which to delete.
    """
    hashes = _Hashes()
    problems = [(p.file, problem) for p in products(plan) if (problem := problem_of(p, hashes))]
    if problems:
        file, problem = problems[0]
        others = f", as were {len(problems) - 1} other files" if len(problems) > 1 else ""
        results = plan.files.results
        folders = dict.fromkeys(str(results / file.relative_to(results).parts[0]) for file, _ in problems)
        what = file if len(problems) == 1 else " and ".join(folders)
        raise StoreError(
            f"{file}: {problem}{others}; delete {what} and run snakemake again (what is still right is taken from the "
            "cache)"
        )


class _Hashes(dict[Path, str]):
    """SHA-256 by file, each read once; empty where there is no file."""

    def __missing__(self, path: Path) -> str:
        self[path] = file_sha256(path) if path.is_file() else ""
        return self[path]


def problem_of(product: Product, hashes: Mapping[Path, str] | None = None) -> str | None:
    """In what a file differs from what it should state; None where it does not.

    Args:
        product: the file, and what it should state.
        hashes: SHA-256 of its inputs, "" of one that is missing; default: they are read.
    """
    hashes = _Hashes() if hashes is None else hashes
    if not product.file.is_file():
        return "is missing"
    told = _told(product.file)
    for name, wanted in product.configured.items():
        wanted = json.loads(json.dumps(wanted))
        if (found := _at(told, name)) != wanted:
            return f"was made with {name} = {_short(found)}, configured is {_short(wanted)}"
    stated = told.get(MADE_OF) or {}
    if stated.get("code") != product.code:
        return "was made by other code than is installed now"
    inputs = stated["inputs"]
    if differing := sorted(inputs.keys() ^ product.inputs.keys()):
        return f"was made {'with' if differing[0] in inputs else 'without'} {differing[0]}"
    changed = next((path for role, path in sorted(product.inputs.items()) if inputs[role] != hashes[path]), None)
    return f"was made of another {changed}" if changed else None


def _told(file: Path) -> Mapping[str, Any]:
    if file.suffix == ".json":
        return read_json(file, MADE_OF)
    from genies.evaluation.evaluations import read_making

    return read_making(file)


def _at(told: Any, name: str) -> Any:
    """The value of a field, or of one in it, by a name with dots; None where there is none."""
    for part in name.split("."):
        told = told.get(part) if isinstance(told, Mapping) else None
    return told


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]} …"


def _overlap(plan: Plan) -> Product:
    """Which test examples also appear in training splits."""
    inputs = _splits(plan, plan.selection.fitted_on, plan.selection.tested)
    read = {"seed": plan.reading.seed, "limit": asdict(plan.reading.limit)}
    configured = {**read, "targets": plan.selection.probe_targets}
    return Product(plan.files.overlap, plan.code("genies.stages.overlap"), inputs, configured)


def _manifests(plan: Plan, model: str) -> Iterator[Product]:
    """The model, its tokens and its activations."""
    described, tokens = plan.files.model(model), plan.files.tokens(model)
    if model in plan.models.tuned:
        yield _merged(plan, model, described, "language model")
    else:
        configured = {"identifier": plan.models.identifiers[model], "asked_revision": plan.models.revision(model)}
        yield Product(described, plan.code("genies.stages.model"), {}, {**configured, **_base(plan, model)})
    yield Product(
        tokens,
        plan.code("genies.stages.tokenize"),
        {"model": described, **_splits(plan, plan.trained_on(model), plan.selection.tested)},
        {"reading": asdict(plan.reading), "templates": plan.templates()},
    )
    for batch, manifest in zip(plan.jobs.batches, plan.files.activations(model), strict=True):
        chosen = {"distributions": plan.jobs.batch(batch), "options": deciding(plan.config.extraction)}
        code = plan.code("genies.stages.extract")
        yield Product(manifest, code, {"model": described, "tokens": tokens}, chosen)


def _base(plan: Plan, model: str) -> dict[str, str]:
    """What the manifest of an adapter should state of its base, as far as that is known before it is read."""
    base, revision = plan.lineage.untuned(model), plan.lineage.untuned_revision(model)
    stated = {"adapter.base": base, "adapter.asked_base_revision": revision}
    return {name: value for name, value in stated.items() if value is not None}


def _merged(plan: Plan, name: str, manifest: Path, form: str) -> Product:
    """A model that the run tunes."""
    inputs = {"fits": plan.fits.tuned(name), "model": plan.files.model(plan.models.tuned_from(name))}
    configured = {"name": name, "form": form, "source": plan.models.fit_of(name).source}
    return Product(manifest, plan.code("genies.stages.merge"), inputs, configured)


def _probe(plan: Plan, model: str, name: str) -> Iterator[Product]:
    """The fits of an intervention that reads features, and their evaluations."""
    activations = stem_roles("activations", plan.files.activations(model))
    fits = plan.fits.of_probe(model, name)
    inputs = {**activations, **_splits(plan, plan.selection.fitted_on, [])}
    yield Product(fits, plan.code("genies.stages.fit", intervention=name), inputs, _intervention(plan, name))
    code = plan.code("genies.stages.evaluate", intervention=name)
    read = {**activations, **stem_roles("reference", plan.reference_activations(model, name))}
    for source in plan.selection.fitted_on:
        targets = plan.selection.probe_targets[source]
        inputs = {"fits": fits, **read, **_splits(plan, [], targets)}
        yield Product(plan.evaluations.of(model, name, source), code, inputs, {"targets": targets})


def _trained(plan: Plan, model: str, name: str) -> Iterator[Product]:
    """The fits of an intervention that reads texts, and their evaluations."""
    manifests = {"model": plan.files.model(model), "tokens": plan.files.tokens(model)}
    code, configured = plan.code("genies.stages.tune", intervention=name), _intervention(plan, name)
    for number, sources in enumerate(plan.jobs.groups(name)):
        tests = plan.jobs.tests(name, str(number))
        group = plan.fits.training(model, name, number)
        yield Product(group, code, {**manifests, **_splits(plan, sources, tests)}, configured)
        for source in sources:
            targets = plan.selection.targets[source]
            inputs = {**manifests, **_splits(plan, [source], targets)}
            yield Product(plan.fits.trained(model, name, source), code, inputs, configured)
            yield Product(plan.evaluations.of(model, name, source), code, inputs, configured | {"targets": targets})


def _plugin(plan: Plan, model: str, name: str) -> Iterator[Product]:
    """The evaluations of a plug-in."""
    folder = plan.methods.plugins[name]
    programs = {f"programs/{file.relative_to(folder)}": file for file in plan.methods.plugin_files(name)}
    manifests = {"model": plan.files.model(model), "tokens": plan.files.tokens(model)}
    for source in plan.jobs.sources(name):
        targets = plan.selection.targets[source]
        inputs = {**manifests, **programs, **_splits(plan, [source], targets)}
        yield Product(
            plan.evaluations.of(model, name, source), plan.code("genies.stages.plugin"), inputs, {"targets": targets}
        )


def _ensemble(plan: Plan, model: str, name: str) -> Iterator[Product]:
    """The evaluations of an ensemble."""
    code = plan.code("genies.stages.ensemble")
    for source in plan.jobs.sources(name):
        configured = {**plan.methods.ensembles[name].model_dump(), "seed": plan.config.seed}
        configured["targets"] = plan.jobs.targets(name)[source]
        roles = member_roles(plan.evaluations.of_members(model, name, source))
        yield Product(plan.evaluations.of(model, name, source), code, roles, configured)


def _intervention(plan: Plan, name: str) -> dict[str, Any]:
    return {"intervention": plan.methods.specs[name], "parameters": plan.methods.parameters(name)}


def _splits(plan: Plan, sources: Iterable[str], targets: Iterable[str]) -> dict[str, Path]:
    """Files of training and test splits, by their roles."""
    train = [plan.data.file(source, "train") for source in sources]
    return data_roles([*train, *(plan.data.file(target, "test") for target in targets)])
