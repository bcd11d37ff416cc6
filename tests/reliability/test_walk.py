"""A random walk in two folders that share a cache: after every run its results are those of a clean one."""

from __future__ import annotations

from pathlib import Path

import pytest
import walk
from figures import tell

SEED = 0


@pytest.mark.torture
def test_after_random_edits_kills_and_collections_a_run_gives_what_a_clean_one_gives(tmp_path: Path) -> None:
    seen = walk.walk(tmp_path, SEED, steps=10)
    assert seen["steps"] == 10 and seen["pairs"] > 0
    tell(
        f"random walk, seed {SEED}: {seen['steps']} steps; {seen['pairs']} decisions and the features of "
        f"{seen['stores']} stores as in clean runs, {seen['border']} pairs nearer to ½ than {walk.BORDER:g} decided "
        "otherwise"
    )
