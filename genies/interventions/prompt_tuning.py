"""Prompt tuning of a reward model (Lester et al., arXiv 2104.08691)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from genies.interventions.parameters import PositiveFloat
from genies.interventions.training.tuned import AdaptedReward
from genies.options import PositiveInt

if TYPE_CHECKING:
    from peft import PromptTuningConfig

Start = Literal["random", "vocabulary"]


class PromptTuning(AdaptedReward):
    """Embeddings of virtual tokens before each text and a head on its last token, trained on pairs.

    The defaults are the published ones (GENIES, arXiv 2311.07723) for LLaMA-7B; for 30B they were pairs_per_step 32 and
    steps 100.

    Args:
        virtual_tokens: how many; they take positions of the model's context. Published: 10.
        start: embeddings at the start: PEFT's ``random`` ones (standard normal), or those of random tokens of the
            ``vocabulary``.
        learning_rate: of AdamW; published: 5.2e-3.
        steps: optimizer steps; published: 150.
        **parameters: those of ``AdaptedReward``.
    """

    def __init__(
        self,
        *,
        virtual_tokens: PositiveInt = 10,
        start: Start = "random",
        learning_rate: PositiveFloat = 5.2e-3,
        steps: PositiveInt = 150,
        **parameters: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, steps=steps, **parameters)
        self.virtual_tokens = virtual_tokens
        self.start = start

    def adapter(self) -> PromptTuningConfig:
        from peft import PromptTuningConfig

        return PromptTuningConfig(
            task_type="SEQ_CLS",
            num_virtual_tokens=self.virtual_tokens,
            prompt_tuning_init="RANDOM" if self.start == "random" else "SAMPLE_VOCAB",
        )
