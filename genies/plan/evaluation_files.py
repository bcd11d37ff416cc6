"""Where the evaluations of a run lie, and the folders that plug-ins work in for theirs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genies.plan.jobs import Jobs
from genies.plan.methods import Methods
from genies.plan.models import Models


class EvaluationFiles:
    """The evaluations of a run: a file for each model, method and source.

    Attributes:
        folder: that all of them lie in.
    """

    def __init__(self, results: Path, models: Models, methods: Methods, jobs: Jobs) -> None:
        """Remember the folder of the run, and what there are evaluations of."""
        self.folder = results / "evaluations"
        self._works = results / "plugins"
        self._models = models
        self._methods = methods
        self._jobs = jobs

    def of(self, model: str, method: str, source: str) -> Path:
        """The evaluation of one fit."""
        return self.folder / model / method / f"{source}.parquet"

    @property
    def all(self) -> list[Path]:
        """Every evaluation of the run; no repeats."""
        return [self.of(*names) for names in self._fits(self._methods.names)]

    @property
    def of_repeats(self) -> list[Path]:
        """The same of the repeats."""
        return [self.of(*names) for names in self._fits(self._methods.repeats)]

    def of_members(self, model: str, ensemble: str, source: str | None = None) -> list[Path]:
        """The evaluations that an ensemble combines, on one source or on all of its own."""
        sources = self._jobs.sources(ensemble) if source is None else [source]
        members = self._methods.ensembles[ensemble].members
        return [self.of(model, member, source) for source in sources for member in members]

    def plugin(self, model: str, plugin: str, source: str) -> Path:
        """Folder that a plug-in works in for one source."""
        return self._works / model / plugin / source

    @property
    def plugins(self) -> list[Path]:
        """The same of every one."""
        return [self.plugin(*names) for names in self._fits(self._methods.plugins)]

    def _fits(self, names: Iterable[str]) -> list[tuple[str, str, str]]:
        """Model, method and source of every fit of some methods."""
        methods = list(names)
        return [
            (model, name, source)
            for model in self._models
            for name in self._methods.on(model, methods)
            for source in self._jobs.sources(name)
        ]
