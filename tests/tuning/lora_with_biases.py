"""An intervention of a user's own that trains weights of the model itself: LoRA, and every bias."""

from dataclasses import replace

from genies.interventions.lora import Lora


class LoraWithBiases(Lora):
    def adapter(self):
        return replace(super().adapter(), bias="all")
