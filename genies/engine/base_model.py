"""A loaded model that several trainings begin from, each on a copy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


HEAD = "score"
"""Name of the linear layer that decoder classifiers of transformers put on the last hidden state."""


@dataclass(frozen=True)
class Base:
    """A decoder with a new reward head, as it was loaded: adapters are put on copies that share its weights.

    Attributes:
        model: the decoder; none of its weights is trainable.
        random_state: of torch's generators (the CPU's, CUDA's or None) after loading: adapters are drawn from it on.
        fingerprint: of the weights.
    """

    model: PreTrainedModel
    random_state: tuple[torch.Tensor, torch.Tensor | None]
    fingerprint: tuple

    @classmethod
    def of(cls, model: PreTrainedModel) -> Base:
        """The base that a model is which has just been loaded."""
        cuda = torch.cuda.get_rng_state(model.device) if model.device.type == "cuda" else None
        model.requires_grad_(False)
        return cls(model, (torch.get_rng_state(), cuda), _fingerprint(model))

    def is_untouched(self) -> bool:
        """Whether the weights are those that were loaded: some adapters train or replace some of them in place."""
        return _fingerprint(self.model) == self.fingerprint

    def copy(self) -> PreTrainedModel:
        """A model with the same frozen weights in memory and a trainable head of its own.

        Sets torch's generators to the state after loading, so that what is drawn next does not depend on what came
        before.
        """
        head = set(map(id, getattr(self.model, HEAD).parameters()))
        shared = {id(weight): weight for weight in self.model.parameters() if id(weight) not in head}
        model = copy.deepcopy(self.model, shared)
        getattr(model, HEAD).requires_grad_(True)
        cpu, cuda = self.random_state
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, self.model.device)
        return model


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _fingerprint(model: PreTrainedModel) -> tuple:
    """Name, whether trainable, shape and sum of the bits, as integers, of every weight."""
    return tuple(
        (
            name,
            weight.requires_grad,
            tuple(weight.shape),
            int(weight.detach().contiguous().view(_INTEGERS[weight.element_size()]).sum(dtype=torch.int64)),
        )
        for name, weight in model.named_parameters()
    )


def load_anew(_: Hashable, load: Callable[[], Base], __: Callable[[Base], bool]) -> Base:
    """Load at every call: for models that nobody else uses."""
    return load()
