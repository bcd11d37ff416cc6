"""LoRA fine-tuning of a reward model (Hu et al., arXiv 2106.09685)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genies.interventions.parameters import PositiveFloat, Share
from genies.interventions.training.tuned import AdaptedReward
from genies.options import PositiveInt

if TYPE_CHECKING:
    from peft import LoraConfig


class Lora(AdaptedReward):
    """Low-rank adapters and a head on the last token, trained on pairs.

    The defaults are the published ones (GENIES, arXiv 2311.07723) for LLaMA-7B; others were learning_rate 7.2e-5 (3B),
    steps 150 (13B), pairs_per_step 32 (30B).

    Args:
        rank: of the adapters; published: 64.
        alpha: their scale is alpha / rank; published: 16.
        dropout: on the adapters' input; published: 0.1.
        target_modules: names of the linear layers that get an adapter, or ``all-linear``. None: those that PEFT names
            for the architecture, or every linear layer where it names none.
        learning_rate: of AdamW; published: 2e-4.
        steps: optimizer steps; published: 100.
        **parameters: those of ``AdaptedReward``.
    """

    def __init__(
        self,
        *,
        rank: PositiveInt = 64,
        alpha: PositiveFloat = 16,
        dropout: Share = 0.1,
        target_modules: list[str] | str | None = None,
        learning_rate: PositiveFloat = 2e-4,
        steps: PositiveInt = 100,
        **parameters: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, steps=steps, **parameters)
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.target_modules = target_modules

    def adapter(self) -> LoraConfig:
        from peft import LoraConfig

        return LoraConfig(
            task_type="SEQ_CLS",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # a scale need not be whole, whatever PEFT says
            lora_dropout=self.dropout,
            target_modules=self.target_modules,
        )
