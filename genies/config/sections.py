"""The configuration: one typed schema with its defaults. Unknown keys are refused.

Sections that stages take are plain classes of their own (``genies.data.options``, ``genies.engine.options``); the keys
of ``Reading`` stand at the top.
"""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, create_model, model_validator

from genies.data.options import Reading
from genies.data.wordings import MOST as MOST_WORDINGS
from genies.engine.options import Extraction
from genies.evaluation.ensembles import Combine
from genies.interventions.base import Saw
from genies.interventions.registry import name_of
from genies.models.find import model_name
from genies.options import END, Matching, NonNegativeInt, PositiveInt, Whole, a_number, options_of

PLAIN_NAME = Matching(
    rf"^\w[\w.-]*{END}", "is not a plain name: letters, digits, '.', '_' and '-' only, '.' and '-' not in front"
)
PlainName = Annotated[str, PLAIN_NAME]
Place = Annotated[
    str,
    Matching(rf"^[^{{}}\0]*{END}", "has a brace, which Snakemake takes for a wildcard, or a NUL; take another name"),
]
Image = Annotated[
    str,
    Matching(
        rf"^[\w.~/][\w.~/@%+=:,-]*{END}",
        "is no image: Snakemake gives it to a shell as it is, so write letters, digits and .~/@%+=:,_- only, none of "
        "@%+=:,- in front",
    ),
]
Flag = Annotated[bool, Strict()]
Real = Annotated[float, BeforeValidator(a_number)]


LEAST_PAIRS = 8
"""Training pairs that probes are fitted on at least: folds, and splits of these, need some prompts."""
MOST_PAIRS = 1_000_000
"""More than any split has: a number that is larger is a slip."""
FEWEST_PERMUTATIONS = 39
"""With fewer repeats, one more would lie beyond the lowest or the highest of them in over 5 % of cases."""
MOST_PERMUTATIONS = 10_000
"""All are computed at once; more would take more memory than their job asks for."""


class Section(BaseModel):
    """A block of the configuration; nothing unknown passes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LogGrid(Section):
    """Values evenly spaced on a logarithmic scale."""

    low: Real = Field(gt=0, description="Smallest value.")
    high: Real = Field(gt=0, description="Largest value.")
    count: Annotated[int, Whole(1, 1_000)] = Field(description="How many values.")


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


class LearningCurves(Section):
    """Fits of probes on fewer training pairs."""

    sizes: tuple[Annotated[int, Whole(LEAST_PAIRS, MOST_PAIRS)], ...] = Field(
        (10, 20, 40, 80, 160, 320),
        min_length=1,
        description="Numbers of training pairs; those that a source has no more of are left out, as are those that may "
        "hold fewer than 4 different prompts, and all pairs come last.",
    )
    draws: Annotated[int, Whole(2, 1_000)] = Field(5, description="How often pairs are drawn for each size.")


class FewLabels(Section):
    """Fits of probes on a source's training pairs and a few of the target's."""

    counts: tuple[Annotated[int, Whole(1, MOST_PAIRS)], ...] = Field(
        (1, 8, 16, 32, 64),
        min_length=1,
        description="Numbers of target pairs; those that three quarters of the target's training pairs, overlaps taken "
        "out, do not hold are left out.",
    )
    draws: Annotated[int, Whole(2, 1_000)] = Field(5, description="How often pairs are drawn for each number.")
    copies: Annotated[int, Whole(1, MOST_PAIRS)] = Field(
        8,
        description="How often each target pair is there, where each of the source's is there once; less often where "
        "the target's would outnumber them, but once at least.",
    )


class Causal(Section):
    """Passes in which directions are erased or added."""

    texts: Annotated[int, Whole(2, 200)] = Field(
        200, description="Test texts of each target that are passed, at most; a pair has two."
    )
    strengths: tuple[Annotated[Real, Field(gt=0, le=1_000)], ...] = Field(
        (1.0, 2.0, 4.0),
        min_length=1,
        description="How long an added direction is, in distances between the means of best and worse responses.",
    )
    draws: Annotated[int, Whole(19, 999)] = Field(
        19, description="Random directions that each is compared with. With 19 of them, no p-value is below 0.05."
    )


class TunedModel(Section):
    """A reward model that the run trains, as a model of its own."""

    intervention: str = Field(description="Intervention of the run that trains an adapter: `lora` or `prompt_tuning`.")
    source: PlainName = Field(description="Source whose fit it is.")
    model: str | None = Field(None, description="The run's model that is tuned, by name; its first if none is given.")
    interventions: tuple[str, ...] | None = Field(
        None,
        description="Interventions of the run that read it, of those that read features; all of them if none are "
        "given. An empty list: it serves as `model` of a `reward_model` alone.",
    )


class Ensemble(Section):
    """Several interventions that judge together."""

    members: tuple[str, ...] = Field(
        min_length=2,
        description="Interventions of the run, at least two; `mms@1` is the one that is fitted again with 1 of "
        "`further_seeds`.",
    )
    combine: Combine = Field(
        "mean",
        description="How the differences of a pair's scores, each divided by its root mean square on the source, are "
        "combined: their `mean`; their `minimum`, in favour of the response that all members prefer, and a tie where "
        "they differ; or `variance_penalised`, the mean less λ times their variance, and a tie below 0.",
    )
    penalty: Real = Field(0.5, ge=0, description="λ of `variance_penalised`.")


class Folders(Section):
    """Where things are kept; a scratch disk may be named here."""

    resources: Place = Field(default="resources", description="Downloaded and made data and models.")
    cache: Place = Field(default="cache", description="Tokens, activations and fitted interventions, by digest.")
    results: Place = Field(default="results", description="Tables, figures and reports, by run.")


class _Subjects(Section):
    """What a run is about."""

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
    bases: dict[str, Place] = Field(
        {},
        description="Base of an adapter (a folder, a `.gguf` file or a hub id) by the adapter's folder or hub id, "
        "where it is another than the adapter's configuration names; its hub revision goes under `revisions`.",
    )
    tuned_models: dict[PlainName, TunedModel] = Field(
        {},
        description="Further models by name: adapters that the run trains itself, merged into the model that they were "
        "trained on; see below.",
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


def _keys_of(section: type) -> dict[str, Any]:
    """The options of a section, as fields for a model of Pydantic."""
    types = get_type_hints(section, include_extras=True)
    keys = {}
    for one in options_of(section):
        default = (
            {"default": one.default} if one.default_factory is MISSING else {"default_factory": one.default_factory}
        )
        keys[one.name] = (types[one.name], Field(**default, description=one.metadata["description"]))
    return keys


if TYPE_CHECKING:
    # It is frozen, as Config is, by ``model_config``, which type checkers do not read.
    class _Read(_Subjects, Reading):  # type: ignore[misc]
        """What ``create_model`` makes, as type checkers read it."""

else:
    _Read = create_model("_Read", __base__=_Subjects, **_keys_of(Reading))


class Config(_Read):  # type: ignore[misc]
    """The configuration of a run."""

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
    saw: dict[PlainName, tuple[Saw, ...]] = Field(
        {},
        description="What plug-ins saw, by name: a list of `source labels`, `target texts`, `target labels`, "
        "`a judge`. Plug-ins that are not named here count as `unknown`; interventions declare it in their class. Only "
        "methods that saw the same are ranked together.",
    )
    ensembles: dict[PlainName, Ensemble] = Field(
        {}, description="Further interventions by name: several of the run that judge together; see below."
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
    further_seeds: tuple[NonNegativeInt, ...] = Field(
        (), description="Seeds to fit and train with once more each, on the same pairs; the report shows the spread."
    )
    permutations: Annotated[int, Whole(0, MOST_PERMUTATIONS)] = Field(
        0,
        description="How often each probe is fitted again with labels of training pairs flipped at random, for "
        "`nulls.csv`: which accuracies it would reach if labels said nothing. 199 is usual, "
        f"{FEWEST_PERMUTATIONS} are the fewest that have a middle 95 %, "
        f"{MOST_PERMUTATIONS:,} the most; 0 leaves it out.",
        json_schema_extra={"not": {"minimum": 1, "maximum": FEWEST_PERMUTATIONS - 1}},
    )
    learning_curves: LearningCurves | None = Field(
        None,
        description="Fits of every probe on fewer training pairs, for `learning_curves.csv`; `{}` for the defaults; "
        "see below.",
    )
    few_labels: FewLabels | None = Field(
        None,
        description="Fits of every probe with a few labelled pairs of the target, for `few_labels.csv`; `{}` for the "
        "defaults; see below.",
    )
    wordings: Annotated[int, Whole(0, MOST_WORDINGS)] = Field(
        0,
        description="How many further wordings of the questions in the views `yes`, `no` and `lat_template` are read, "
        f"{MOST_WORDINGS} at most, for `wordings.csv` and `wording_variance.csv`: what reads such a view is fitted and "
        "tested again under each. 5 shows how far accuracies depend on the words; 0 leaves it out.",
    )
    directions: Flag = Field(
        False,
        description="Whether the directions that sources and probes find in the residual stream are compared, layer by "
        "layer, and erased: is there one direction for all sources? Needs an intervention that reads every layer under "
        "the view `plain`, such as lat_stim_1.",
    )
    causal: Causal | None = Field(
        None,
        description="Passes in which the direction of a source is erased, or added, for `causal.csv`: does the model "
        "use it itself? `{}` for the defaults; see below. It needs what `directions` needs, and passes of its own.",
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
        if known := sorted(set(names) & set(self.tuned_models)):
            raise ValueError(f"tuned_models: {known[0]} is also the name of a model; give another name")
        own = [Path(folder).name for folder in self.distributions]
        if twice := {n for n in own if own.count(n) > 1}:
            raise ValueError(f"distributions: two distributions are called {min(twice)!r}; rename a folder")
        for name in (*names, *map(name_of, self.interventions)):
            PLAIN_NAME.checked(name)
        seeds = [self.seed, *self.further_seeds]
        if len(set(seeds)) < len(seeds):
            raise ValueError("further_seeds: a seed is listed twice, or is the run's own `seed`")
        if 0 < (repeats := self.permutations) < FEWEST_PERMUTATIONS:
            raise ValueError(f"permutations: {repeats} have no middle 95 %; set at least {FEWEST_PERMUTATIONS}, or 0")
        return self

    @property
    def chosen_models(self) -> tuple[str, ...]:
        """The models of the run: `model` alone where it is given."""
        return (self.model,) if self.model else self.models

    @property
    def reading(self) -> Reading:
        """How the run's splits are read: under the protocol ``paper``, claims are those that were published."""
        published = self.framing == "truthfulness" and self.protocol == "paper"
        framing = "truthfulness_per_response" if published else self.framing
        keys = {one.name: getattr(self, one.name) for one in options_of(Reading)}
        return Reading(**{**keys, "framing": framing})
