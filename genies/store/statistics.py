"""What an extraction did, counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Statistics:
    """What an extraction did.

    Attributes:
        forward_passes: batches that passed through the model.
        computed_tokens: tokens of those batches, padding counted.
        tree_tokens: distinct tokens of their trees.
        text_tokens: tokens of the same texts, each by itself.
    """

    forward_passes: int = 0
    computed_tokens: int = 0
    tree_tokens: int = 0
    text_tokens: int = 0

    def add(self, other: Statistics) -> None:
        """Add another's counts to these."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def tokens(self) -> dict[str, int]:
        """Those that a ``genies.spent.Meter`` counts."""
        return {"computed_tokens": self.computed_tokens, "distinct_tokens": self.tree_tokens}


def describe(counted: Statistics) -> str:
    """One line for people: passes, and how near the work came to the distinct tokens."""
    trees = max(1, counted.tree_tokens)
    return (
        f"{counted.forward_passes} forward passes; tokens computed ÷ distinct tree tokens = "
        f"{counted.computed_tokens / trees:.4f}; as separate texts {counted.text_tokens / trees:.2f}"
    )
