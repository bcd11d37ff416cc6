"""The self-test of extraction: a packed pass over some examples against an ordinary pass for each of their texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from genies.engine.decoder import Decoder, Features
from genies.engine.forest import Batch, Forest, PackedBatch, Tree, build_forest, pack
from genies.engine.tokens import SCORED_VIEW, Tokens, select_tokens
from genies.errors import ModelError, first_line

log = logging.getLogger(__name__)

PACKING_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Relative difference (norms over all features of a text) up to which a packed pass counts as equal to separate ones.

A mask or position that is wrong changes features by a tenth and more; rounding by a hundredth of these bounds, in deep
models of bfloat16 by more: see ``_exactly``. What leaks from one text to another through a recurrent state or a
convolution may be less: see ``leak``.
"""
SUMMATION = 1e-12
"""Relative difference of sums in float64, such as log-probabilities, that a GPU adds in any order."""
SHARE = 0.05
"""Share of a split's distinct tokens that its self-test may pass through the model; of a smaller split an earlier one
tells, unless its texts are longer than any that was tested."""
PASSES = 4
"""Passes of a self-test through the tokens of its sample: packed, twice for leaks, and each text by itself."""
LEAK = "other texts of the row move a text by {:.1e}"
"""Why a split is not packed although the passes agree."""


@dataclass(frozen=True)
class Check:
    """What packing changes, by a sample of a split.

    Attributes:
        packed: whether the split may be packed.
        examples, texts: size of the sample; 0 where an earlier split of the job tells.
        relative_difference: largest norm of the difference of a text's features over their norm; None if the packed
            pass failed, or a text has values that are not finite.
        log_probability_difference: largest absolute one, in nats; None if none was compared, or one is not finite.
        decisions: pairs of responses to one prompt whose log-probabilities were compared both ways.
        decisions_changed: how many of them rank the other response first in the packed pass.
        reason: what the packed pass failed with, how far it was off, or how far a text was moved by others.
        longest: tokens of the longest text of the sample.
    """

    packed: bool
    examples: int
    texts: int
    relative_difference: float | None
    log_probability_difference: float | None
    decisions: int
    decisions_changed: int
    reason: str = ""
    longest: int = 0


class SelfTests:
    """The self-tests of one model: whether a split may be packed, found anew wherever it is cheap or something is new.

    What packing changes follows from the model and from how long its texts are, not from what they say.
    """

    def __init__(self) -> None:
        """Nothing is tested yet."""
        self._last: Check | None = None
        self._announced: bool | None = None

    def remember(self, check: Check) -> None:
        """Take in the self-test of an earlier split, as a store of it states it."""
        if check.examples and (self._last is None or not check.packed or check.longest > self._last.longest):
            self._last = check

    def check(
        self, decoder: Decoder, tokens: Mapping[str, Tokens], forest: Forest, eos_token: int, whole: bool
    ) -> Check:
        """What ``check_packing`` says of a split, or what it said of an earlier one; then its ``examples`` are 0."""
        chosen = [forest.trees[tree] for tree in _chosen(forest, whole)]
        dear = PASSES * sum(map(len, chosen)) > SHARE * sum(map(len, forest.trees))
        if dear and self._last and self._last.packed and max(map(_length, chosen)) <= self._last.longest:
            return replace(self._last, examples=0, texts=0, decisions=0, decisions_changed=0)
        check = check_packing(decoder, tokens, forest, eos_token, whole)
        self.remember(check)
        return check

    def announce(self, check: Check, attention: str) -> None:
        """Say which way is taken when it is first known, and whenever it changes.

        Args:
            check: of a split.
            attention: implementation that the model is read with.
        """
        if check.packed == self._announced:
            return
        self._announced = check.packed
        if check.packed:
            log.info(
                "self-test: packed and separate passes agree (relative difference %.1e)", check.relative_difference
            )
        else:
            log.warning(
                "self-test: packed and separate passes differ (%s) with %s attention; going on with one text per row, "
                "padded on the right",
                check.reason,
                attention,
            )


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
    groups = [forest.members[tree] for tree in _chosen(forest, whole)]
    indices = {view: sorted(i for group in groups for v, i in group if v == view) for view in tokens}
    subset = {view: select_tokens(tokens[view], rows) for view, rows in indices.items() if rows}
    merged, apart = (build_forest(subset, eos_token, merge) for merge in (True, False))
    sample = {"examples": len(groups), "texts": len(apart.trees), "longest": max(map(_length, apart.trees))}
    row = pack(Batch(sum(map(len, merged.trees)), (tuple(range(len(merged.trees))),)), merged.trees)
    try:
        packed = decoder.read(row)
        leaked = leak(lambda batch: _values(decoder.read(batch)), row)
    except torch.OutOfMemoryError:
        if len(groups) > 1:
            return check_packing(decoder, tokens, forest, eos_token, whole=False)
        return _failed(sample, f"memory does not suffice for a row of {row.tokens.size} tokens")
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        # An architecture that takes no mask of four dimensions says so in ways of its own.
        return _failed(sample, f"{type(error).__name__}: {first_line(error)}")
    separate = _separately(decoder, apart.trees)
    # Rows of the packed pass in the order of the separate ones.
    place = {member: index for index, member in enumerate(m for members in merged.members for m in members)}
    order = [place[members[0]] for members in apart.members]
    difference = found = _largest([values[order] for values in _values(packed)], _values(separate))
    tolerance, reason = PACKING_TOLERANCE[decoder.dtype], f"relative difference {difference:.1e}"
    if difference > tolerance and decoder.dtype != torch.float32:
        exact = _exactly(decoder, row, apart.trees, order)
        reason += f", in float32 {exact:.1e}"
        difference, tolerance = exact, PACKING_TOLERANCE[torch.float32]
    scored = [
        (int(subset[view].example[index]), row) for row, ((view, index),) in enumerate(apart.members)
        if view == SCORED_VIEW
    ]  # fmt: skip
    return Check(
        packed=difference <= tolerance and leaked == 0,
        **sample,
        relative_difference=_finite(found),
        **_compared(packed.log_probability[order], separate.log_probability, scored),
        reason=LEAK.format(leaked) if leaked else reason,
    )


def _separately(decoder: Decoder, trees: Sequence[Tree]) -> Features:
    """Features of texts that share no pass.

    Raises:
        ModelError: memory does not suffice, or all texts have values that are not finite.
    """
    name = type(decoder.model).__name__
    try:
        separate = Features.joined([
            decoder.read_separately(pack(Batch(len(tree), ((i,),)), trees)) for i, tree in enumerate(trees)
        ])  # fmt: skip
    except torch.OutOfMemoryError:
        raise too_large(name, max(map(len, trees))) from None
    if not _has_numbers(separate):
        raise ModelError(
            f"{name}: no text of the self-test has features that are all finite numbers; its weights are damaged, or "
            "overflow in this arithmetic; take other weights or another dtype"
        )
    return separate


def _exactly(decoder: Decoder, row: PackedBatch, trees: Sequence[Tree], order: Sequence[int]) -> float:
    """The largest relative difference with the model's weights in float32; infinite where memory does not hold them.

    In bfloat16 a deep model may round further apart than the tolerance, be it packed or padded; in float32 it is seen
    whether a mask or a position is wrong.
    """
    try:
        with decoder.widened():
            packed, separate = decoder.read(row), _separately(decoder, trees)
    except (RuntimeError, TypeError, ModelError):  # memory, or quantized weights, which stay as they are
        return float("inf")
    return _largest([values[order] for values in _values(packed)], _values(separate))


def _compared(packed: torch.Tensor, separate: torch.Tensor, scored: list[tuple[int, int]]) -> dict[str, Any]:
    """How far the scores of both ways are apart, and how many decisions that changes.

    Args:
        packed: log-probability of each text in a packed pass, float64 (texts,).
        separate: likewise in passes of their own.
        scored: example and row of each text whose log-probability decides.
    """
    both = packed.cpu().numpy(), separate.cpu().numpy()
    decisions = [_first_is_better(values, scored) for values in both]
    return {
        "log_probability_difference": _finite(float(np.abs(both[0] - both[1]).max())) if scored else None,
        "decisions": len(decisions[0]),
        "decisions_changed": int(np.sum(decisions[0] != decisions[1])),
    }


def _chosen(forest: Forest, whole: bool) -> list[int]:
    """Trees of the sample, ascending."""
    by_size = sorted(range(len(forest.trees)), key=lambda tree: _length(forest.trees[tree]))
    return sorted({by_size[-1], by_size[len(by_size) // 2]} if whole else {by_size[-1]})


def _length(tree: Tree) -> int:
    """Tokens of a tree's longest text."""
    return int(tree.depth.max()) + 1


def leak(read: Callable[[PackedBatch], Sequence[torch.Tensor]], batch: PackedBatch) -> float:
    """How far values of a row's last texts move when all other texts have other tokens; 0 where packing is right.

    The row keeps its layout, so that a model without leaks repeats every rounding: even one bit that moves came from
    another text. Experts are left out, since they round by how many tokens visit them.

    Args:
        read: values of the texts of a packed batch, each (T, ...).
        batch: one row.

    Returns:
        Largest relative difference, see ``relative_difference``.
    """
    changed, kept = _with_other_texts(batch)
    with _without_experts():
        before, after = read(batch), read(changed)
    moved = _largest([a[kept] for a in after], [b[kept] for b in before])
    return 0.0 if moved <= SUMMATION else moved


def _with_other_texts(batch: PackedBatch) -> tuple[PackedBatch, list[int]]:
    """The row with other tokens wherever none of the kept texts is read: the latter half of the last tree's texts."""
    tokens, end, node = batch.tokens[0], batch.end[0], np.arange(batch.tokens.shape[1])
    in_order = np.argsort(batch.last, kind="stable")
    root = np.argmax(end > batch.last[in_order[-1]])
    of_last_tree = [int(text) for text in in_order if batch.last[text] >= root]
    kept = of_last_tree[-max(1, len(of_last_tree) // 2) :]
    read = np.any([(node <= last) & (last < end) for last in batch.last[kept]], axis=0)
    # Tokens of the row itself: others may stand for an image, or be padding.
    known, which = np.unique(tokens, return_inverse=True)
    other = known[(which + 1) % len(known)]
    return replace(batch, tokens=np.where(read, tokens, other)[None]), kept


@contextmanager
def _without_experts() -> Iterator[None]:
    """Experts of every model give back what they are given."""

    def unchanged(module: torch.nn.Module, args: tuple, kwargs: dict, output: object) -> object:
        given = next(iter((*args, *kwargs.values())), None)
        alike = isinstance(output, torch.Tensor) and isinstance(given, torch.Tensor) and given.shape == output.shape
        return given if type(module).__name__.endswith("Experts") and alike else output

    # A hook may return another output; torch's annotation says None.
    register = torch.nn.modules.module.register_module_forward_hook
    handle = register(unchanged, with_kwargs=True)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


def too_large(name: str, tokens: int) -> ModelError:
    """The error where a device's memory does not hold the pass over this many tokens, which cannot be parted."""
    return ModelError(
        f"{name}: memory does not suffice for one example of {tokens} tokens; use a larger device, device: balanced, "
        "or bfloat16"
    )


def _largest(values: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    """Largest relative difference of values of several kinds; NaN where one is NaN."""
    return float(np.max([relative_difference(a, b) for a, b in zip(values, others, strict=True)]))


def _values(features: Features) -> list[torch.Tensor]:
    return [v for v in (features.heads, features.residual, features.log_probability) if v is not None]


def _has_numbers(features: Features) -> bool:
    """Whether there is a text all of whose values are finite."""
    finite = [values.isfinite().reshape(len(values), -1).all(1) for values in _values(features)]
    return bool(torch.stack(finite).all(0).any())


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _failed(sample: Mapping[str, int], reason: str) -> Check:
    return Check(False, **sample, relative_difference=None, log_probability_difference=None, decisions=0,
                 decisions_changed=0, reason=reason)  # fmt: skip


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
