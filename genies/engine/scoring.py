"""Scores of texts by a model: the texts of an example in one packed row where the model allows, else a row for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from genies.engine.forest import Batch, PackedBatch, build_tree, pack, plan_batches
from genies.engine.self_test import LEAK, PACKING_TOLERANCE, leak, relative_difference
from genies.engine.tokenization import encode
from genies.errors import DataError, ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What a pass gives for T texts: ``scores`` (T,), and the last hidden ``states`` at their last tokens (T, d)."""

    scores: torch.Tensor
    states: torch.Tensor


Read = Callable[[PackedBatch, bool], Reading]
"""A model's pass: over rows of trees if the second argument is true, else over rows of one right-padded text."""


@dataclass(frozen=True)
class TextGroup:
    """Texts that are read in one batch, such as the responses to one prompt.

    Attributes:
        tokens: token ids of each text, int (length,).
        score_from: for each text, the position of the first token whose log-probability is summed, or None.
    """

    tokens: tuple[np.ndarray, ...]
    score_from: tuple[int | None, ...]


def encode_closed(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], eos_token: int) -> list[np.ndarray]:
    """Token ids of each text with EOS at its end, once where the tokenizer sets it by itself, int32 (length,)."""
    ids = encode(tokenizer, texts)
    return [np.array(text if text[-1:] == [eos_token] else [*text, eos_token], np.int32) for text in ids]


def check_lengths(groups: Sequence[TextGroup], examples: Sequence[int], context: int | None, spare: int = 0) -> None:
    """Raise DataError where a text, and ``spare`` positions before it, do not fit into the model's context."""
    for group, example in zip(groups, examples, strict=True):
        longest = max(map(len, group.tokens)) + spare
        if context is not None and longest > context:
            raise DataError(
                f"example {example}: {longest} tokens exceed the model's context of {context}; leave the example out "
                "or use a model with a longer context"
            )


def lay_out(
    groups: Sequence[TextGroup], batch_tokens: int, eos_token: int, packed: bool
) -> Iterator[tuple[list[int], PackedBatch]]:
    """Batches of at most ``batch_tokens`` tokens, padding counted, in which each group is whole.

    Yields:
        The groups of the batch, by index, and their arrays: texts in the order of the groups, then of ``tokens``.
    """
    if not packed:
        yield from _one_text_per_row(groups, batch_tokens, eos_token)
        return
    trees = [build_tree(group.tokens, group.score_from, eos_token) for group in groups]
    for batch in plan_batches([len(tree) for tree in trees], batch_tokens):
        yield batch.trees, pack(batch, trees)


def _one_text_per_row(
    groups: Sequence[TextGroup], batch_tokens: int, eos_token: int
) -> Iterator[tuple[list[int], PackedBatch]]:
    width = {index: max(map(len, group.tokens)) for index, group in enumerate(groups)}
    waiting = sorted(width, key=lambda index: (width[index], -index))
    while waiting:
        members = [waiting.pop()]
        rows = len(groups[members[0]].tokens)
        while waiting and (rows + len(groups[waiting[-1]].tokens)) * width[members[0]] <= batch_tokens:
            members.append(waiting.pop())
            rows += len(groups[members[-1]].tokens)
        trees = [
            build_tree([tokens], [start], eos_token)
            for member in members
            for tokens, start in zip(groups[member].tokens, groups[member].score_from, strict=True)
        ]
        yield members, pack(Batch(width[members[0]], tuple((row,) for row in range(rows))), trees)


class Scorer:
    """Reads scores of groups of texts, packed where a self-test on these very texts allows it.

    The test is repeated for each set of groups: a model with a sliding window packs well until texts are longer.
    """

    def __init__(
        self, read: Read, eos_token: int, batch_tokens: int, dtype: torch.dtype, can_pack: bool = True
    ) -> None:
        """Prepare.

        Args:
            read: the model's pass.
            eos_token: id of the end-of-sequence token.
            batch_tokens: tokens of one pass.
            dtype: type of the model's arithmetic.
            can_pack: False where it is known that only separate rows can be right.
        """
        self._read = read
        self._eos_token = eos_token
        self._batch_tokens = batch_tokens
        self._tolerance = PACKING_TOLERANCE[dtype]
        self._can_pack = can_pack
        self._wrong_before: bool | None = None

    @torch.inference_mode()
    def scores(self, groups: Sequence[TextGroup], label: str) -> np.ndarray:
        """Scores of all texts, one group after the other, float64 (texts,). ``label`` stands on the progress bar.

        Raises:
            ModelError: memory does not suffice for a pass.
        """
        starts = np.cumsum([0, *(len(group.tokens) for group in groups)])
        scores = np.zeros(starts[-1])
        packed = self.may_pack(groups)
        with tqdm(total=len(scores), desc=label, unit="text", mininterval=2, dynamic_ncols=True) as progress:
            for members, batch in lay_out(groups, self._batch_tokens, self._eos_token, packed):
                here = np.concatenate([np.arange(starts[m], starts[m + 1]) for m in members])
                scores[here] = self._read_whole(batch, packed).scores.double().cpu().numpy()
                progress.update(len(here))
        return scores

    def may_pack(self, groups: Sequence[TextGroup]) -> bool:
        """Whether rows may be packed: tried on the groups with the shortest, the median and the longest text."""
        if not groups or not self._can_pack:
            return False
        by_length = sorted(range(len(groups)), key=lambda g: max(map(len, groups[g].tokens)))
        sample = [groups[g] for g in sorted({by_length[0], by_length[len(by_length) // 2], by_length[-1]})]
        wrong, told = self._packing(sample)
        if wrong != self._wrong_before:
            self._wrong_before = wrong
            if wrong:
                log.warning(
                    "self-test: packed and separate passes differ (%s); going on with one text per row, padded on the "
                    "right",
                    told,
                )
            else:
                log.info("self-test: packed and separate passes agree (%s)", told)
        return not wrong

    @torch.inference_mode()
    def _packing(self, groups: Sequence[TextGroup]) -> tuple[bool, str]:
        """Whether the states of the groups' texts are wrong in one packed pass, and what was found, in words."""
        trees = [build_tree(group.tokens, group.score_from, self._eos_token) for group in groups]
        row = pack(Batch(sum(map(len, trees)), (tuple(range(len(trees))),)), trees)
        try:
            together = self._read(row, True).states
            leaked = leak(lambda batch: [self._read(batch, True).states], row)
        except torch.OutOfMemoryError:
            if len(groups) == 1:
                return True, f"memory does not suffice for a row of {row.tokens.size} tokens"
            return max(self._packing([group]) for group in groups)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            return True, f"{type(error).__name__}: {first_line(error)}"
        alone = [
            self._read_whole(pack(Batch(len(tree), ((0,),)), [tree]), packed=False).states
            for group in groups
            for tree in (
                build_tree([tokens], [start], self._eos_token)
                for tokens, start in zip(group.tokens, group.score_from, strict=True)
            )
        ]
        difference = relative_difference(together, torch.cat(alone))
        return not difference <= self._tolerance or leaked != 0, (
            LEAK.format(leaked) if leaked else f"relative difference {difference:.1e}"
        )

    def _read_whole(self, batch: PackedBatch, packed: bool) -> Reading:
        try:
            return self._read(batch, packed)
        except torch.OutOfMemoryError:
            raise ModelError(
                f"memory does not suffice for a pass over {batch.tokens.size} tokens; lower batch_tokens, or use a "
                "larger device or bfloat16"
            ) from None
