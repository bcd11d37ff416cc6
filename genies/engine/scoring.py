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
from genies.engine.self_test import LEAK, PACKING_TOLERANCE, SHARE, leak, relative_difference
from genies.engine.tokenization import encode
from genies.engine.tokens import shared_prefix
from genies.errors import DataError, ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What a pass gives for T texts: ``scores`` (T,), and the last hidden ``states`` at their last tokens (T, d)."""

    scores: torch.Tensor
    states: torch.Tensor

    @classmethod
    def joined(cls, parts: Sequence[Reading], texts: np.ndarray) -> Reading:
        """Readings of several passes as of one; ``texts`` says which text of it each of theirs is, int (T,)."""
        if len(parts) == 1:
            return parts[0]
        order = torch.as_tensor(np.argsort(texts), device=parts[0].scores.device)
        return cls(torch.cat([part.scores for part in parts])[order], torch.cat([part.states for part in parts])[order])


Read = Callable[[PackedBatch, bool], Reading]
"""A model's pass: over rows of trees if the second argument is true, else over rows of one right-padded text."""
ReadAfter = Callable[[np.ndarray], Callable[[PackedBatch], Reading]]
"""Given tokens, int (length,), passes them once. Returns the pass over rows of trees of which each comes after them."""


@dataclass(frozen=True)
class TextGroup:
    """Texts that are read in one batch, such as the responses to one prompt.

    Attributes:
        tokens: token ids of each text, int (length,).
        score_from: for each text, the position of the first token whose log-probability is summed, or None.
        root: tokens that many groups begin with, int (length,), such as those of few-shot examples; or None.
    """

    tokens: tuple[np.ndarray, ...]
    score_from: tuple[int | None, ...]
    root: np.ndarray | None = None

    @property
    def longest(self) -> int:
        """Tokens of its longest text."""
        return max(map(len, self.tokens))

    def after_root(self) -> int:
        """How many tokens of the root all texts begin with, so that each goes on after them before it is scored."""
        if self.root is None:
            return 0
        limits = [
            len(text) if start is None else start for text, start in zip(self.tokens, self.score_from, strict=True)
        ]
        shared = [shared_prefix(self.root, text) for text in self.tokens]
        return max(0, min(*shared, *(limit - 1 for limit in limits)))


@dataclass(frozen=True)
class _Section:
    """Groups that are read alike: after the same tokens, or after none.

    Attributes:
        members: indices of the groups.
        before: tokens that all of their texts begin with, and that are passed by themselves, int (length,).
    """

    members: list[int]
    before: np.ndarray


def encode_closed(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], eos_token: int) -> list[np.ndarray]:
    """Token ids of each text with EOS at its end, once where the tokenizer sets it by itself, int32 (length,)."""
    ids = encode(tokenizer, texts)
    return [np.array(text if text[-1:] == [eos_token] else [*text, eos_token], np.int32) for text in ids]


def check_lengths(groups: Sequence[TextGroup], examples: Sequence[int], context: int | None, spare: int = 0) -> None:
    """Raise DataError where a text, and ``spare`` positions before it, do not fit into the model's context."""
    for group, example in zip(groups, examples, strict=True):
        longest = group.longest + spare
        if context is not None and longest > context:
            raise DataError(
                f"example {example}: {longest} tokens exceed the model's context of {context}; leave the example out "
                "or use a model with a longer context"
            )


def lay_out(
    groups: Sequence[TextGroup],
    batch_tokens: int,
    eos_token: int,
    packed: bool,
    before: int = 0,
    attention_cost: float = 0.0,
) -> Iterator[tuple[list[int], PackedBatch]]:
    """Batches of at most ``batch_tokens`` tokens, padding counted, in which each group is whole.

    Args:
        groups: what is laid out.
        batch_tokens: tokens of a batch.
        eos_token: id of the end-of-sequence token.
        packed: whether texts of a group, and several groups, share a row.
        before: tokens that all packed texts begin with, and that the rows leave out.
        attention_cost: as ``plan_batches`` takes it.

    Yields:
        The groups of the batch, by index, and their arrays: texts in the order of the groups, then of ``tokens``.
    """
    if not packed:
        yield from _one_text_per_row(groups, batch_tokens, eos_token)
        return
    trees = [build_tree(group.tokens, group.score_from, eos_token, before) for group in groups]
    for batch in plan_batches([len(tree) for tree in trees], batch_tokens, attention_cost=attention_cost):
        yield batch.trees, pack(batch, trees)


def _one_text_per_row(
    groups: Sequence[TextGroup], batch_tokens: int, eos_token: int
) -> Iterator[tuple[list[int], PackedBatch]]:
    width = {index: group.longest for index, group in enumerate(groups)}
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


PACKED, ROOTED = "packed", "rooted"
"""Ways to read rows that a self-test compares with separate passes."""
INSTEAD = {
    PACKED: "one text per row, padded on the right",
    ROOTED: "roots passed anew with every text",
}
"""What is done instead where they differ."""


class Scorer:
    """Reads scores of groups of texts, packed where a self-test on some of these texts allows it.

    Groups with a common root are read after it: its keys and values are computed once for all of them. The self-tests
    are repeated where they cost little, and wherever texts are longer than any that was tested: a model with a sliding
    window packs well until texts are longer than that.
    """

    def __init__(
        self,
        read: Read,
        eos_token: int,
        batch_tokens: int,
        dtype: torch.dtype,
        can_pack: bool = True,
        read_after: ReadAfter | None = None,
        attention_cost: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            read: the model's pass.
            eos_token: id of the end-of-sequence token.
            batch_tokens: tokens of one pass.
            dtype: type of the model's arithmetic.
            can_pack: False where it is known that only separate rows can be right.
            read_after: the model's pass after other tokens; None if it has none, so that roots are passed every time.
            attention_cost: as ``plan_batches`` takes it.
        """
        self._read = read
        self._eos_token = eos_token
        self._batch_tokens = batch_tokens
        self._tolerance = PACKING_TOLERANCE[dtype]
        self._can_pack = can_pack
        self._read_after = read_after
        self._attention_cost = attention_cost
        self._right_up_to: dict[str, int] = {}
        self._said: dict[str, bool] = {}
        self._known: tuple[np.ndarray, Callable[[PackedBatch], Reading]] | None = None

    @torch.inference_mode()
    def scores(self, groups: Sequence[TextGroup], label: str) -> np.ndarray:
        """Scores of all texts, one group after the other, float64 (texts,). The progress bar shows ``label``.

        Raises:
            ModelError: memory does not suffice for a pass.
        """
        starts = np.cumsum([0, *(len(group.tokens) for group in groups)])
        scores = np.zeros(starts[-1])
        with tqdm(total=len(scores), desc=label, unit="text", mininterval=2, dynamic_ncols=True) as progress:
            for section in self._sections(groups):
                for members, rewards in self._section_scores(groups, section):
                    here = np.concatenate([np.arange(starts[m], starts[m + 1]) for m in members])
                    scores[here] = rewards.double().cpu().numpy()
                    progress.update(len(here))
        self._known = None
        return scores

    def may_pack(self, groups: Sequence[TextGroup]) -> bool:
        """Whether rows may be packed: tried on the groups with the shortest, the median and the longest text."""
        if not groups or not self._can_pack:
            return False
        return self._agrees(PACKED, groups, lambda batch: self._read(batch, True), 0)

    def _section_scores(
        self, groups: Sequence[TextGroup], section: _Section
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Scores of a section batch by batch, after the indices of the batch's groups."""
        chosen = [groups[member] for member in section.members]
        length = len(section.before)
        packed = length > 0 or self.may_pack(chosen)
        read = self._after(section.before) if length else lambda batch: self._read(batch, packed)
        for rows, batch in lay_out(chosen, self._batch_tokens, self._eos_token, packed, length, self._attention_cost):
            yield [section.members[row] for row in rows], _with_memory(read, batch).scores

    def _sections(self, groups: Sequence[TextGroup]) -> list[_Section]:
        """The groups of each root that may be read after it, and all others."""
        by_root: dict[bytes, list[int]] = {}
        for index, group in enumerate(groups):
            if group.root is not None:
                by_root.setdefault(group.root.tobytes(), []).append(index)
        sections = []
        for members in by_root.values() if self._read_after and self._can_pack else ():
            length = min(groups[member].after_root() for member in members)
            if length and len(members) > 1:
                sections.append(_Section(members, groups[members[0]].tokens[0][:length]))
        # The one with the longest text comes first: it is tried, and what comes before it is then known.
        sections.sort(key=lambda section: -max(groups[member].longest for member in section.members))
        if sections and not self._may_follow(groups, sections):
            sections = []
        rest = set(range(len(groups))).difference(*(section.members for section in sections))
        none = np.zeros(0, np.int32)
        return [*sections, *([_Section(sorted(rest), none)] if rest else [])]

    def _may_follow(self, groups: Sequence[TextGroup], sections: Sequence[_Section]) -> bool:
        """Whether groups may be read after their roots: tried on the first section."""
        chosen = [groups[member] for member in sections[0].members]
        before = sections[0].before
        total = sum(sum(map(len, groups[member].tokens)) for section in sections for member in section.members)
        return self._agrees(ROOTED, chosen, lambda batch: self._after(before)(batch), len(before), total)

    def _after(self, tokens: np.ndarray) -> Callable[[PackedBatch], Reading]:
        """The pass after these tokens; those that were asked for last are known."""
        assert self._read_after is not None
        if self._known is None or not np.array_equal(self._known[0], tokens):
            self._known = None  # its memory is free before the next one is made
            self._known = tokens, self._read_after(tokens)
        return self._known[1]

    def _agrees(
        self, way: str, groups: Sequence[TextGroup], read: Callable[[PackedBatch], Reading], before: int, total: int = 0
    ) -> bool:
        """Whether a way of reading rows gives what passes over single texts give, or gave for texts as long."""
        by_length = sorted(range(len(groups)), key=lambda index: groups[index].longest)
        # After a root every single text is as long as the root and itself, so one example less is passed.
        ranks = (0, -1) if before else (0, len(groups) // 2, -1)
        sample = [groups[index] for index in sorted({by_length[rank] for rank in ranks})]
        longest = max(group.longest for group in sample)
        cost = sum(len(text) for group in sample for text in group.tokens)
        if longest <= self._right_up_to.get(way, 0) and cost > SHARE * total:
            return True
        wrong, told = self._compared(sample, read, before)
        if wrong:
            self._right_up_to.pop(way, None)
        else:
            self._right_up_to[way] = max(longest, self._right_up_to.get(way, 0))
        if self._said.get(way) is not wrong:
            self._said[way] = wrong
            if wrong:
                log.warning("self-test: %s and separate passes differ (%s); going on with %s", way, told, INSTEAD[way])
            else:
                log.info("self-test: %s and separate passes agree (%s)", way, told)
        return not wrong

    @torch.inference_mode()
    def _compared(
        self, groups: Sequence[TextGroup], read: Callable[[PackedBatch], Reading], before: int
    ) -> tuple[bool, str]:
        """Whether the states of the groups' texts are wrong in one packed pass, and what was found, in words."""
        trees = [build_tree(group.tokens, group.score_from, self._eos_token, before) for group in groups]
        row = pack(Batch(sum(map(len, trees)), (tuple(range(len(trees))),)), trees)
        try:
            together = read(row).states
            leaked = leak(lambda batch: [read(batch).states], row)
        except torch.OutOfMemoryError:
            if len(groups) == 1:
                return True, f"memory does not suffice for a row of {row.tokens.size} tokens"
            return max(self._compared([group], read, before) for group in groups)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            return True, f"{type(error).__name__}: {first_line(error)}"
        alone = [
            _with_memory(lambda batch: self._read(batch, False), pack(Batch(len(tree), ((0,),)), [tree])).states
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


def _with_memory(read: Callable[[PackedBatch], Reading], batch: PackedBatch) -> Reading:
    try:
        return read(batch)
    except torch.OutOfMemoryError:
        raise ModelError(
            f"memory does not suffice for a pass over {batch.tokens.size} tokens; lower batch_tokens, or use a "
            "larger device or bfloat16"
        ) from None
