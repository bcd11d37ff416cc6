"""Fine-tuning of all weights of a reward model."""

from __future__ import annotations

from typing import Any

from genies.interventions.parameters import PositiveFloat
from genies.interventions.training.tuned import TunedReward
from genies.options import PositiveInt


class FullFinetune(TunedReward):
    """A model's own weights and a head on its last token, trained on pairs.

    GENIES (arXiv 2311.07723) has it in its code, outside the nine interventions that it compares. Weights and moments
    are float32: 16 bytes for each weight while training, and a checkpoint holds 12 of them.

    Args:
        learning_rate: of AdamW.
        steps: optimizer steps.
        **parameters: those of ``TunedReward``.
    """

    def __init__(self, *, learning_rate: PositiveFloat = 1e-5, steps: PositiveInt = 100, **parameters: Any) -> None:
        super().__init__(learning_rate=learning_rate, steps=steps, **parameters)

    def adapter(self) -> None:
        """None: every weight is trained."""
