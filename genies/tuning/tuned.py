"""The bases of trained reward models, under their public name."""

from genies.interventions.training.tuned import AdaptedReward, TunedReward, check_positive

__all__ = ["AdaptedReward", "TunedReward", "check_positive"]
