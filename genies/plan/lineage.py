"""Which models of a run are tuned from which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genies.models.adapters import base_of, own_revision
from genies.models.find import is_local, revision_of
from genies.plan.models import Models, is_local_adapter, same_model


class Lineage:
    """What the models of a run were tuned from, whoever tuned them."""

    def __init__(self, models: Models, revisions: Mapping[str, str]) -> None:
        """Remember the models, and the configured hub revisions."""
        self._models = models
        self._revisions = revisions

    def untuned(self, model: str) -> str | None:
        """What a model was tuned from, if that is known: a model of the run, folder or hub id; None of a whole one."""
        if model in self._models.tuned:
            return self._models.tuned_from(model)
        identifier = self._models.identifiers[model]
        if (base := self._models.bases.get(identifier)) or not is_local_adapter(identifier):
            return base
        return base_of(Path(identifier).expanduser(), None)

    def untuned_revision(self, model: str) -> str | None:
        """The hub revision of the base of a local adapter, as it is configured or the adapter names it; else None."""
        base = None if model in self._models.tuned else self.untuned(model)
        if base is None or is_local(base):
            return None
        identifier = self._models.identifiers[model]
        own = own_revision(Path(identifier).expanduser(), base) if is_local_adapter(identifier) else None
        return revision_of(base, self._revisions) or own

    def is_tuned_from(self, name: str, model: str) -> bool:
        """Whether a model is known to be tuned from one of the run."""
        base = self.untuned(name)
        return base is not None and (base == model or same_model(base, self._models.identifiers.get(model, model)))

    @property
    def tuned_from_own(self) -> dict[str, str]:
        """By model that was tuned from another one of the run, whoever tuned it, the name of that one."""
        bases = {model: self.untuned(model) for model in self._models}
        given = [model for model in self._models if model not in self._models.tuned]
        return {
            model: own
            for model, base in bases.items()
            for own in given
            if base is not None and own != model and (base == own or same_model(self._models.identifiers[own], base))
        }
