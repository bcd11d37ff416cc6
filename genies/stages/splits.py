"""The splits of a run by the names of their distributions, and their pairs as an intervention reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.data.options import Split
from genies.data.reading import SplitPairs, read_test, read_training
from genies.data.wordings import wording
from genies.interventions.base import Intervention
from genies.making import data_roles
from genies.stages.stored import stored_pairs
from genies.store.manifest import Activations
from genies.store.pairs import StoredPairs


class Splits:
    """Splits of a run, each read once.

    Attributes:
        extracted: what is stored of them.
    """

    def __init__(self, train: Sequence[Path], test: Sequence[Path], activations: Sequence[Path], cache: Path) -> None:
        """Remember where they are.

        Args:
            train: ``<distribution>/train.json`` files.
            test: ``<distribution>/test.json`` files.
            activations: manifests of ``genies extract``; they say how splits are read.
            cache: the cache folder.
        """
        self.extracted = Activations(activations, cache)
        self._files: dict[Split, dict[str, Path]] = {
            "train": {file.parent.name: file for file in data_roles(train).values()},
            "test": {file.parent.name: file for file in data_roles(test).values()},
        }
        self._read: dict[tuple[str, Split], SplitPairs] = {}

    def names(self, split: Split) -> list[str]:
        """The distributions whose training or test splits were given."""
        return [*self._files[split]]

    def __call__(self, name: str, split: Split) -> SplitPairs:
        """The pairs of a split."""
        if (name, split) not in self._read:
            read = read_training if split == "train" else read_test
            left_out = self.extracted.left_out(name, split)
            self._read[name, split] = read(self._files[split][name], self.extracted.reading, left_out)
        return self._read[name, split]

    def stored(
        self, intervention: Intervention, name: str, split: Split, labelled: bool = False, wording_number: int = 0
    ) -> StoredPairs:
        """The same with their features.

        Args:
            intervention: what reads them.
            name: of the distribution.
            split: which one.
            labelled: whether labels are given.
            wording_number: the intervention finds under the names of its views the features of that wording of them.
        """
        views = intervention.fit_views if split == "train" else intervention.predict_views
        named = {view: wording(view, wording_number) for view in views}
        found = self.extracted.stores(name, split, named.values())
        stores = {view: found[worded] for view, worded in named.items()}
        return stored_pairs(intervention, self(name, split), stores, labelled)
