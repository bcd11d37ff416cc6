"""Runs of a tiny model by the stages themselves, several of them over one cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers import save_model, write_distribution

from genies.data.options import Limit, Reading
from genies.engine.options import Extraction
from genies.stages.extract import extract_distributions
from genies.stages.model import pin_model
from genies.stages.tokenize import tokenize_splits


class StagedRuns:
    """A folder with distributions, a model, a cache, and runs of them."""

    def __init__(self, root: Path, names: Sequence[str] = ("north",), train: int = 14, test: int = 14) -> None:
        self.root, self.names, self.cache = root, list(names), root / "cache"
        for number, name in enumerate(names):
            write_distribution(root / "data" / name, train=train, test=test, offset=31 * number)
        save_model(root / "tiny", "llama")

    def extract(
        self,
        run: str,
        views: Sequence[str],
        limit: int | None = None,
        names: Sequence[str] | None = None,
        cache: Path | None = None,
        **extraction: Any,
    ) -> Path:
        """The manifest of what a run's ``pin_model``, ``tokenize_splits`` and ``extract_distributions`` stored."""
        results, cache, names = self.root / "results" / run, cache or self.cache, names or self.names
        model, tokens = results / "models/tiny.json", results / "tokens/tiny.json"
        options = Extraction(device="cpu", **extraction)
        pin_model(str(self.root / "tiny"), cache=cache, output=model)
        tokenize_splits(
            model=model, train=self.files("train", names), test=self.files("test", names), train_views=views,
            test_views=views, reading=Reading(limit=Limit(train=limit, test=limit)), extraction=options, cache=cache,
            output=tokens,
        )  # fmt: skip
        output = results / "activations/tiny/0.json"
        extract_distributions(
            *names, model=model, tokens=tokens, train_views=views, test_views=views, extraction=options, cache=cache,
            output=output,
        )  # fmt: skip
        return output

    def files(self, split: str, names: Sequence[str] | None = None) -> list[Path]:
        """Files of a split of the distributions."""
        return [self.root / "data" / name / f"{split}.json" for name in names or self.names]
