"""What a run will cost in tokens, hours and disk, from its configuration.

Tokens are counted as ``tokenize`` and ``extract`` would make them, on a sample of each split, and disk by the formulas
that stores are written by. Nothing is written, and no model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from genies.analyses import ANALYSES
from genies.config.sections import Config
from genies.costs import parts
from genies.costs.background import Background
from genies.costs.costs import Costs, ModelCosts, Part
from genies.costs.counts import Sampling, count_splits
from genies.costs.data import MAKE_IT, read_splits
from genies.costs.disk import write_rate
from genies.costs.extraction import free_bytes
from genies.costs.rates import Here, Rate
from genies.costs.sampling import value_of
from genies.costs.sketch import PUBLISHED_SHAPES, Sketch, published_config, read_config, trained_weights
from genies.costs.trees import Pieces, SplitCounts, Trees
from genies.data.options import Split
from genies.engine.arithmetic import resolve_device
from genies.errors import ConfigError, ModelError
from genies.files import read_json
from genies.interventions.registry import make
from genies.models import trial
from genies.models.adapters import is_adapter
from genies.models.describe import find_here, found
from genies.models.files import hashes_file, tokenizer_digest
from genies.models.gguf import is_gguf, try_metadata
from genies.models.load import context_of, load_tokenizer, try_tokenizer
from genies.plan import Plan
from genies.plan.data import demo_files, published_files
from genies.store.blocks import store_bytes
from genies.store.held import Held
from genies.store.parts import Parts
from genies.store.requests import LazyTokens, Request
from genies.store.settled import look_up, settled
from genies.store.tokens import tokens_bytes, tokens_path

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


CONVERTED_BYTES = 4
"""Of a weight in the conversion of a GGUF file, which is in float32."""
MODEL_JOBS = 2
"""Further jobs of a model that load no weights: model and tokenize."""
RUN_JOBS = 5
"""Jobs of every run, however many models it has: overlap, metrics, details, provenance and report."""


def estimate(
    config: Config, shapes: Sequence[str], tokenizer: Path | None, rate: Rate, start: float = 0, exact: bool = False
) -> Costs:
    """Estimate a run.

    Args:
        config: its configuration.
        shapes: names in ``PUBLISHED_SHAPES`` that take the place of the configured models.
        tokenizer: folder of a tokenizer for models that have none here.
        rate: the device to give hours of, as well as of this machine.
        start: seconds that a job of this machine takes to start.
        exact: whether every text is tokenized, and not a sample.

    Raises:
        ConfigError, DataError, ModelError: the configuration names what does not exist or is not here yet.
    """
    if shapes:
        config = config.model_copy(update={"models": tuple(shapes), "model": None})
    plan = Plan(config)
    models = [_Planned.of(plan, name, bool(shapes), tokenizer) for name in plan.models]
    sampling = Sampling() if exact else Sampling.over(len(plan.data.splits), config.seed)
    counting = Background(lambda: _count(plan, models, sampling))
    # Meanwhile: to sketch a model, transformers imports its code.
    sketched = [_Sketched.of(plan, model) for model in models]
    here = Here.of(resolve_device(config.extraction.device), start)
    # Rates are measured when the counting is over.
    counted = counting.result()
    run_jobs = _run_jobs(plan)
    return Costs(
        run=config.run,
        models=[_model_costs(plan, *of_model, rate, here) for of_model in zip(models, sketched, counted, strict=True)],
        run_jobs=run_jobs,
        run_hours_here=here.job_hours(run_jobs, 0, True),
        rate=rate,
        here=here,
        left_out=_left_out(plan),
        cache=plan.files.cache,
        free=free_bytes(plan.files.cache),
        write_rate=write_rate(plan.files.cache),
    )


@dataclass(frozen=True)
class _Planned:
    """A model as far as it is here."""

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    tokenizer_source: str
    tokenizer_digest: str | None
    manifest: Mapping[str, Any] | None
    is_converted: bool
    is_there: bool

    @classmethod
    def of(cls, plan: Plan, name: str, published: bool, given: Path | None) -> _Planned:
        base = plan.models.tuned_from(name) if name in plan.models.tuned else name
        identifier = plan.models.identifiers[base]
        folder = None if published else _folder(plan, base)
        tokenizer, source, digest = _tokenizer(folder, given, plan.files.cache)
        manifest = plan.files.results / "models" / f"{name}.json"
        return cls(
            name=name,
            config=published_config(identifier) if folder is None else read_config(folder),
            tokenizer=tokenizer,
            tokenizer_source=source,
            tokenizer_digest=digest,
            manifest=read_json(manifest) if manifest.is_file() and not published else None,
            is_converted=not published and _is_converted(plan, name),
            is_there=is_gguf(identifier) and name == base and (folder is None or not is_gguf(folder)),
        )

    @property
    def context(self) -> int | None:
        return context_of(self.config.to_dict())


def _is_converted(plan: Plan, name: str) -> bool:
    """Whether a model is read from a conversion in the cache: a GGUF file's, or an adapter's in its base."""
    if name in plan.models.tuned:
        return True
    identifier = plan.models.identifiers[name]
    folder = None if is_gguf(identifier) else found(identifier, plan.models.revision(name))
    return is_gguf(identifier) or (folder is not None and is_adapter(folder))


def _folder(plan: Plan, name: str) -> Path:
    """The model's folder, or its GGUF file where that is not converted yet."""
    identifier = plan.models.identifiers[name]
    if Path(identifier) == plan.models.demo and not plan.models.demo.exists():
        raise ModelError(f"{identifier}: not there yet; {MAKE_IT} --cores 1 --until demo_model")
    remembered = hashes_file(plan.files.cache)
    folder = find_here(identifier, plan.models.revision(name), remembered, *plan.models.base(name))
    if folder is None:
        raise ModelError(
            f"{identifier}: not in the hub's cache; download it first (snakemake --cores 1 --until model), or name a "
            f"shape (--shape {' '.join(PUBLISHED_SHAPES)})"
        )
    return folder


def _tokenizer(folder: Path | None, given: Path | None, cache: Path) -> tuple[PreTrainedTokenizerBase, str, str | None]:
    """A tokenizer, what it is in words, and its digest: the model's, else the one given, else ``Pieces``."""
    if folder is not None and (digest := tokenizer_digest(folder)):
        return _tried(folder, cache), "its own", digest
    if given is not None:
        if not (digest := tokenizer_digest(given)):
            raise ConfigError(f"{given}: no tokenizer; give a folder as save_pretrained writes it")
        return _tried(given, cache), given.name, digest
    # It has what counting asks of a tokenizer, and nothing else.
    return cast("PreTrainedTokenizerBase", Pieces()), f"none: {Pieces.name_or_path}", None


def _tried(folder: Path, cache: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or a GGUF file, after a trial; unlike the rule ``model``, this keeps nothing."""
    if not is_gguf(folder):
        try_tokenizer(folder, hashes_file(cache), keep=False)
        return load_tokenizer(folder)
    try_metadata(folder)
    tokenizer = load_tokenizer(folder)
    trial.limited(lambda: trial.use(tokenizer), f"{folder}: its tokenizer or chat template")
    return tokenizer


def _count(plan: Plan, models: Sequence[_Planned], sampling: Sampling) -> list[list[SplitCounts]]:
    """Counts for each model; those with the same tokenizer share them where no context is too short."""
    known: dict[tuple[str | None, int | None], list[SplitCounts]] = {}
    for model in sorted(models, key=lambda model: model.context or float("inf")):
        shared = [
            splits
            for (digest, _), splits in known.items()
            if digest == model.tokenizer_digest and not any(split.changed for split in splits)
        ]
        # Stores are looked for by the names of their tokens, where a model's manifest says what else names them.
        digest = model.tokenizer_digest if any(other.manifest for other in models) else None
        known[model.tokenizer_digest, model.context] = shared[0] if shared else count_splits(
            model.tokenizer, digest, model.context, read_splits(plan), len(plan.data.splits), plan.stored,
            plan.reading, plan.files.cache, f"{model.name}: count", sampling,
        )  # fmt: skip
    return [known[model.tokenizer_digest, model.context] for model in models]


@dataclass(frozen=True)
class _Sketched:
    """What a model's configuration tells: its sketch, and how many bytes the fits of its interventions have."""

    sketch: Sketch
    fits: int

    @classmethod
    def of(cls, plan: Plan, model: _Planned) -> _Sketched:
        options = plan.config.extraction
        sketch = Sketch.of(model.config, options.layer_numbers, options.head_numbers)
        return cls(sketch, _fits_bytes(plan, model, sketch))


def _model_costs(
    plan: Plan, model: _Planned, sketched: _Sketched, splits: list[SplitCounts], rate: Rate, here: Here
) -> ModelCosts:
    sketch, dtype = sketched.sketch, plan.config.extraction.dtype
    stores = {
        (split.distribution, split.split, view): store_bytes(
            Held.of(reads, sketch.shape, view).shapes(sketch.shape), dtype, split.texts
        )
        for split in splits
        for view, reads in plan.stored(split.distribution, split.split).items()
    }
    tokens = sum(tokens_bytes(value_of(count), split.texts) for split in splits for count in split.tokens.values())
    found = [
        parts.extraction(plan, sketch, splits, here),
        *parts.causal(plan, model.name, sketch, splits, here),
        *(_reading(plan, name, model, sketch, splits, here) for name in parts.counted_texts(plan)),
    ]
    conversion = {"model": CONVERTED_BYTES * sketch.parameters} if model.is_converted else {}
    present = [stores[store] for store in _complete(plan, model, splits)]
    other_jobs = _other_jobs(plan, model.name)
    return ModelCosts(
        name=model.name,
        parameters=sketch.parameters,
        tokenizer=model.tokenizer_source,
        splits=splits,
        parts=[parts.timed(part, sketch, rate, here) for part in found],
        other_jobs=other_jobs,
        other_hours_here=here.job_hours(other_jobs, 0, True),
        rates={part.dtype_here: here.rate(sketch.shape.hidden, part.dtype_here) for part in found},
        disk={
            **conversion,
            "tokens": round(tokens),
            "activations": sum(stores.values()),
            "fits": sketched.fits,
        },
        stored=sum(present) + (sum(conversion.values()) if model.is_there else 0),
    )


def _other_jobs(plan: Plan, model: str) -> int:
    """Jobs of a model that do not load it, those included that load another one."""
    methods, roles = plan.methods, plan.roles
    kinds = {
        "with_jobs": roles.with_jobs,
        "texts": methods.texts,
        "featureless": roles.featureless,
        "ensembles": methods.ensembles,
    }
    on = {kind: methods.on(model, names) for kind, names in kinds.items()}
    others = sum(len(plan.jobs.groups(name)) for name in parts.other_models(plan) if name in on["texts"])
    # What trainings made is put in its place by one job, gather; one makes all that reads no features.
    once = bool(on["texts"]) + bool(on["featureless"])
    analyses = [ANALYSES[name] for name in plan.files.analyses(model)]
    once += sum(len(plan.selection.sources) if one.by_source else 1 for one in analyses if not one.passes)
    return MODEL_JOBS + len(on["with_jobs"]) + len(on["ensembles"]) + others + once


def _reading(plan: Plan, name: str, model: _Planned, sketch: Sketch, splits: list[SplitCounts], here: Here) -> Part:
    """The part of an intervention that reads texts; nothing on a model that it does not read."""
    part = parts.reading(plan, name, sketch, splits, here)
    if plan.methods.on(model.name, [name]):
        return part
    return replace(part, tokens=Trees().tokens, reading=0, training=0, jobs=0, loads=0)


def _run_jobs(plan: Plan) -> int:
    """Jobs that a run has once: its last ones, and those that unpack, place, mix and merge what it reads."""
    needed = {*plan.data.files, *map(Path, plan.models.identifiers.values())}
    mixtures = set(plan.config.mixtures) & set(plan.selection.all)
    needed |= {file for name in mixtures for files in plan.data.mixture_parts(name).values() for file in files}
    unpacked = published_files(plan.data.resources) if plan.config.data_archive else []
    placed = (unpacked, demo_files(plan.data.resources), [plan.models.demo])
    return RUN_JOBS + len(plan.models.rewards) + len(mixtures) + sum(not needed.isdisjoint(files) for files in placed)


def _complete(plan: Plan, model: _Planned, splits: Sequence[SplitCounts]) -> list[tuple[str, Split, str]]:
    """Stores (distribution, split, view) that the cache has whole; known where the run has the model's manifest."""
    if model.manifest is None:
        return []
    chosen = settled(plan.config.extraction, model.manifest)
    parts = Parts(plan.files.cache / "activations")
    found: list[tuple[str, Split, str]] = []
    for split in splits:
        for view in split.extracted:
            path = tokens_path(plan.files.cache, split.digests.get(view, ""))
            if path.is_file():
                digests = {view: split.digests[view]}
                tokens = LazyTokens(plan.files.cache, digests)
                reads = plan.stored(split.distribution, split.split)
                request = Request(split.distribution, split.split, tokens, digests, reads)
                if not look_up(model.manifest, parts, chosen, request).lacks:
                    found.append((split.distribution, split.split, view))
    return found


def _fits_bytes(plan: Plan, model: _Planned, sketch: Sketch) -> int:
    """Bytes of the fits: what trainings learn, exactly (float32), and of probes at most (float64 vectors)."""
    total = 0
    for name in plan.methods.on(model.name, plan.methods.specs):
        kind = make(plan.methods.specs[name], plan.methods.parameters(name))
        sources = len(plan.jobs.sources(name))
        if hasattr(kind, "adapter"):
            total += 4 * trained_weights(model.config, kind.adapter()) * sources
        elif kind.fit_views:
            total += 8 * kind.get_params().get("kept", 2) * sketch.shape.hidden * sources
    return total


def _left_out(plan: Plan) -> list[str]:
    left_out = [f"{name}, which reads a model of its own" for name in parts.other_models(plan)]
    left_out += [f"the log-probabilities of {name}, a reference" for name in plan.models.references]
    left_out += [f"the plug-in {name}" for name in plan.methods.plugins]
    return [*left_out, *(["the sweep"] if plan.config.sweep else [])]
