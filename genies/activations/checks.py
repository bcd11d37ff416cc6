"""The self-test of extraction: a packed pass over some examples against an ordinary pass for each of their texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from genies.activations.decoder import Decoder, Features
from genies.activations.forest import Batch, Forest, build_forest, pack
from genies.activations.tokens import SCORED_VIEW, Tokens, select_tokens

PACKING_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Relative difference (norms over all features of a text) up to which a packed pass counts as equal to separate ones.

A mask or position that is wrong changes features by a tenth and more; rounding by a hundredth of these bounds.
"""


@dataclass(frozen=True)
class Check:
    """What packing changes, by a sample of a split.

    Attributes:
        packed: whether the split may be packed.
        examples, texts: size of the sample.
        relative_difference: largest norm of the difference of a text's features over their norm; None if the packed
            pass failed.
        log_probability_difference: largest absolute one, in nats; None if none was compared.
        decisions: pairs of responses to one prompt whose log-probabilities were compared both ways.
        decisions_changed: how many of them rank the other response first in the packed pass.
        reason: what the packed pass failed with, or how far it was off.
    """

    packed: bool
    examples: int
    texts: int
    relative_difference: float | None
    log_probability_difference: float | None
    decisions: int
    decisions_changed: int
    reason: str = ""


def check_packing(
    decoder: Decoder, tokens: Mapping[str, Tokens], forest: Forest, eos_token: int, whole: bool = True
) -> Check:
    """Compare on the example with the most tokens and, where ``whole``, also on that of median size.

    The longest texts are those that a sliding window or a limit of positions concerns.

    Args:
        decoder: the model.
        tokens: tokens by view.
        forest: of those tokens, a tree per example.
        eos_token: id of the end-of-sequence token.
        whole: whether the median example is in the sample, too.
    """
    by_size = sorted(range(len(forest.trees)), key=lambda t: int(forest.trees[t].depth.max()))
    chosen = {by_size[-1], by_size[len(by_size) // 2]} if whole else {by_size[-1]}
    groups = [forest.members[tree] for tree in sorted(chosen)]
    indices = {view: sorted(i for group in groups for v, i in group if v == view) for view in tokens}
    subset = {view: select_tokens(tokens[view], rows) for view, rows in indices.items() if rows}
    merged, apart = (build_forest(subset, eos_token, merge) for merge in (True, False))
    sample = {"examples": len(groups), "texts": len(apart.trees)}
    try:
        together = Batch(sum(map(len, merged.trees)), (tuple(range(len(merged.trees))),))
        packed = decoder.read(pack(together, merged.trees))
    except torch.OutOfMemoryError:
        raise
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        # An architecture that takes no mask of four dimensions says so in ways of its own.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        return Check(False, **sample, relative_difference=None, log_probability_difference=None, decisions=0,
                     decisions_changed=0, reason=reason)  # fmt: skip
    separate = Features.joined(
        [decoder.read_separately(pack(Batch(len(tree), ((i,),)), apart.trees)) for i, tree in enumerate(apart.trees)]
    )
    # Rows of the packed pass in the order of the separate ones.
    row = {member: row for row, member in enumerate(m for members in merged.members for m in members)}
    order = [row[members[0]] for members in apart.members]
    difference = max(
        relative_difference(getattr(packed, name)[order], getattr(separate, name))
        for name in ("heads", "residual", "log_probability")
        if getattr(separate, name) is not None
    )
    scored = [
        (int(subset[view].example[index]), row) for row, ((view, index),) in enumerate(apart.members)
        if view == SCORED_VIEW
    ]  # fmt: skip
    both = packed.log_probability[order].cpu().numpy(), separate.log_probability.cpu().numpy()
    decisions = [_first_is_better(values, scored) for values in both]
    return Check(
        packed=difference <= PACKING_TOLERANCE[decoder.dtype],
        **sample,
        relative_difference=difference,
        log_probability_difference=float(np.abs(both[0] - both[1]).max()) if scored else None,
        decisions=len(decisions[0]),
        decisions_changed=int(np.sum(decisions[0] != decisions[1])),
        reason=f"relative difference {difference:.1e}",
    )


def relative_difference(packed: torch.Tensor, separate: torch.Tensor) -> float:
    """Largest norm of the difference of a text's values over their norm."""
    a, b = (values.double().reshape(len(values), -1) for values in (packed, separate))
    norm = torch.linalg.vector_norm
    return float((norm(a - b, dim=1) / (norm(b, dim=1) + 1e-6)).max())


def _first_is_better(log_probability: np.ndarray, scored: list[tuple[int, int]]) -> np.ndarray:
    """For every two responses of one example, whether the earlier one has the higher log-probability, bool (pairs,)."""
    return np.array(
        [
            log_probability[row] > log_probability[other]
            for position, (example, row) in enumerate(scored)
            for other_example, other in scored[position + 1 :]
            if example == other_example
        ],
        bool,
    )
