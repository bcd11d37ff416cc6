"""The configuration: one typed schema with its defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
    model_validator,
)

from genies.data.prompts import PromptFormat
from genies.interventions.registry import name_of
from genies.models.find import model_name

# JSON schemas repeat these patterns. Python's `$` would let a line break at the end pass.
END = r"(?![\s\S])"
PLAIN_NAME = rf"^\w[\w.-]*{END}"
DEVICE = rf"^[a-z]+(:[0-9]+)?{END}"
PLACE = rf"^[^{{}}\0]*{END}"
IMAGE = rf"^[\w.~/][\w.~/@%+=:,-]*{END}"


def _plain_name(name: str) -> str:
    if not re.match(PLAIN_NAME, name):
        raise ValueError(
            f"{name!r} is not a plain name: letters, digits, '.', '_' and '-' only, '.' and '-' not in front"
        )
    return name


def _device(name: str) -> str:
    if not re.match(DEVICE, name):
        raise ValueError(f"{name!r} is no device: write auto, balanced, cpu, cuda or cuda:1")
    return name


def _place(path: str) -> str:
    if not re.match(PLACE, path):
        raise ValueError(f"{path!r} has a brace, which Snakemake takes for a wildcard, or a NUL; take another name")
    return path


def _image(name: str) -> str:
    if not re.match(IMAGE, name):
        raise ValueError(
            f"{name!r} is no image: Snakemake gives it to a shell as it is, so write letters, digits and .~/@%+=:,_- "
            "only, none of @%+=:,- in front"
        )
    return name


def _number(value: Any) -> Any:
    """Neither true nor "7" is a number, to people or to JSON schemas; pydantic would take both."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number")
    return value


PlainName = Annotated[str, AfterValidator(_plain_name), WithJsonSchema({"type": "string", "pattern": PLAIN_NAME})]
Place = Annotated[str, AfterValidator(_place), WithJsonSchema({"type": "string", "pattern": PLACE})]
Image = Annotated[str, AfterValidator(_image), WithJsonSchema({"type": "string", "pattern": IMAGE})]
Device = Annotated[str, AfterValidator(_device), WithJsonSchema({"type": "string", "pattern": DEVICE})]
Flag = Annotated[bool, Strict()]
Real = Annotated[float, BeforeValidator(_number)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_number)]
PositiveInt = Annotated[int, Field(ge=1, lt=2**63), BeforeValidator(_number)]


class Section(BaseModel):
    """A block of the configuration; nothing unknown passes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Extraction(Section):
    """How activations are extracted."""

    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type of stored features and of the arithmetic; a CPU without native bfloat16 computes in float32 "
        "and rounds what it stores.",
    )
    attention: Literal["auto", "sdpa", "eager"] = Field(
        "auto", description="Attention implementation of transformers; auto takes sdpa where the architecture has it."
    )
    quantization: Literal["int8", "nf4"] | None = Field(
        None, description="Weights in 8 or 4 bits (CUDA, with the extra `quantization`)."
    )
    layers: Literal["all"] | tuple[NonNegativeInt, ...] = Field(
        "all",
        description="Layers to store: 0 is the embedding, the last is after the final norm; also the heads of the "
        "blocks that begin at them.",
    )
    heads: Literal["all", "none"] | tuple[NonNegativeInt, ...] = Field(
        "all", description="Heads of each layer to store."
    )
    device: Device = Field(
        "auto",
        description="torch device; auto takes the first CUDA device, else the CPU; balanced spreads a model over all "
        "(trainings take one).",
    )
    batch_tokens: PositiveInt | Literal["auto"] = Field(
        "auto", description="Tokens of one forward pass, padding counted; auto asks the device's free memory."
    )
    jobs_per_model: PositiveInt = Field(
        1, le=10_000, description="Jobs among which the distributions of a model are shared; each loads the model once."
    )


class Limit(Section):
    """How many examples of each split are read."""

    train: PositiveInt | None = Field(None, description="At most so many training examples of each distribution.")
    test: PositiveInt | None = Field(None, description="At most so many test examples of each.")
    distributions: dict[str, dict[Literal["train", "test"], PositiveInt | None]] = Field(
        {}, description="Other limits for single distributions: `{name: {train: 100, test: null}}`; null reads all."
    )


class LogGrid(Section):
    """Values evenly spaced on a logarithmic scale."""

    low: Real = Field(gt=0, description="Smallest value.")
    high: Real = Field(gt=0, description="Largest value.")
    count: PositiveInt = Field(le=1_000, description="How many values.")


class Sweep(Section):
    """A hyper-parameter sweep on every source's own training split."""

    interventions: dict[str, dict[str, tuple[Any, ...] | LogGrid]] = Field(
        description="Values to try by intervention and parameter: a list, or `{low, high, count}` on a log grid."
    )
    train: PositiveInt = Field(400, description="Examples of each source to train on.")
    held_out: PositiveInt = Field(200, description="Other examples of it to test on.")


class Mixture(Section):
    """A mixed source."""

    source: PlainName = Field(description="Distribution whose training examples are kept but for a share.")
    other: PlainName = Field(description="Distribution whose training examples come in.")
    percent: Real = Field(gt=0, le=100, description="Share of the training examples that is replaced.")


class Folders(Section):
    """Where things are kept; a scratch disk may be named here."""

    resources: Place = Field("resources", description="Downloaded and made data and models.")
    cache: Place = Field("cache", description="Tokens, activations and fitted interventions, by digest.")
    results: Place = Field("results", description="Tables, figures and reports, by run.")


class Config(Section):
    """Everything a run can be told."""

    run: PlainName = Field(description="Name of the run; its results lie in results/<run>.")
    models: tuple[Place, ...] = Field(
        (),
        description="Causal language models: local folders (safetensors and tokenizer), `.gguf` files, or hub ids; "
        "`owner/name/file.gguf` is a file on the hub.",
    )
    model: Place | None = Field(None, description="One model in place of `models`; for the command line.")
    revisions: dict[str, str] = Field(
        {},
        description="Hub revision (branch, tag or commit) by hub id; for a `.gguf` file, by its own or its "
        "repository's. What the hub's cache holds is taken from there, so a newer commit of a branch is taken only "
        "when it is named.",
    )
    data_archive: Place | None = Field(None, description="Path or URL of an archive of the GENIES distributions.")
    distributions: tuple[Place, ...] = Field((), description="Folders of own distributions; the last part is the name.")
    shifts: tuple[Place, ...] = Field(
        min_length=1, description="Shift lists, joined in this order: YAML files, or plain names."
    )
    mixtures: dict[PlainName, Mixture] = Field(
        {},
        description="Mixed sources by name, each with `source`, `other` and `percent` of training examples replaced.",
    )
    limit: Limit = Field(
        default_factory=Limit,
        description="At most how many examples of each split are read, drawn by `seed` and their texts; see below.",
    )
    framing: Literal["response", "truthfulness"] = Field(
        "response",
        description="What is judged: the `response`, or the `truthfulness` of a claim about it (Yes or No). Claims are "
        "about the best response of each example and about one worse one; under the protocol `paper` about every one.",
    )
    prompt_format: PromptFormat = Field(
        "published", description="Prompts as `published`, or as the user's turn in the tokenizer's `chat` template."
    )
    overlong: Literal["leave_out", "shorten"] = Field(
        "leave_out", description="Examples over the model's context: left out, or their prompts shortened in front."
    )
    interventions: tuple[Place, ...] = Field(
        ("random", "zero_shot", "mms", "lat_stim_1", "lat_pca"),
        min_length=1,
        description="Interventions by name, or paths of Python files that define one.",
    )
    intervention_parameters: dict[str, dict[str, Any]] = Field(
        {}, description="Parameters by intervention, as its class takes them."
    )
    plugins: dict[PlainName, Place] = Field(
        {}, description="Further interventions by name: folders with train.py and eval.py after the published contract."
    )
    capability_interventions: Literal["untrained"] | tuple[str, ...] = Field(
        "untrained",
        description="Interventions of which the best on a target reference gives the capability there: a list, or "
        "`untrained` for all of the run that are fitted on features, without a training of their own.",
    )
    matrix: Flag = Field(
        False, description="Whether probes are tested on every target of the run, not on those of their shifts alone."
    )
    protocol: Literal["paper", "corrected"] = Field(
        "corrected", description="Methods as published, or with their flaws corrected (see methods)."
    )
    seed: NonNegativeInt = Field(0, description="Seed of everything drawn: pairs, order, fits.")
    further_seeds: tuple[NonNegativeInt, ...] = Field(
        (), description="Seeds to fit and train with once more each, on the same pairs; the report shows the spread."
    )
    extraction: Extraction = Field(default_factory=Extraction, description="How activations are extracted.")
    trainings_per_job: PositiveInt = Field(
        8,
        description="How many sources one job fits a trained intervention on, at most, one after the other. The job "
        "loads the model once, so more of them mean fewer loads, and fewer jobs for several GPUs or nodes to share. No "
        "result depends on it.",
    )
    sweep: Sweep | None = Field(None, description="Hyper-parameter sweep of trained interventions; see below.")
    beside: tuple[Place, ...] = Field(
        (),
        description="Folders of other runs' results (own ones, or of `genies published`) to show on the same page.",
    )
    folders: Folders = Field(default_factory=Folders, description="Where things are kept.")
    container: Image = Field(
        "genies.sif",
        description="Image (file or URI) in which jobs run with `--sdm apptainer`; see docs/deployment.md.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.chosen_models:
            raise ValueError("models: no model is named; give `models` or `model`")
        names = [model_name(m) for m in self.chosen_models]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"models: two models are called {min(twice)!r}; the last part of each must differ")
        for name in (*names, *map(name_of, self.interventions)):
            _plain_name(name)
        seeds = [self.seed, *self.further_seeds]
        if len(set(seeds)) < len(seeds):
            raise ValueError("further_seeds: a seed stands twice, or is the run's own `seed`")
        return self

    @property
    def chosen_models(self) -> tuple[str, ...]:
        """The models of the run: `model` alone where it is given."""
        return (self.model,) if self.model else self.models
