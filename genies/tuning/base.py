"""The interface of interventions that read texts, under its public name."""

from genies.interventions.text import TextIntervention, TextPairs

__all__ = ["TextIntervention", "TextPairs"]
