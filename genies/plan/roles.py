"""The interventions, plug-ins and ensembles of a run by what they do."""

from __future__ import annotations

from functools import cached_property

from genies.analyses import ANALYSES
from genies.config.sections import Config
from genies.data.wordings import WORDINGS
from genies.engine.reads import declares
from genies.interventions.steps.directions import MEAN_DIFFERENCE_VIEW, has_directions
from genies.interventions.steps.site_probe import SiteProbe
from genies.plan.methods import Methods


class Roles:
    """Names of a run's methods by what they read, learn and are used for."""

    def __init__(self, config: Config, methods: Methods) -> None:
        """Remember what decides them."""
        self._config = config
        self._methods = methods

    def analysed(self, analysis: str, model: str) -> list[str]:
        """Interventions on a model that an analysis (``genies.analyses``) is made of."""
        return self._methods.on(model, getattr(self, ANALYSES[analysis].takes))

    @cached_property
    def surface(self) -> list[str]:
        """Surface baselines, which read texts without a model."""
        return [name for name in self._methods.probes if self._methods.kind(name).features == ("texts",)]

    @cached_property
    def featureless(self) -> list[str]:
        """Probes that read neither a model nor features: chance, and surface baselines; one job is for all of them."""
        kinds = {name: self._methods.kind(name) for name in self._methods.probes}
        return [name for name, kind in kinds.items() if not kind.fit_views and not kind.predict_views]

    @cached_property
    def with_jobs(self) -> list[str]:
        """Probes with jobs of their own."""
        return [name for name in self._methods.probes if name not in self.featureless]

    @property
    def baselines(self) -> list[str]:
        """What rankings of methods leave out: surface baselines, and ensembles of them alone; no repeats."""
        ensembles = [name for name, one in self._methods.ensembles.items() if set(one.members) <= set(self.surface)]
        return [*(name for name in self.surface if name not in self._methods.repeats), *ensembles]

    @property
    def trained(self) -> list[str]:
        """Interventions and plug-ins with a training of their own, and ensembles with such a member."""
        members = {name: ensemble.members for name, ensemble in self._methods.ensembles.items()}
        probes = set(self._methods.probes)
        return [name for name in self._methods.names if not set(members.get(name, (name,))) <= probes]

    @cached_property
    def capability(self) -> list[str]:
        """Interventions of the run of which the best on a reference gives the capability there.

        None of them chooses anything on test labels.
        """
        asked, names = self._config.capability_interventions, self._methods.names
        if asked == "untrained":
            probes = (name for name in names if name in self._methods.probes)
            fitted = (name for name in probes if self._methods.kind(name).fit_views)
            return [name for name in fitted if not self._methods.reads_test_labels(name)]
        return [name for name in asked if name in names]

    @cached_property
    def learning(self) -> list[str]:
        """Probes that learn from training pairs, repeats left out; those that are fitted on fewer or other pairs."""
        own = (name for name in self._refitted if name not in self._methods.repeats)
        return [name for name in own if self._methods.kind(name).fit_views or name in self.surface]

    @cached_property
    def _refitted(self) -> list[str]:
        """Probes that read nothing of a reference model, which stages that fit again do not have."""
        kinds = {name: self._methods.kind(name) for name in self._methods.probes}
        return [name for name, kind in kinds.items() if not declares(kind.features, "reference_log_probability")]

    @cached_property
    def with_few_labels(self) -> list[str]:
        """Those of them that read nothing else of test pairs than of training pairs, so that they can judge these.

        What chooses anything on all test labels has more of them than the few that are counted.
        """
        kinds = {name: self._methods.kind(name) for name in self.learning}
        alike = [name for name, kind in kinds.items() if {*kind.predict_views} <= {*kind.fit_views}]
        return [name for name in alike if not self._methods.reads_test_labels(name)]

    @cached_property
    def with_sites(self) -> list[str]:
        """Probes that choose sites, repeats left out; those whose fits the stage ``nulls`` repeats."""
        kinds = {name: self._methods.kind(name) for name in self._methods.probes if name not in self._methods.repeats}
        return [name for name, kind in kinds.items() if issubclass(kind, SiteProbe)]

    @cached_property
    def with_layers(self) -> list[str]:
        """Probes by which layers are stored of which differences of means can be taken."""
        kinds = {name: self._methods.kind(name) for name in self._methods.probes}
        view = MEAN_DIFFERENCE_VIEW
        both = [name for name, kind in kinds.items() if view in kind.fit_views and view in kind.predict_views]
        return [name for name in both if kinds[name].reads(view).inner]

    @cached_property
    def with_directions(self) -> list[str]:
        """Probes with a direction in each layer, repeats left out; those that the stage ``directions`` compares."""
        return [name for name in self.with_sites if has_directions(self._methods.kind(name))]

    @cached_property
    def with_wordings(self) -> list[str]:
        """Probes that read a view which has further wordings, repeats with further seeds among them."""
        kinds = {name: self._methods.kind(name) for name in self._refitted}
        return [name for name, kind in kinds.items() if {*kind.fit_views, *kind.predict_views} & WORDINGS.keys()]
