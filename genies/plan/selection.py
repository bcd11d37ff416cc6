"""Which distributions a run fits on and tests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from genies.config.sections import Config
from genies.data.shifts import Shift
from genies.plan.methods import Methods
from genies.plan.roles import Roles


def pairs_of(targets: Mapping[str, Sequence[str]]) -> list[str]:
    """``source:target`` of targets by source, as verbs take them."""
    return [f"{source}:{target}" for source, names in targets.items() for target in names]


def own_pairs(pairs: Sequence[str], source: str) -> list[str]:
    """Those of ``source:target`` pairs that start from a source, each once."""
    return [pair for pair in dict.fromkeys(pairs) if pair.partition(":")[0] == source]


class Selection:
    """The distributions of a run, by what is done with them."""

    def __init__(self, config: Config, shifts: Sequence[Shift], methods: Methods, roles: Roles) -> None:
        """Remember what decides them."""
        self._config = config
        self._shifts = shifts
        self._methods = methods
        self._roles = roles

    @cached_property
    def sources(self) -> list[str]:
        """Distributions that shifts start from."""
        return sorted({shift.source for shift in self._shifts})

    @cached_property
    def references(self) -> list[str]:
        """Distributions that no shift starts from, and that are fitted on for the capability there."""
        asked = {shift.target_reference for shift in self._shifts} if self._roles.capability else set()
        return sorted(asked - set(self.sources))

    @cached_property
    def fitted_on(self) -> list[str]:
        """Distributions that interventions are fitted on: sources, and references where a capability is asked for."""
        return sorted([*self.sources, *self.references])

    @cached_property
    def targets(self) -> dict[str, list[str]]:
        """Targets by the distribution fitted on: those of its shifts, and itself."""
        targets = {source: {source} for source in self.fitted_on}
        for shift in self._shifts:
            targets[shift.source].add(shift.target)
        return {source: sorted(names) for source, names in targets.items()}

    @cached_property
    def probe_targets(self) -> dict[str, list[str]]:
        """Targets of probes likewise: with ``matrix`` every target, since no forward pass is needed for it."""
        return dict.fromkeys(self.fitted_on, self.tested) if self._config.matrix else self.targets

    @property
    def probe_pairs(self) -> list[str]:
        """``source:target`` of every test of a probe. With ``matrix`` none: then it is every source on every target."""
        return [] if self._config.matrix else pairs_of(self.probe_targets)

    @cached_property
    def tested(self) -> list[str]:
        """Distributions whose test split is read."""
        return sorted({name for names in self.targets.values() for name in names})

    @cached_property
    def trained_on(self) -> list[str]:
        """Distributions whose training split is tokenized: those fitted on, if any intervention learns from them.

        Targets as well where probes get a few of their labels.
        """
        learns = self._methods.views["train"] or self._methods.texts or self._methods.plugins
        return self.labelled if learns else []

    @cached_property
    def labelled(self) -> list[str]:
        """Distributions whose training labels are read: those fitted on, and targets of which probes get some."""
        targets = {shift.target for shift in self._shifts} if self._config.few_labels else set()
        return sorted({*self.fitted_on, *targets})

    @cached_property
    def all(self) -> list[str]:
        """Every distribution of the run."""
        return sorted({*self.tested, *self.fitted_on})

    @property
    def shift_pairs(self) -> list[str]:
        """``source:target`` of every shift."""
        return [f"{shift.source}:{shift.target}" for shift in self._shifts]

    def own_targets(self, source: str) -> list[str]:
        """Targets of the shifts that start from a source."""
        return sorted({shift.target for shift in self._shifts if shift.source == source})

    @property
    def learning_pairs(self) -> list[str]:
        """The same, and every source on itself: what probes are tested on that are fitted on fewer pairs."""
        return pairs_of({source: self.targets[source] for source in self.sources})

    @property
    def sampled_pairs(self) -> list[str]:
        """The same, and those of targets that no shift has, fitted on themselves: what pairs are shown of."""
        rest = sorted(set(self.tested) - {shift.target for shift in self._shifts})
        return [*self.shift_pairs, *(f"{name}:{name}" for name in rest)]
