"""What a run needs, from its configuration alone: the Snakefile asks, nothing is read but shift lists and code.

Importing this module and planning load neither torch nor zarr, and write nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from genies.config.sections import Config
from genies.data.options import Reading, Split
from genies.data.shifts import Shift, list_file, read_shifts
from genies.data.views import templates_digest
from genies.data.wordings import reworded
from genies.digests import code_digest
from genies.engine.reads import SCORES, Reads
from genies.engine.tokens import SCORED_VIEW
from genies.interventions.registry import module_of
from genies.plan.checks import check
from genies.plan.data import Data
from genies.plan.evaluation_files import EvaluationFiles
from genies.plan.fit_files import FitFiles
from genies.plan.jobs import Jobs
from genies.plan.layout import Layout
from genies.plan.lineage import Lineage
from genies.plan.methods import Methods
from genies.plan.models import Models
from genies.plan.references import References
from genies.plan.roles import Roles
from genies.plan.selection import Selection


def one_of(names: Iterable[str]) -> str:
    """A pattern for wildcards that matches these names, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def find_programs_beside(python: str) -> None:
    """Let jobs find the ``genies`` command in the folder of this Python, whatever PATH says.

    A prefix of all shell commands would do the same to the jobs of a workflow that uses this one as a module, and
    would hide what a container or conda environment brings.
    """
    folder, path = str(Path(python).parent), os.environ.get("PATH", os.defpath)
    if folder != path.split(os.pathsep)[0]:
        os.environ["PATH"] = os.pathsep.join([folder, path])


class Plan:
    """A run.

    Attributes:
        config: its configuration.
        shift_lists: files of its shift lists.
        shifts: the shifts, of all lists.
        models, methods: its models, its interventions and plug-ins.
        lineage: which models are tuned from which.
        roles: methods by what they do.
        references: models that others are compared with.
        selection: its distributions, by what is done with them.
        data: where their splits lie.
        jobs: how the work is shared among jobs.
        files: where everything else lies.
        fits: where what names fits lies.
        evaluations: where evaluations lie.
    """

    def __init__(self, config: Config) -> None:
        """Read the shift lists and look everything up.

        Raises:
            ConfigError, DataError, ModelError: something named does not exist; one line says what is nearest.
        """
        self.config = config
        self.shift_lists = [list_file(name) for name in config.shifts]
        self.shifts: list[Shift] = read_shifts(*self.shift_lists)
        self.models = Models(config)
        self.lineage = Lineage(self.models, config.revisions)
        self.methods = Methods(config)
        self.roles = Roles(config, self.methods)
        self.references = References(self.models, self.methods, self.lineage)
        self.selection = Selection(config, self.shifts, self.methods, self.roles)
        self.data = Data(config, self.selection)
        self.jobs = Jobs(config, self.methods, self.roles, self.selection)
        self.files = Layout(config, self.models, self.roles, self.selection, self.jobs)
        self.fits = FitFiles(self.files.results, self.models, self.methods, self.roles, self.jobs)
        self.evaluations = EvaluationFiles(self.files.results, self.models, self.methods, self.jobs)
        check(self)

    @property
    def reading(self) -> Reading:
        """How the run reads its splits. Wordings are no views of it: they change no choice of examples."""
        views = {view for names in self.methods.views.values() for view in names}
        return replace(self.config.reading, views=tuple(sorted(views)))

    def reads(self, model: str) -> dict[Split, dict[str, Reads]]:
        """What is read of a model's texts, by split and view: of a reference its log-probabilities alone.

        Wordings are among the views of every split; those splits have them that are tokenized under them.
        """
        return (
            {"train": {}, "test": {SCORED_VIEW: SCORES}}
            if model in self.models.references
            else {
                split: reworded(of_split, self.config.wordings)
                for split, of_split in self.methods.reads_on(model).items()
            }
        )

    def stored(self, distribution: str, split: Split) -> dict[str, Reads]:
        """What is stored of a split for the interventions of the run together, by view, wordings included."""
        read = self.methods.reads[split]
        worded = reworded(read, self.config.wordings)
        return worded if distribution in self._worded[split] else {view: worded[view] for view in read}

    def tokenized(self, model: str) -> dict[Split, dict[str, Reads]]:
        """What a model's texts are tokenized for, likewise.

        It is what the whole run reads, also where a model is read under fewer views: which examples its context cannot
        hold, and are left out or shortened, depends on the views. The stage adds their wordings.
        """
        if model not in self.models.references:
            return self.methods.reads
        # No training split of a reference is read.
        return {"train": dict.fromkeys(self.reading.views, SCORES), "test": {SCORED_VIEW: SCORES}}

    def wordings(self, model: str) -> int:
        """Under how many further wordings a model's texts are tokenized; none of a reference."""
        return 0 if model in self.models.references else self.config.wordings

    def worded(self, model: str) -> dict[Split, list[str]]:
        """Distributions whose splits are tokenized for a model under these, by split."""
        if not self.wordings(model):
            return {"train": [], "test": []}
        read = set(self.trained_on(model))
        return {"train": [name for name in self._worded["train"] if name in read], "test": self._worded["test"]}

    @cached_property
    def _worded(self) -> dict[Split, list[str]]:
        """Sources, and what probes are tested on. Not pairs: another one of the same ones leaves all as it is."""
        targets = self.selection.targets
        tested = {name for source in self.selection.sources for name in targets[source]}
        return {"train": self.selection.sources, "test": sorted(tested)}

    def trained_on(self, model: str) -> list[str]:
        """Distributions whose training split is tokenized for a model."""
        return [] if model in self.models.references else self.selection.trained_on

    def reference_activations(self, model: str, intervention: str) -> list[Path]:
        """What names the activations of the reference that an intervention compares a model with; none without one."""
        return [file for name in self.references.of(model, intervention) for file in self.files.activations(name)]

    def templates(self) -> str:
        """Digest of the templates that the run reads, for rules to notice an edit."""
        views = self.reading.views
        further = reworded(dict.fromkeys(views, SCORES), self.config.wordings).keys() - set(views)
        return templates_digest([*views, *sorted(further)], self.reading.framing)

    def other_model_files(self, intervention: str) -> list[Path]:
        """Files of local models that an intervention reads in addition to the run's own."""
        others = self.methods.other_models(intervention)
        return [file for other in others for file in self.models.local_files(other.identifier, other.base)]

    @property
    def absent(self) -> list[str]:
        """``model/intervention`` of interventions and plug-ins that do not read a model of the run."""
        names = [*self.methods.names, *self.methods.repeats]
        return [
            f"{model}/{name}" for model in self.models.tuned for name in names if not self.methods.on(model, [name])
        ]

    def code(self, *modules: str, intervention: str | None = None) -> str:
        """Digest of the code that a stage runs, for the rule to notice its edits."""
        own: Sequence[str] = [module_of(self.methods.specs[intervention])] if intervention else []
        return code_digest(*modules, *own)
