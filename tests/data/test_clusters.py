"""Examples with one prompt are one cluster, unless the prompt is an instruction of the whole distribution."""

from __future__ import annotations

import pytest

from genies.data.clusters import instructions, prompt_clusters


def test_examples_with_one_prompt_are_one_cluster() -> None:
    assert prompt_clusters(["a", "b", "a", "c", "b"]).tolist() == [0, 1, 0, 3, 1]
    assert prompt_clusters([]).tolist() == []


@pytest.mark.parametrize(
    ("sharing", "examples", "shared"), [(850, 850, True), (6, 100, True), (5, 100, False), (5, 5, True), (4, 4, False)]
)
def test_what_more_than_a_twentieth_shares_is_an_instruction(sharing: int, examples: int, shared: bool) -> None:
    prompts = ["the same"] * sharing + [f"p{n}" for n in range(examples - sharing)]
    assert instructions(prompts) == ({"the same"} if shared else set())
    assert len(set(prompt_clusters(prompts).tolist())) == (examples if shared else examples - sharing + 1)
