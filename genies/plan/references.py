"""The reference models that a run's interventions compare its models with."""

from __future__ import annotations

from collections.abc import Sequence

from genies.engine.reads import declares
from genies.errors import ConfigError
from genies.models.find import is_local
from genies.plan.lineage import Lineage
from genies.plan.methods import Methods
from genies.plan.models import Models


class References:
    """Reference models by intervention and model; those that are not among the run's models are added to them."""

    def __init__(self, models: Models, methods: Methods, lineage: Lineage) -> None:
        """Look them up.

        Raises:
            ConfigError: an intervention reads a reference, and nothing says which; two models have one name; or the
                reference is an adapter on the policy.
        """
        self._names: dict[tuple[str, str], str] = {}
        for intervention in methods.probes:
            if declares(methods.kind(intervention).features, "reference_log_probability"):
                given = methods.parameters(intervention).get("reference")
                for model in (name for name in models if methods.on(name, [intervention])):
                    identifier = given or lineage.untuned(model)
                    if identifier is None:
                        raise _unknown(intervention, models.identifiers[model])
                    revision = None if given else lineage.untuned_revision(model)
                    name = models.add_reference(identifier, revision)
                    if lineage.is_tuned_from(name, model):
                        raise _exchanged(intervention, identifier, model)
                    self._names[model, intervention] = name

    def of(self, model: str, intervention: str) -> Sequence[str]:
        """Name of the reference of a model, in a list that is empty where the intervention reads none."""
        name = self._names.get((model, intervention))
        return [] if name is None else [name]


def _exchanged(intervention: str, reference: str, policy: str) -> ConfigError:
    """The error where policy and reference are exchanged, which would turn the sign of every reward."""
    return ConfigError(
        f"intervention_parameters: {intervention}: reference {reference} is an adapter on {policy}, so that the two "
        f"are exchanged; name {reference} under models, and leave {policy} out of them or name it as the reference"
    )


def _unknown(intervention: str, model: str) -> ConfigError:
    """The error where nothing says what a model was tuned from."""
    where = f"intervention_parameters: {intervention}: {model}"
    if is_local(model):
        return ConfigError(
            f"{where} is no adapter that names its base, which would be its reference; give the parameter reference"
        )
    return ConfigError(
        f"{where} is on the hub: whether it is an adapter, and of which base, is not known before it is downloaded; "
        "name its base under bases, or give the parameter reference"
    )
