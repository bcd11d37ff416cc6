"""What a run needs, from its configuration alone."""

from genies.plan.plan import Plan, find_programs_beside, one_of

__all__ = ["Plan", "find_programs_beside", "one_of"]
