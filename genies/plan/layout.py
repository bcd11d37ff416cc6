"""Where every file of a run lies."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from genies.analyses import ANALYSES
from genies.config.sections import Config
from genies.evaluation import tables
from genies.plan.jobs import Jobs
from genies.plan.models import Models
from genies.plan.roles import Roles
from genies.plan.selection import Selection

METRICS_FILE = "generalization_metrics.csv"


class Layout:
    """The files of a run but for its fits (``FitFiles``) and evaluations (``EvaluationFiles``).

    Attributes:
        results: folder of the run.
        cache: the cache folder.
        resources: folder of data and models that rules place.
    """

    def __init__(self, config: Config, models: Models, roles: Roles, selection: Selection, jobs: Jobs) -> None:
        """Remember the folders."""
        self.results = Path(config.folders.results) / config.run
        self.cache = Path(config.folders.cache)
        self.resources = Path(config.folders.resources)
        self._config = config
        self._models = models
        self._roles = roles
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

    def sweeps(self) -> list[Path]:
        """Tables of the configured sweep, one for each model, intervention and source; none without a sweep."""
        names = self._config.sweep.interventions if self._config.sweep else ()
        folder, sources = self.results / "sweep", self._selection.sources
        models = [model for model in self._models if model not in self._models.tuned]
        return [folder / model / name / f"{source}.csv" for model in models for name in names for source in sources]

    def analysis(self, analysis: str, model: str, source: str = "{source}") -> list[Path]:
        """The tables that an analysis (``genies.analyses``) makes of a model, or of a source where each has a job."""
        made = ANALYSES[analysis]
        folder = self.results / analysis / model / (source if made.by_source else "")
        return [folder / f"{table}.csv" for table in made.tables]

    def analyses(self, model: str) -> list[str]:
        """The analyses that the run asks for, of those that can be made of a model."""
        asked = [name for name, analysis in ANALYSES.items() if getattr(self._config, analysis.key)]
        return [name for name in asked if self._roles.analysed(name, model)]

    @property
    def analysed(self) -> list[Path]:
        """What all of them write."""
        jobs = {name: self._selection.sources if one.by_source else [""] for name, one in ANALYSES.items()}
        made = [(name, model) for model in self._models for name in self.analyses(model)]
        return [file for name, model in made for source in jobs[name] for file in self.analysis(name, model, source)]

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
