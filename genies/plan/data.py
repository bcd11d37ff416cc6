"""Where the splits of a run lie, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genies.config.sections import Config
from genies.data.archive import published_digests
from genies.data.options import SPLITS, Split
from genies.data.own_scores import own_score
from genies.demo.place import SPLIT_FILES, distribution_names, split_digest
from genies.digests import file_sha256, value_digest
from genies.plan.selection import Selection


class Data:
    """The splits of a run: in folders of the user's, among the demo's or the published data, or in mixtures.

    Attributes:
        own: folders of own distributions by name.
        resources: folder of data that rules place.
    """

    def __init__(self, config: Config, selection: Selection) -> None:
        """Remember the folders."""
        self._config = config
        self._selection = selection
        self.own = {Path(folder).name: Path(folder) for folder in config.distributions}
        self.resources = Path(config.folders.resources)
        self._mixtures = Path(config.folders.results) / config.run / "mixtures"
        self._digests: dict[tuple[str, Split], Any] = {}
        self._files: dict[tuple[str, Split], Path] = {}

    def folder(self, distribution: str) -> Path:
        """Folder of a distribution."""
        if distribution in self.own:
            return self.own[distribution]
        if distribution in self._config.mixtures:
            return self._mixtures / distribution
        origin = "demo" if distribution in distribution_names() else "genies"
        return self.resources / origin / "distributions" / distribution

    def file(self, distribution: str, split: Split) -> Path:
        """File of a split; remembered, since every evaluation asks for those of all its targets."""
        key = distribution, split
        if key not in self._files:
            self._files[key] = self.folder(distribution) / f"{split}.json"
        return self._files[key]

    def train(self, distributions: Iterable[str]) -> list[Path]:
        """Files of training splits."""
        return [self.file(name, "train") for name in distributions]

    def test(self, distributions: Iterable[str]) -> list[Path]:
        """Files of test splits."""
        return [self.file(name, "test") for name in distributions]

    @property
    def splits(self) -> list[tuple[Split, Path]]:
        """Every split that the run reads, and its file; training splits first."""
        train: list[tuple[Split, Path]] = [("train", file) for file in self.train(self._selection.trained_on)]
        return [*train, *(("test", file) for file in self.test(self._selection.tested))]

    @property
    def files(self) -> list[Path]:
        """File of every split that the run reads."""
        return [file for _, file in self.splits]

    @property
    def own_scores(self) -> list[Path]:
        """Test splits of the run that are benchmarks with a score of their own."""
        return [self.file(name, "test") for name in self._selection.tested if own_score(self.folder(name)) is not None]

    def digest(self, split: Split, distributions: Iterable[str]) -> str:
        """Digest of what splits hold, also of those that a rule has not made yet."""
        return value_digest([self._digest(name, split) for name in distributions])

    def _digest(self, distribution: str, split: Split) -> Any:
        """The file's SHA-256; of a mixture those of its parts, and the percentage."""
        key = distribution, split
        if key not in self._digests:
            self._digests[key] = self._read_digest(distribution, split)
        return self._digests[key]

    def _read_digest(self, distribution: str, split: Split) -> Any:
        if mixture := self._config.mixtures.get(distribution):
            return [self._digest(part, split) for part in (mixture.source, mixture.other)] + [mixture.percent]
        name, file = f"{distribution}/{split}.json", self.file(distribution, split)
        if distribution in distribution_names() and distribution not in self.own:
            return split_digest(name)
        return file_sha256(file) if file.is_file() else published_digests().get(f"distributions/{name}", "")

    def mixture_parts(self, name: str) -> dict[str, list[Path]]:
        """Files of a mixture's two distributions."""
        mixture = self._config.mixtures[name]
        return {part: [self.file(getattr(mixture, part), split) for split in SPLITS] for part in ("source", "other")}

    @property
    def archive(self) -> list[Path]:
        """The data archive, unless it is a URL."""
        source = self._config.data_archive or ""
        return [] if "://" in source or not source else [Path(source)]

    @property
    def known(self) -> list[str]:
        """Names of all distributions that a run could read; a name may stand here twice."""
        published = sorted({Path(name).parent.name for name in published_digests()})
        return [*published, *distribution_names(), *self.own, *self._config.mixtures]


def published_files(resources: Path) -> list[Path]:
    """Every file of the published data, as it is laid out under the resources."""
    return [resources / "genies" / name for name in published_digests()]


def demo_files(resources: Path) -> list[Path]:
    """Every split of the demo's distributions, where a rule places it."""
    folder = resources / "demo" / "distributions"
    return [folder / name / split for name in distribution_names() for split in SPLIT_FILES]
