"""Token trees hold every text once per distinct prefix, and plans lay every tree exactly once."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.engine.forest import Batch, Tree, build_tree, pack, plan_batches

EOS = 9
texts_strategy = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=8)


def path_to(tree: Tree, node: int) -> list[int]:
    """Tokens from the root to a node, by the ancestor rule that the attention mask uses."""
    return [int(tree.tokens[j]) for j in range(node + 1) if node < tree.end[j]]


def as_arrays(texts: list[list[int]]) -> list[np.ndarray]:
    return [np.array(text, np.int32) for text in texts]


@given(texts_strategy)
def test_the_ancestors_of_a_texts_last_node_spell_the_text(texts: list[list[int]]) -> None:
    tree = build_tree(as_arrays(texts), [None] * len(texts), EOS)
    assert [path_to(tree, node) for node in tree.last] == texts


@given(texts_strategy)
def test_a_tree_has_one_node_per_distinct_prefix_at_its_depth(texts: list[list[int]]) -> None:
    tree = build_tree(as_arrays(texts), [None] * len(texts), EOS)
    prefixes = {tuple(text[: n + 1]) for text in texts for n in range(len(text))}
    nodes = [tuple(path_to(tree, node)) for node in range(len(tree))]
    assert sorted(nodes) == sorted(prefixes)
    assert [len(node) - 1 for node in nodes] == tree.depth.tolist()


@given(texts_strategy, st.integers(0, 8))
def test_scores_name_each_token_after_its_predecessor_and_end_with_eos(texts: list[list[int]], start: int) -> None:
    tree = build_tree(as_arrays(texts), [start] * len(texts), EOS)
    for index, text in enumerate(texts):
        mine = tree.score_text == index
        scored = [
            (path_to(tree, node), int(token))
            for node, token in zip(tree.score_node[mine], tree.score_token[mine], strict=True)
        ]
        full = [*text, EOS]
        first = min(max(1, start), len(text))
        assert scored == [(text[:position], full[position]) for position in range(first, len(full))]


def test_a_text_that_ends_with_eos_is_not_scored_for_a_second_one() -> None:
    tree = build_tree([np.array([1, 2, EOS])], [1], EOS)
    assert tree.score_token.tolist() == [2, EOS]


@settings(max_examples=60)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=60), st.integers(1, 300), st.booleans())
def test_a_plan_lays_every_tree_once_within_its_width_and_budget(sizes: list[int], budget: int, share: bool) -> None:
    plan = plan_batches(sizes, budget, share)
    assert sorted(tree for batch in plan for tree in batch.trees) == list(range(len(sizes)))
    for batch in plan:
        assert all(sum(sizes[tree] for tree in row) <= batch.width for row in batch.rows)
        assert batch.computed_tokens <= max(budget, batch.width)
        assert share or all(len(row) == 1 for row in batch.rows)


def test_planning_takes_as_long_per_tree_however_many_there_are() -> None:
    def seconds(count: int) -> float:
        sizes = np.random.default_rng(0).integers(40, 80, count).tolist()
        begin = time.process_time()
        plan_batches(sizes, 4096, attention_cost=1 / 192)
        return time.process_time() - begin

    few, many = min(seconds(4_000) for _ in range(3)), seconds(32_000)
    assert many / 32_000 <= 4 * few / 4_000


def test_trees_in_one_row_do_not_see_each_other() -> None:
    texts = as_arrays([[1, 2], [1, 3], [2]])
    trees = [build_tree(texts[:2], [None, None], EOS), build_tree(texts[2:], [None], EOS)]
    packed = pack(Batch(4, ((0, 1),)), trees)
    width = packed.tokens.shape[1]
    for flat, text in zip(packed.last, texts, strict=True):
        row, node = divmod(int(flat), width)
        seen = [j for j in range(node + 1) if node < packed.end[row, j]]
        assert packed.tokens[row, seen].tolist() == text.tolist()
        assert packed.position[row, seen].tolist() == list(range(len(text)))
