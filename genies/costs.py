"""What a run will cost in tokens, GPU-hours and disk, from its configuration: the verb ``estimate``.

Tokens are counted as ``tokenize`` and ``extract`` would make them, and disk by the formulas that they are stored by.
Time is arithmetic over an assumed device. Nothing is written, and no model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.activations.counts import Pieces, SplitCounts, Trees, count_splits
from genies.activations.estimate import ROOM, free_bytes
from genies.activations.extraction import Settings, store_digest, stored_shapes
from genies.activations.sketch import PUBLISHED_SHAPES, Sketch, published_config, read_config, trained_weights
from genies.activations.stages import settled
from genies.activations.store import is_complete, store_bytes
from genies.activations.tokens import tokens_bytes
from genies.config import Config
from genies.data.texts import Split
from genies.demo.place import distribution_names
from genies.errors import ConfigError, DataError, ModelError
from genies.files import read_json
from genies.interventions.registry import make
from genies.models import context_of, find_here, hashes_file, load_tokenizer, tokenizer_digest
from genies.plan import Plan

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from genies.tuning.base import TextIntervention

DEVICE = "NVIDIA A100"
PEAK_RATES = {"bfloat16": 312e12, "float32": 19.5e12}
"""Floating-point operations per second of ``DEVICE`` by type, by its data sheet: dense, without TF32."""
UTILISATION = 0.4
"""Share of the peak that is assumed to be reached."""
EXTRACTION = "extraction"
"""Name of the part that reads every view of every text once."""
MAKE_IT = "let the workflow make it, with the same --configfile and --config: snakemake"


@dataclass(frozen=True)
class Rate:
    """The device that is assumed.

    Attributes:
        peak: floating-point operations per second; None for those of ``PEAK_RATES``.
        utilisation: share of it that is reached.
    """

    peak: float | None = None
    utilisation: float = UTILISATION

    def hours(self, operations: float, dtype: str) -> float:
        """Hours for so many operations on numbers of a type."""
        return operations / ((self.peak or PEAK_RATES[dtype]) * self.utilisation) / 3600

    def __str__(self) -> str:
        if self.peak:
            return f"a device of {self.peak / 1e12:g} TFLOP/s"
        rates = " or ".join(f"{rate / 1e12:g} ({dtype})" for dtype, rate in PEAK_RATES.items())
        return f"one {DEVICE} of {rates} TFLOP/s"


@dataclass(frozen=True)
class Part:
    """What one part of a run passes through the model.

    Attributes:
        name: ``EXTRACTION``, or the intervention.
        tokens: distinct tokens, those of trainings once for each time that a step reads them.
        operations: floating-point operations.
        hours: of the assumed device.
    """

    name: str
    tokens: float
    operations: float
    hours: float


@dataclass(frozen=True)
class ModelCosts:
    """What a run costs on one model.

    Attributes:
        name: the model's.
        parameters: its weights.
        tokenizer: what tokens were counted with, in words.
        splits: what is read.
        parts: extraction and the interventions that read texts.
        disk: bytes by what is kept: ``tokens``, ``activations``, ``fits``.
        stored: bytes of the activations that are in the cache already.
    """

    name: str
    parameters: int
    tokenizer: str
    splits: list[SplitCounts]
    parts: list[Part]
    disk: dict[str, int]
    stored: int


@dataclass(frozen=True)
class Costs:
    """What a run costs.

    Attributes:
        run: its name.
        models: the costs of each.
        rate: the device that is assumed.
        left_out: what is not counted, in words.
        cache: the cache folder.
        free: bytes that are free on its disk.
    """

    run: str
    models: list[ModelCosts]
    rate: Rate
    left_out: list[str]
    cache: Path
    free: int

    @property
    def needed(self) -> int:
        """Bytes that all models take together beyond what is in the cache."""
        return sum(sum(model.disk.values()) - model.stored for model in self.models)


def estimate(config: Config, shapes: Sequence[str], tokenizer: Path | None, rate: Rate) -> Costs:
    """Estimate a run.

    Args:
        config: its configuration.
        shapes: names in ``PUBLISHED_SHAPES`` that take the place of the configured models.
        tokenizer: folder of a tokenizer for models that have none here.
        rate: the device that is assumed.

    Raises:
        ConfigError, DataError, ModelError: the configuration names what does not exist or is not here yet.
    """
    if shapes:
        config = config.model_copy(update={"models": tuple(shapes), "model": None})
    plan = Plan(config)
    _check_files(plan)
    models = [_Planned.of(plan, name, bool(shapes), tokenizer) for name in plan.models]
    counted = _count(plan, models)
    return Costs(
        run=config.run,
        models=[_model_costs(plan, model, splits, rate) for model, splits in zip(models, counted, strict=True)],
        rate=rate,
        left_out=_left_out(plan),
        cache=plan.cache,
        free=free_bytes(plan.cache),
    )


def _check_files(plan: Plan) -> None:
    """Raise DataError where a file is missing that the workflow would make."""
    for file in plan.distribution_files():
        name = file.parent.name
        if not file.is_file() and name not in plan.own_distributions:
            made = "demo_data" if name in distribution_names() else "unpack"
            rule = "mixture" if name in plan.config.mixtures else made
            raise DataError(f"{file}: not there yet; {MAKE_IT} --cores 1 --until {rule}")


@dataclass(frozen=True)
class _Planned:
    """A model as far as it is here."""

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase | Pieces
    tokenizer_source: str
    tokenizer_digest: str | None
    manifest: Mapping[str, Any] | None

    @classmethod
    def of(cls, plan: Plan, name: str, published: bool, given: Path | None) -> _Planned:
        identifier = plan.models[name]
        folder = None if published else _folder(plan, name)
        tokenizer, source, digest = _tokenizer(folder, given)
        manifest = plan.results / "models" / f"{name}.json"
        return cls(
            name=name,
            config=published_config(identifier) if published else read_config(folder),
            tokenizer=tokenizer,
            tokenizer_source=source,
            tokenizer_digest=digest,
            manifest=read_json(manifest) if manifest.is_file() and not published else None,
        )

    @property
    def context(self) -> int | None:
        return context_of(self.config.to_dict())


def _folder(plan: Plan, name: str) -> Path:
    """The model's folder, or its GGUF file where that is not converted yet."""
    identifier = plan.models[name]
    if Path(identifier) == plan.demo_model and not plan.demo_model.exists():
        raise ModelError(f"{identifier}: not there yet; {MAKE_IT} --cores 1 --until demo_model")
    folder = find_here(identifier, plan.revision(name), hashes_file(plan.cache))
    if folder is None:
        raise ModelError(
            f"{identifier}: not in the hub's cache; download it first (snakemake --cores 1 --until model), or name a "
            f"shape (--shape {' '.join(PUBLISHED_SHAPES)})"
        )
    return folder


def _tokenizer(folder: Path | None, given: Path | None) -> tuple[PreTrainedTokenizerBase | Pieces, str, str | None]:
    """A tokenizer, what it is in words, and its digest: the model's, else the one given, else ``Pieces``."""
    if folder is not None and (digest := tokenizer_digest(folder)):
        return load_tokenizer(folder), "its own", digest
    if given is not None:
        if not (digest := tokenizer_digest(given)):
            raise ConfigError(f"{given}: no tokenizer; give a folder as save_pretrained writes it")
        return load_tokenizer(given), given.name, digest
    return Pieces(), f"none: {Pieces.name_or_path}", None


def _count(plan: Plan, models: Sequence[_Planned]) -> list[list[SplitCounts]]:
    """Counts for each model; those with the same tokenizer share them where no context is too short."""
    known: dict[tuple[str | None, int | None], list[SplitCounts]] = {}
    for model in sorted(models, key=lambda model: model.context or float("inf")):
        shared = [
            splits
            for (digest, _), splits in known.items()
            if digest == model.tokenizer_digest and not any(split.changed for split in splits)
        ]
        known[model.tokenizer_digest, model.context] = shared[0] if shared else count_splits(
            model.tokenizer, model.tokenizer_digest, model.context, plan.split_files(), plan.views, plan.reading,
            plan.cache, f"{model.name}: count",
        )  # fmt: skip
    return [known[model.tokenizer_digest, model.context] for model in models]


def _model_costs(plan: Plan, model: _Planned, splits: list[SplitCounts], rate: Rate) -> ModelCosts:
    settings = plan.settings
    sketch = Sketch.of(model.config, settings.layers, settings.heads)
    stores = {
        (split.distribution, split.split, view): store_bytes(
            stored_shapes(sketch.shape, view), settings.dtype, split.texts
        )
        for split in splits
        for view in split.extracted
    }
    return ModelCosts(
        name=model.name,
        parameters=sketch.parameters,
        tokenizer=model.tokenizer_source,
        splits=splits,
        parts=[
            _extraction(sketch, splits, settings.dtype, rate),
            *(_reading_texts(plan, name, sketch, splits, rate) for name in _counted_texts(plan)),
        ],
        disk={
            "tokens": sum(tokens_bytes(count, split.texts) for split in splits for count in split.tokens.values()),
            "activations": sum(stores.values()),
            "fits": _fits_bytes(plan, model, sketch),
        },
        stored=sum(stores[store] for store in _complete(plan, model, settings, splits)),
    )


def _extraction(sketch: Sketch, splits: Sequence[SplitCounts], dtype: str, rate: Rate) -> Part:
    trees = sum((split.trees for split in splits), Trees())
    scored = sum(split.scored for split in splits if "plain" in split.extracted)
    needed = operations(sketch, trees) + 2 * sketch.head_weights * scored
    return Part(EXTRACTION, trees.tokens, needed, rate.hours(needed, dtype))


def operations(sketch: Sketch, trees: Trees, weights: int = 1, attention: int = 1) -> float:
    """Floating-point operations of passes over trees.

    A token is multiplied with every weight of the blocks (two operations each), and attends to all of its tree (four
    for each number of the heads' width). ``weights`` and ``attention`` say how often, backward passes counted.
    """
    return 2 * sketch.block_weights * trees.tokens * weights + 4 * sketch.attention_width * trees.squares * attention


def _reading_texts(plan: Plan, name: str, sketch: Sketch, splits: Sequence[SplitCounts], rate: Rate) -> Part:
    """What an intervention passes that reads texts: by those of its parameters that are known here."""
    kind = make(plan.interventions[name], plan.parameters(name))
    given = kind.get_params()
    shots, virtual = given.get("shots", 0), given.get("virtual_tokens", 0)
    pairs = given.get("steps", 0) * given.get("pairs_per_step", 0)
    found = {(split.distribution, split.split): split for split in splits}
    trained, tested, scored = Trees(), Trees(), 0
    for source in plan.evaluated_sources(name):
        train = found[source, "train"]
        trained += _closed(train, virtual).times(pairs / train.plain.count)
        before = shots * train.tokens["plain"] / train.texts
        for target in plan.targets[source]:
            test = found[target, "test"]
            tested += test.plain.enlarged(before) if shots else _closed(test, virtual)
            scored += test.scored if shots else 0
    # Weights that are frozen need no gradient of their own; attention, which has no weights, takes twice as much.
    weights = 3 if pairs and _adapter(kind) is None else 2
    needed = operations(sketch, trained, weights, 3) + operations(sketch, tested) + 2 * sketch.head_weights * scored
    dtype = "float32" if kind.dtype == "float32" else "bfloat16"
    return Part(name, trained.tokens + tested.tokens, needed, rate.hours(needed, dtype))


def _closed(split: SplitCounts, before: float) -> Trees:
    """Trees of a split's texts with EOS after each, and so many tokens before them."""
    return split.plain.enlarged(before + split.texts / split.plain.count)


def _adapter(kind: TextIntervention) -> Any | None:
    return kind.adapter() if hasattr(kind, "adapter") else None


def _complete(
    plan: Plan, model: _Planned, settings: Settings, splits: Sequence[SplitCounts]
) -> list[tuple[str, Split, str]]:
    """Stores (distribution, split, view) that are in the cache; known where the run has the model's manifest."""
    if model.manifest is None:
        return []
    settings = settled(settings, model.manifest, plan.config.extraction.device)
    root = plan.cache / "activations"
    return [
        (split.distribution, split.split, view)
        for split in splits
        for view in split.extracted
        if view in split.digests and is_complete(root, store_digest(model.manifest, split.digests[view], settings)[0])
    ]


def _fits_bytes(plan: Plan, model: _Planned, sketch: Sketch) -> int:
    """Bytes of the fits: what trainings learn, exactly (float32), and of probes at most (float64 vectors)."""
    total = 0
    for name in plan.interventions:
        kind = make(plan.interventions[name], plan.parameters(name))
        sources = len(plan.evaluated_sources(name))
        if hasattr(kind, "adapter"):
            total += 4 * trained_weights(model.config, kind.adapter()) * sources
        elif kind.fit_views:
            total += 8 * kind.get_params().get("kept", 2) * sketch.shape.hidden * sources
    return total


def _counted_texts(plan: Plan) -> list[str]:
    """Interventions that read texts with the run's own model."""
    return [name for name in plan.text_interventions if name not in _other_models(plan)]


def _other_models(plan: Plan) -> list[str]:
    kinds = {name: make(plan.interventions[name], plan.parameters(name)) for name in plan.text_interventions}
    return [name for name, kind in kinds.items() if kind.other_models(plan.parameters(name))]


def _left_out(plan: Plan) -> list[str]:
    left_out = [f"{name}, which reads a model of its own" for name in _other_models(plan)]
    left_out += [f"the plug-in {name}" for name in plan.plugins]
    return [*left_out, *(["the sweep"] if plan.config.sweep else [])]


def render(costs: Costs) -> str:
    """The costs in Markdown: a table with a column for each model, what is assumed, and whether the disk suffices."""
    models = costs.models
    rows = {
        "weights": [f"{model.parameters / 1e9:.3g} · 10⁹" for model in models],
        "tokenizer": [model.tokenizer for model in models],
        **_text_rows(models),
        **_time_rows(models),
        **{f"disk: {kind}": [_gib(model.disk[kind]) for model in models] for kind in ("tokens", "activations", "fits")},
        "disk in all": [_gib(sum(model.disk.values())) for model in models],
    }
    if any(model.stored for model in models):
        rows["of it in the cache already"] = [_gib(model.stored) for model in models]
    lines = [
        f"| {costs.run} | {' | '.join(model.name for model in models)} |",
        f"|---|{'---:|' * len(models)}",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
        "",
        *_assumptions(costs),
        "",
        _verdict(costs),
    ]
    return "\n".join(lines)


def _text_rows(models: Sequence[ModelCosts]) -> dict[str, list[str]]:
    def total(count: Callable[[SplitCounts], float]) -> list[str]:
        return [f"{sum(map(count, model.splits)):,.0f}" for model in models]

    return {
        "distributions": [str(len({split.distribution for split in model.splits})) for model in models],
        "examples": total(lambda split: split.examples),
        "examples left out (context)": total(lambda split: split.left_out),
        "texts (a response under a view)": total(lambda split: split.texts * len(split.extracted)),
        "tokens as strings": total(lambda split: sum(split.tokens[view] for view in split.extracted)),
        "distinct tokens in trees": total(lambda split: split.trees.tokens),
    }


def _time_rows(models: Sequence[ModelCosts]) -> dict[str, list[str]]:
    rows = {}
    for number, part in enumerate(models[0].parts):
        of_all = [model.parts[number] for model in models]
        if part.name != EXTRACTION:  # its tokens are those in trees, told above
            rows[f"{part.name}: distinct tokens"] = [f"{one.tokens:,.0f}" for one in of_all]
        rows[f"{part.name}: FLOP"] = [f"{one.operations:.2e}".replace("e+", "e") for one in of_all]
        rows[f"{part.name}: GPU-hours"] = [_hours(one.hours) for one in of_all]
    return {**rows, "GPU-hours in all": [_hours(sum(part.hours for part in model.parts)) for model in models]}


def _assumptions(costs: Costs) -> list[str]:
    lines = [
        f"GPU-hours are arithmetic, not a measurement: {costs.rate}, of which {100 * costs.rate.utilisation:g} % are "
        "assumed to be reached. FLOP are 2 for each token and weight of the blocks (trainings: 4, or 6 where all "
        "weights are trained), and attention within each tree. Loading, padding, self-tests and fits of probes are "
        "not in them.",
    ]
    if any(model.tokenizer.startswith("none") for model in costs.models):
        lines.append("Without a tokenizer the counts of tokens are estimates; --tokenizer names one.")
    if costs.left_out:
        lines.append(f"Not counted: {'; '.join(costs.left_out)}.")
    return lines


def _verdict(costs: Costs) -> str:
    stored = sum(model.stored for model in costs.models)
    besides = f" besides {_gib(stored)} that are there already" if stored else ""
    all_models = "all models together take" if len(costs.models) > 1 else "the run takes"
    told = f"{costs.cache}: {all_models} {_gib(costs.needed)}{besides}, and {_gib(costs.free)} are free"
    return f"{told}. It does not fit: {ROOM}." if costs.needed > costs.free else f"{told}. It fits."


def _gib(size: float) -> str:
    return f"{size / 2**30:,.3g} GiB" if size < 100 * 2**30 else f"{size / 2**30:,.0f} GiB"


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.0f}"
