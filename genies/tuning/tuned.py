"""The bases of trained reward models, under their public name."""

from genies.interventions.training.tuned import AdaptedReward, TunedReward

__all__ = ["AdaptedReward", "TunedReward"]
