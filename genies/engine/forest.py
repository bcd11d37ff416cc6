"""Token trees: the texts of one example as one tree of tokens, and trees packed into rows of a batch.

All responses of an example share their prompt, and the views of a response share prompt and response. Stored as a
tree in depth-first order, each distinct prefix is computed once in one forward pass. A token may attend to its
ancestors alone; in depth-first order node ``j`` is an ancestor of node ``i`` (or ``i`` itself) exactly when
``j <= i < end[j]``, where ``end[j]`` is the index after the last node below ``j``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genies.engine.tokens import SCORED_VIEW, Tokens, shared_prefix

ROW_WIDTHS = (1, 1.25, 1.5, 2, 3, 4)
"""Widths of rows that are tried, as multiples of the largest tree."""


@dataclass(frozen=True)
class Tree:
    """A token tree of m nodes over the n texts of one example.

    Attributes:
        tokens: token ids, int32 (m,), depth-first.
        depth: position of each node in its text, int32 (m,).
        end: index after the last node below each node, int32 (m,).
        last: node of each text's last token, int32 (n,).
        score_text, score_node, score_token: int32 (s,): for text ``score_text[i]`` the log-probability of
            ``score_token[i]`` after node ``score_node[i]`` is to be summed.
    """

    tokens: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    last: np.ndarray
    score_text: np.ndarray
    score_node: np.ndarray
    score_token: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)


def build_tree(texts: Sequence[np.ndarray], score_from: Sequence[int | None], eos_token: int, before: int = 0) -> Tree:
    """Merge texts that share prefixes into one tree.

    Args:
        texts: token ids of each text, int (length,), none empty.
        score_from: for each text, the position of the first token whose log-probability is summed up to and including
            EOS; None for texts that are not scored. Position 0 has nothing before it and is never scored.
        eos_token: id of the end-of-sequence token, scored after each text's last token unless that is EOS itself.
        before: how many tokens, the same of all texts, the tree leaves out: a pass knows their keys and values. Each
            text is longer, and none is scored before the position after them.
    """
    texts = [text[before:] for text in texts]
    score_from = [None if start is None else start - before for start in score_from]
    order = sorted(range(len(texts)), key=lambda t: texts[t].tolist())
    path = np.zeros(max(len(text) for text in texts), np.int32)
    previous = np.zeros(0, np.int32)
    tokens, depth, size = [], [], 0
    end = np.zeros(sum(len(text) for text in texts), np.int32)
    last = np.zeros(len(texts), np.int32)
    scores: list[np.ndarray] = []
    for index in order:
        text = np.asarray(texts[index], np.int32)
        shared = shared_prefix(previous, text)
        end[path[shared : len(previous)]] = size
        new = len(text) - shared
        path[shared : len(text)] = np.arange(size, size + new)
        tokens.append(text[shared:])
        depth.append(np.arange(shared, len(text), dtype=np.int32))
        size += new
        last[index] = path[len(text) - 1]
        if (start := score_from[index]) is not None:
            scores.append(_scores(index, text, path, min(max(1, start), len(text)), eos_token))
        previous = text
    end[path[: len(previous)]] = size
    score = np.concatenate(scores, axis=1) if scores else np.zeros((3, 0), np.int32)
    return Tree(np.concatenate(tokens), np.concatenate(depth) + np.int32(before), end[:size], last, *score)


def _scores(index: int, text: np.ndarray, path: np.ndarray, start: int, eos_token: int) -> np.ndarray:
    scored = text[start:] if text[-1] == eos_token else np.append(text[start:], eos_token)
    nodes = path[start - 1 : start - 1 + len(scored)]
    return np.stack([np.full(len(scored), index), nodes, scored]).astype(np.int32)


@dataclass(frozen=True)
class Forest:
    """Trees, and for each tree the (view, index into the view's tokens) of its texts, in the order of ``Tree.last``."""

    trees: list[Tree]
    members: list[list[tuple[str, int]]]


def build_forest(tokens: Mapping[str, Tokens], eos_token: int, merge: bool = True) -> Forest:
    """One tree per example over its texts of all views, or (without ``merge``) one tree per text."""
    groups: dict[tuple, list[tuple[str, int]]] = {}
    for view, table in tokens.items():
        for index, example in enumerate(table.example.tolist()):
            groups.setdefault((example,) if merge else (view, index), []).append((view, index))
    trees = [
        build_tree(
            [tokens[view].text(index) for view, index in group],
            [int(tokens[view].prompt_tokens[index]) if view == SCORED_VIEW else None for view, index in group],
            eos_token,
        )
        for group in groups.values()
    ]
    return Forest(trees, list(groups.values()))


@dataclass(frozen=True)
class Batch:
    """Trees laid into rows of equal width: ``rows[r]`` lists the trees of row r, left to right."""

    width: int
    rows: tuple[tuple[int, ...], ...]

    @property
    def trees(self) -> list[int]:
        """Every tree of the batch in the order of its rows."""
        return [tree for row in self.rows for tree in row]

    @property
    def computed_tokens(self) -> int:
        """Tokens that pass through the model, padding counted."""
        return self.width * len(self.rows)


def attention_cost(hidden: int, trained: bool = False) -> float:
    """What ``plan_batches`` asks for of a transformer of usual proportions.

    Args:
        hidden: width of the residual stream.
        trained: whether gradients pass back through frozen weights: these then multiply twice as often, attention three
            and a half times (its weights are computed again).
    """
    return (3.5 / 2 if trained else 1.0) / (6 * hidden)


def plan_batches(
    sizes: Sequence[int], batch_tokens: int, share_rows: bool = True, attention_cost: float = 0.0
) -> list[Batch]:
    """Lay trees into batches of at most ``batch_tokens`` tokens (a larger tree gets a batch of its own).

    A row is filled with its largest tree and what smaller ones fit beside it. A batch is as wide as the largest tree
    that is left, or wider where the padding that this saves weighs more than the attention that it costs. The plan
    depends on its arguments alone, so that a resumed extraction computes the same rows.

    Args:
        sizes: nodes of each tree.
        batch_tokens: tokens of a batch, padding counted.
        share_rows: without it each row holds one tree, and rows of like length come together.
        attention_cost: work of a token's attention to one other, as a share of the work of all that is done with the
            token by itself; see ``attention_cost``.
    """
    left = _Left(sizes)
    batches = []
    while left.total:
        largest = left.sizes[-1]
        ways: list[tuple[float, Batch, _Left]] = []
        for factor in ROW_WIDTHS if share_rows else (1,):
            width = round(factor * largest)
            if ways and width > batch_tokens:
                break
            # No more rows than what is left fills.
            count = max(1, min(batch_tokens // width, -(-left.total // width)))
            rest = left.copy()
            rows = _fill_rows(rest, width, count, share_rows)
            batch = _narrowed(rows, sizes)
            used = left.total - rest.total
            ways.append((batch.computed_tokens * (1 + attention_cost * batch.width) / used, batch, rest))
        _, batch, left = min(ways, key=lambda way: way[0])  # the narrowest of equals
        batches.append(batch)
    return batches


class _Left:
    """Trees that no batch has yet, by their sizes; of equal ones the first is taken first.

    A copy shares the lists of trees: it has its own counts of how many of a size are taken. So what a batch costs
    depends on how many sizes there are, not on how many trees.

    Attributes:
        sizes: of the trees that are left, each once, ascending.
        total: nodes of all of them.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._trees: dict[int, list[int]] = {}
        for tree, size in enumerate(sizes):
            self._trees.setdefault(size, []).append(tree)
        self._taken = dict.fromkeys(self._trees, 0)
        self.sizes = sorted(self._trees)
        self.total = sum(sizes)

    def copy(self) -> _Left:
        """The same trees, to be taken apart from these."""
        other = _Left(())
        other._trees, other._taken = self._trees, dict(self._taken)
        other.sizes, other.total = list(self.sizes), self.total
        return other

    def take(self, most: int) -> tuple[int, int] | None:
        """The first of the largest trees of at most so many nodes, and its size; None where there is none."""
        place = bisect_right(self.sizes, most) - 1
        if place < 0:
            return None
        size = self.sizes[place]
        tree = self._trees[size][self._taken[size]]
        self._taken[size] += 1
        self.total -= size
        if self._taken[size] == len(self._trees[size]):
            del self.sizes[place]
        return tree, size


def _fill_rows(left: _Left, width: int, count: int, share: bool) -> tuple[tuple[int, ...], ...]:
    """Up to ``count`` rows, each of the largest trees that fit; they are taken from those that are left."""
    rows = []
    for _ in range(count):
        row: list[int] = []
        free = width
        while (share or not row) and (taken := left.take(free)):
            row.append(taken[0])
            free -= taken[1]
        if row:
            rows.append(tuple(row))
    return tuple(rows)


def halves(batch: Batch, sizes: Sequence[int]) -> tuple[Batch, Batch] | None:
    """A batch as two with half the rows each, or a row as two with half the trees; None for a single tree.

    Args:
        batch: the batch.
        sizes: nodes of each tree of the plan.
    """
    rows = batch.rows
    if len(rows) == 1:
        if len(rows[0]) == 1:
            return None
        rows = tuple((tree,) for tree in rows[0])
    middle = len(rows) // 2
    first, second = (_narrowed(part, sizes) for part in (rows[:middle], rows[middle:]))
    return first, second


def _narrowed(rows: tuple[tuple[int, ...], ...], sizes: Sequence[int]) -> Batch:
    return Batch(max(sum(sizes[tree] for tree in row) for row in rows), rows)


@dataclass(frozen=True)
class PackedBatch:
    """Arrays of one batch of R rows of width W, whose trees hold T texts.

    Attributes:
        tokens: int64 (R, W), 0 where padded.
        position: depth of each node in its text, int64 (R, W).
        end: index in its row after the last node below each node, int64 (R, W); padding sees itself alone.
        last: flat index (row · W + column) of each text's last token, int64 (T,), texts in the order of the trees.
        score_text, score_node, score_token: int64 (S,), nodes as flat indices, texts as indices into ``last``.
    """

    tokens: np.ndarray
    position: np.ndarray
    end: np.ndarray
    last: np.ndarray
    score_text: np.ndarray
    score_node: np.ndarray
    score_token: np.ndarray


def pack(batch: Batch, trees: Sequence[Tree]) -> PackedBatch:
    """Lay the batch's trees (``trees[i]`` is tree i of the plan) into arrays."""
    shape = (len(batch.rows), batch.width)
    tokens, position = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    end = np.tile(np.arange(1, batch.width + 1), (shape[0], 1))
    last, score_text, score_node, score_token = [], [], [], []
    texts = 0
    for row, members in enumerate(batch.rows):
        column = 0
        for tree in (trees[member] for member in members):
            here = slice(column, column + len(tree))
            tokens[row, here], position[row, here], end[row, here] = tree.tokens, tree.depth, tree.end + column
            flat = row * batch.width + column
            last.append(tree.last + flat)
            score_text.append(tree.score_text + texts)
            score_node.append(tree.score_node + flat)
            score_token.append(tree.score_token)
            column += len(tree)
            texts += len(tree.last)
    joined = (np.concatenate(arrays).astype(np.int64) for arrays in (last, score_text, score_node, score_token))
    return PackedBatch(tokens, position, end, *joined)
