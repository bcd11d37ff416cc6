"""Where what names fits lies: manifests of ``fit``, of ``tune``, and of what ``gather`` made of the latter."""

from __future__ import annotations

from pathlib import Path

from genies.plan.jobs import Jobs
from genies.plan.methods import Methods
from genies.plan.models import Models
from genies.plan.roles import Roles


class FitFiles:
    """The manifests of a run that name its fits.

    Attributes:
        folder: that all of them lie in.
    """

    def __init__(self, results: Path, models: Models, methods: Methods, roles: Roles, jobs: Jobs) -> None:
        """Remember the folder of the run, and what there are fits of."""
        self.folder = results / "interventions"
        self._models = models
        self._methods = methods
        self._roles = roles
        self._jobs = jobs

    def of_probe(self, model: str, intervention: str) -> Path:
        """What names the fits of an intervention that reads features."""
        return self.folder / model / f"{intervention}.json"

    @property
    def of_probes(self) -> list[Path]:
        """The same of every one; no repeats."""
        names = [name for name in self._methods.probes if name not in self._methods.repeats]
        return [self.of_probe(model, name) for model in self._models for name in self._methods.on(model, names)]

    @property
    def of_repeats(self) -> list[Path]:
        """The same of the repeats."""
        names = [name for name in self._methods.probes if name in self._methods.repeats]
        return [self.of_probe(model, name) for model in self._models for name in self._methods.on(model, names)]

    @property
    def for_capability(self) -> list[Path]:
        """The same of those that capabilities are chosen from."""
        names = [name for name in self._roles.capability if name in self._methods.probes]
        return [self.of_probe(model, name) for model in self._models for name in self._methods.on(model, names)]

    def training(self, model: str, intervention: str, group: int) -> Path:
        """What names the fits of one training job."""
        return self.folder / model / intervention / "groups" / f"{group}.json"

    def trainings(self, model: str) -> list[Path]:
        """The same of all training jobs of a model."""
        return [
            self.training(model, intervention, group)
            for intervention in self._methods.on(model, self._methods.texts)
            for group in range(len(self._jobs.groups(intervention)))
        ]

    def tuned(self, name: str) -> Path:
        """What names the fit that a tuned model is made of."""
        tuned, base = self._models.fit_of(name), self._models.tuned_from(name)
        groups = self._jobs.groups(tuned.intervention)
        return self.training(base, tuned.intervention, [tuned.source in group for group in groups].index(True))

    @property
    def all_trainings(self) -> list[Path]:
        """The same of all models."""
        return [path for model in self._models for path in self.trainings(model)]

    def trained(self, model: str, intervention: str, source: str) -> Path:
        """What names the fit of an intervention that reads texts on one source."""
        return self.folder / model / intervention / f"{source}.json"

    @property
    def all_trained(self) -> list[Path]:
        """The same of every one; no repeats."""
        names = [name for name in self._methods.texts if name not in self._methods.repeats]
        return [
            self.trained(model, name, source)
            for model in self._models
            for name in self._methods.on(model, names)
            for source in self._jobs.sources(name)
        ]
