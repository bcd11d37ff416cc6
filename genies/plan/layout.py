"""Where every file of a run lies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from genies.config.sections import Config
from genies.evaluation import tables
from genies.plan.jobs import Jobs
from genies.plan.methods import Methods
from genies.plan.models import Models
from genies.plan.selection import Selection

METRICS_FILE = "generalization_metrics.csv"
DIRECTION_TABLES = ("directions.csv", "direction_layers.csv", "transfer.csv", "erasure.csv")
"""What the stage ``directions`` writes of a model."""
WORDING_TABLES = ("wordings.csv", "wording_variance.csv")
"""What the stage ``wordings`` writes of a model."""


class Layout:
    """The files of a run.

    Attributes:
        results: folder of the run.
        cache: the cache folder.
        resources: folder of data and models that rules place.
    """

    def __init__(self, config: Config, models: Models, methods: Methods, selection: Selection, jobs: Jobs) -> None:
        """Remember the folders."""
        self.results = Path(config.folders.results) / config.run
        self.cache = Path(config.folders.cache)
        self.resources = Path(config.folders.resources)
        self._config = config
        self._models = models
        self._methods = methods
        self._selection = selection
        self._jobs = jobs

    def model(self, model: str) -> Path:
        """What pins a model."""
        return self.results / "models" / f"{model}.json"

    def tokens(self, model: str) -> Path:
        """What names a model's tokens."""
        return self.results / "tokens" / f"{model}.json"

    def activations(self, model: str) -> list[Path]:
        """What names a model's activations, a file for each extraction job."""
        return [self.results / "activations" / model / f"{batch}.json" for batch in self._jobs.batches]

    @property
    def evaluations_folder(self) -> Path:
        """Folder of the evaluations of all models and methods."""
        return self.results / "evaluations"

    def evaluation(self, model: str, method: str, source: str) -> Path:
        """The evaluation of one fit."""
        return self.evaluations_folder / model / method / f"{source}.parquet"

    def evaluations(self, repeats: bool = False) -> list[Path]:
        """Every evaluation of the run, or of its repeats."""
        names = self._methods.repeats if repeats else self._methods.names
        return [
            self.evaluation(model, name, source)
            for model in self._models
            for name in self._methods.on(model, names)
            for source in self._jobs.sources(name)
        ]

    def members(self, model: str, ensemble: str, source: str | None = None) -> list[Path]:
        """The evaluations that an ensemble combines, on one source or on all of its own."""
        sources = self._jobs.sources(ensemble) if source is None else [source]
        members = self._methods.ensembles[ensemble].members
        return [self.evaluation(model, member, source) for source in sources for member in members]

    def plugin(self, model: str, plugin: str, source: str) -> Path:
        """Folder that a plug-in works in for one source."""
        return self.results / "plugins" / model / plugin / source

    @property
    def plugins(self) -> list[Path]:
        """The same of every one."""
        names = self._methods.plugins
        return [
            self.plugin(model, name, source)
            for model in self._models
            for name in self._methods.on(model, names)
            for source in self._jobs.sources(name)
        ]

    def sweeps(self) -> list[Path]:
        """Tables of the configured sweep, one for each model, intervention and source; none without a sweep."""
        names = self._config.sweep.interventions if self._config.sweep else ()
        folder, sources = self.results / "sweep", self._selection.sources
        models = [model for model in self._models if model not in self._models.tuned]
        return [folder / model / name / f"{source}.csv" for model in models for name in names for source in sources]

    @property
    def nulls(self) -> list[Path]:
        """What the stage ``nulls`` writes for each model; none where the run asks for no permutations."""
        return self._of_models("nulls", self._methods.with_sites) if self._config.permutations else []

    @property
    def learning_curves(self) -> list[Path]:
        """What the stage ``learning-curves`` writes for each model; none where the run asks for none."""
        return self._of_models("learning_curves", self._methods.learning) if self._config.learning_curves else []

    @property
    def few_labels(self) -> list[Path]:
        """What the stage ``few-labels`` writes for each model, likewise."""
        return self._of_models("few_labels", self._methods.with_few_labels) if self._config.few_labels else []

    def _of_models(self, folder: str, interventions: Sequence[str]) -> list[Path]:
        """A table of each model that some of these interventions read."""
        chosen = [model for model in self._models if self._methods.on(model, interventions)]
        return [self.results / folder / f"{model}.csv" for model in chosen]

    @property
    def directions(self) -> list[Path]:
        """Folders of what the stage ``directions`` writes, one for each model; none where the run does not ask."""
        if not self._config.directions:
            return []
        return [self.results / "directions" / model for model in self._models if self._methods.has_directions(model)]

    @property
    def direction_tables(self) -> list[Path]:
        """The files in these folders."""
        return [folder / name for folder in self.directions for name in DIRECTION_TABLES]

    @property
    def wording_tables(self) -> list[Path]:
        """What the stage ``wordings`` writes, in a folder for each model; none where the run asks for no wordings."""
        if not self._config.wordings:
            return []
        models = [model for model in self._models if self._methods.on(model, self._methods.with_wordings)]
        return [self.results / "wordings" / model / name for model in models for name in WORDING_TABLES]

    @property
    def causal(self) -> list[Path]:
        """What the stage ``causal`` writes for each model, likewise."""
        if not self._config.causal:
            return []
        return [self.results / "causal" / f"{name}.csv" for name in self._models if self._methods.has_directions(name)]

    @property
    def overlap(self) -> Path:
        """Which test examples also appear in training splits."""
        return self.results / "overlap.parquet"

    def table(self, name: str) -> Path:
        """A table that follows from evaluations, by its name."""
        return self.results / f"{name}.csv"

    def tables(self, without: Collection[str]) -> list[Path]:
        """All such tables but some."""
        return [self.table(name) for name in tables.NAMES if name not in without]

    @property
    def page(self) -> Path:
        """The report."""
        return self.results / "report.html"

    @property
    def final(self) -> list[Path]:
        """What a run is asked for."""
        return [self.page, *(self.results / name for name in (METRICS_FILE, "leaderboard.csv", "provenance.json"))]
