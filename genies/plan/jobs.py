"""How the work of a run is shared among jobs."""

from __future__ import annotations

import hashlib
import itertools

from genies.analyses import PASSING
from genies.config.sections import Config
from genies.devices import gpus_of_job, visible_gpus
from genies.interventions.text import TextIntervention
from genies.plan.methods import Methods
from genies.plan.roles import Roles
from genies.plan.selection import Selection, pairs_of


class Jobs:
    """The jobs of extraction and training, and the devices that they take."""

    def __init__(self, config: Config, methods: Methods, roles: Roles, selection: Selection) -> None:
        """Remember what decides them."""
        self._config = config
        self._methods = methods
        self._roles = roles
        self._selection = selection

    @property
    def batches(self) -> list[str]:
        """Names of a model's extraction jobs."""
        return [str(number) for number in range(self._config.extraction.jobs_per_model)]

    def batch(self, batch: str) -> list[str]:
        """Distributions of one extraction job. A distribution's job depends on its name alone, not on the others."""
        jobs = self._config.extraction.jobs_per_model

        def number(name: str) -> int:
            return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % jobs

        return [name for name in self._selection.all if number(name) == int(batch)]

    def sources(self, method: str) -> list[str]:
        """Distributions that a method is fitted on: references only where it is cheap, or capability asks for it.

        An ensemble has those of all of its members.
        """
        if method in self._methods.ensembles:
            of_members = [set(self.sources(member)) for member in self._methods.ensembles[method].members]
            return sorted(set.intersection(*of_members))
        dear = method not in self._methods.probes and method not in self._roles.capability
        return self._selection.sources if dear else self._selection.fitted_on

    @property
    def on_references(self) -> list[str]:
        """Interventions and plug-ins that are fitted on the references of shifts as well as on their sources."""
        return [name for name in self._methods.names if self.sources(name) != self._selection.sources]

    def targets(self, ensemble: str) -> dict[str, list[str]]:
        """Targets of an ensemble by source: those that all of its members are tested on."""
        members, selection = self._methods.ensembles[ensemble].members, self._selection
        of_probes = all(member in self._methods.probes for member in members)
        targets = selection.probe_targets if of_probes else selection.targets
        return {source: targets[source] for source in self.sources(ensemble)}

    def groups(self, intervention: str) -> list[list[str]]:
        """Sources of each training job of an intervention: as few as ``trainings_per_job`` allows, even in size."""
        sources = self.sources(intervention)
        jobs = -(-len(sources) // self._config.trainings_per_job)
        bounds = [number * len(sources) // jobs for number in range(jobs + 1)]
        return [sources[begin:end] for begin, end in itertools.pairwise(bounds)]

    def group(self, intervention: str, group: str) -> list[str]:
        """Sources of one of these jobs, by its number."""
        return self.groups(intervention)[int(group)]

    def tests(self, intervention: str, group: str) -> list[str]:
        """Every target of a training job's sources."""
        targets = self._selection.targets
        return sorted({target for source in self.group(intervention, group) for target in targets[source]})

    def pairs(self, intervention: str, group: str) -> list[str]:
        """``source:target`` of every test of a training job."""
        return pairs_of({source: self._selection.targets[source] for source in self.group(intervention, group)})

    @property
    def trainings(self) -> list[str]:
        """What is trained of a model: ``intervention/source``."""
        return [f"{name}/{source}" for name in self._methods.texts for source in self.sources(name)]

    def device(self, intervention: str) -> str:
        """Torch device of an intervention that reads texts; not all of them can be spread over several."""
        device, kind = self._config.extraction.device, self._methods.kind(intervention)
        spreads = issubclass(kind, TextIntervention) and kind.spreads
        return "auto" if device == "balanced" and not spreads else device

    def gpus_held(self, rule: str, intervention: str | None, local: bool) -> int:
        """GPUs that a job held, for what the run says of its costs; ``local`` as ``gpus_of_job`` takes it."""
        device = self._config.extraction.device
        if device == "cpu" or (local and not visible_gpus()):
            return 0
        if rule == "tune" and intervention is not None:
            device = self.device(intervention)
        return gpus_of_job(device, local) if rule in ("extract", "tune", *PASSING) else 1
