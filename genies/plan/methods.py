"""The interventions and plug-ins of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from genies.config.sections import Config
from genies.data.options import Split
from genies.engine.reads import Reads, union
from genies.errors import ConfigError
from genies.evaluation.classes import class_of, saw_by, together
from genies.interventions.base import Intervention
from genies.interventions.plugins import check_plugin, program_files
from genies.interventions.registry import check_parameters, load_class, name_of, repeat_name
from genies.interventions.text import TextIntervention
from genies.models.adapters import OtherModel
from genies.plan.models import reward_manifest


class Methods:
    """The interventions and plug-ins of a run, by their names.

    Attributes:
        specs: name or path by the names of interventions, those included that are fitted again with a further seed.
        repeats: own name and seed, by the names of the latter.
        plugins: folder by name.
        ensembles: what judges together, by name.
    """

    def __init__(self, config: Config) -> None:
        """Look everything up.

        Raises:
            ConfigError: something named does not exist, has a parameter that it does not take, or a name twice.
        """
        self._config = config
        self.specs = {name_of(spec): spec for spec in config.interventions}
        if len(self.specs) < len(config.interventions):
            (twice, _), *_ = Counter(map(name_of, config.interventions)).most_common(1)
            raise ConfigError(f"interventions: two of them have the same name, {twice}; drop one or rename its file")
        self._kinds = {name: load_class(spec) for name, spec in self.specs.items()}
        self.repeats = {
            repeat_name(name, seed): (name, seed)
            for name in self.specs
            if self._kinds[name].drawn
            for seed in config.further_seeds
        }
        self.specs |= {name: self.specs[own] for name, (own, _) in self.repeats.items()}
        for name, spec in self.specs.items():
            check_parameters(spec, self.parameters(name))
        self.plugins = {name: Path(folder) for name, folder in config.plugins.items()}
        for name, folder in self.plugins.items():
            check_plugin(name, folder)
            if name in self.specs:
                raise ConfigError(f"plugins: {name} is also the name of an intervention; give another name")
        self.ensembles = dict(config.ensembles)

    def kind(self, intervention: str) -> type[Intervention]:
        """Its class."""
        own, _ = self.repeats.get(intervention, (intervention, None))
        return self._kinds[own]

    def parameters(self, intervention: str) -> dict[str, Any]:
        """Keyword arguments of an intervention: protocol and seed of the run, and its own."""
        name, seed = self.repeats.get(intervention, (intervention, None))
        own = self._config.intervention_parameters.get(name, {})
        model = own.get("model")
        if isinstance(model, str) and model in self._config.tuned_models:
            own = {**own, "model": str(reward_manifest(self._config, model))}
        parameters = {"protocol": self._config.protocol, "seed": self._config.seed, **own}
        if seed is None:
            return parameters
        return parameters | {key: seed for key in ("seed", "split_seed") if key in self.kind(name).parameter_names()}

    @property
    def names(self) -> list[str]:
        """Names of interventions, plug-ins and ensembles, in the order of the configuration; no repeats."""
        return [*(name for name in self.specs if name not in self.repeats), *self.plugins, *self.ensembles]

    def on(self, model: str, names: Iterable[str]) -> list[str]:
        """Which of these interventions and plug-ins read a model: on one that the run tunes, the configured ones."""
        tuned = self._config.tuned_models.get(model)
        if tuned is None:
            return list(names)
        chosen = self.probes if tuned.interventions is None else tuned.interventions
        return [name for name in names if self.repeats.get(name, (name,))[0] in chosen]

    @cached_property
    def texts(self) -> list[str]:
        """Interventions that read texts with a model of their own; a job fits some of the sources."""
        return [name for name in self.specs if issubclass(self.kind(name), TextIntervention)]

    @cached_property
    def probes(self) -> list[str]:
        """Interventions that read cached features; one job fits all sources."""
        return [name for name in self.specs if name not in self.texts]

    @cached_property
    def views(self) -> dict[Split, list[str]]:
        """Views that the interventions read, by split."""
        return {split: [*of_split] for split, of_split in self.reads.items()}

    @cached_property
    def reads(self) -> dict[Split, dict[str, Reads]]:
        """What the interventions read together, by split and view."""
        return _reads(self._kinds.values())

    def reads_on(self, model: str) -> dict[Split, dict[str, Reads]]:
        """What the interventions read of a model, by split and view: all that extraction stores of it."""
        return _reads(self.kind(name) for name in self.on(model, self.specs))

    @cached_property
    def saw(self) -> dict[str, str]:
        """Class of each intervention, plug-in and ensemble by what it saw, by name; no repeats."""
        own = [name for name in self.specs if name not in self.repeats]
        found = {name: saw_by(self.kind(name)(**self.parameters(name))) for name in own}
        found |= {name: self._config.saw.get(name) for name in self.plugins}
        found |= {name: together(map(found.get, one.members)) for name, one in self.ensembles.items()}
        return {name: class_of(saw) for name, saw in found.items()}

    def reads_test_labels(self, intervention: str) -> bool:
        """Whether it chooses something on test labels, with its parameters."""
        return self.kind(intervention)(**self.parameters(intervention)).reads_test_labels

    def other_models(self, intervention: str) -> list[OtherModel]:
        """Models that it reads in addition to the run's own."""
        return self.kind(intervention).other_models(self.parameters(intervention))

    def plugin_files(self, name: str) -> list[Path]:
        """Files of a plug-in whose edits run it again.

        Raises:
            ConfigError: one has a name that Snakemake would take for a pattern.
        """
        files = program_files(self.plugins[name], Path(self._config.folders.cache))
        if braces := next((file for file in files if set("{}") & set(str(file))), None):
            raise ConfigError(f"plugins: {name}: {braces}: Snakemake takes braces for a wildcard; rename the file")
        return files

    @property
    def own_code(self) -> list[Path]:
        """Files of the user's own that the run executes or that are beside them: interventions, and plug-ins' files."""
        files = [Path(spec) for name, spec in self.specs.items() if name not in self.repeats and name != spec]
        return [*files, *(file for name in self.plugins for file in self.plugin_files(name))]


def _reads(kinds: Iterable[type[Intervention]]) -> dict[Split, dict[str, Reads]]:
    """What interventions read together, by split and view, views sorted."""
    listed = list(kinds)
    trained = sorted({view for kind in listed for view in kind.fit_views})
    tested = sorted({view for kind in listed for view in kind.predict_views})
    return {
        "train": {view: union(kind.reads(view) for kind in listed if view in kind.fit_views) for view in trained},
        "test": {view: union(kind.reads(view) for kind in listed if view in kind.predict_views) for view in tested},
    }
