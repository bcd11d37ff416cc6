"""The splits of a run, wherever they are: in files, in the package (the demo's), in the archive, or in mixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from genies.data.archive import published_digests, read_listed
from genies.data.distributions import Example, parse_split, read_split
from genies.data.download import downloaded
from genies.data.mixture import mixed
from genies.data.reading import draw
from genies.demo.place import DISTRIBUTIONS_FOLDER
from genies.errors import DataError
from genies.plan.data import demo_files

if TYPE_CHECKING:
    from genies.costs.counts import ReadSplit
    from genies.data.options import Split
    from genies.plan import Plan

MAKE_IT = "let the workflow make it, with the same --configfile and --config: snakemake"


def read_splits(plan: Plan) -> Iterator[ReadSplit]:
    """Every split of a run with its examples, in any order; one split at a time is in memory. Nothing is written.

    Raises:
        DataError: a file is neither there nor in an archive on this machine, or breaks its format.
    """
    files = {file: split for split, file in plan.data.splits}
    mixtures = [name for name in plan.config.mixtures if _unmade(plan, name) & set(files)]
    parts = {name: plan.data.mixture_parts(name) for name in mixtures}
    needed = {file for both in parts.values() for some in both.values() for file in some}
    held: dict[Path, list[Example]] = {}
    unmade = set().union(*(_unmade(plan, name) for name in mixtures))
    for file, examples in _read(plan, [*dict.fromkeys([*(f for f in files if f not in unmade), *sorted(needed)])]):
        if file in needed:
            held[file] = examples
        if file in files:
            yield files[file], file, *draw(examples, file, plan.reading)
    for name in mixtures:
        for file in sorted(_unmade(plan, name) & set(files)):
            yield files[file], file, *draw(_mixed(plan, name, files[file], held), file, plan.reading)


def _unmade(plan: Plan, mixture: str) -> set[Path]:
    """Files of a mixture that the workflow has not made yet."""
    return {file for split in ("train", "test") if not (file := plan.data.file(mixture, split)).is_file()}


def _mixed(plan: Plan, name: str, split: Split, held: dict[Path, list[Example]]) -> list[Example]:
    mixture = plan.config.mixtures[name]
    source, other = (plan.data.file(part, split) for part in (mixture.source, mixture.other))
    if split == "test":
        return held[source]
    return mixed(held[source], held[other], mixture.percent, plan.config.seed, mixture.source, other)


def _read(plan: Plan, files: list[Path]) -> Iterator[tuple[Path, list[Example]]]:
    """Examples of each file: of those that are there, then of those that only the archive has."""
    published, packed = plan.files.resources / "genies", {}
    demo = set(demo_files(plan.data.resources))
    for file in files:
        name = file.relative_to(published).as_posix() if file.is_relative_to(published) else ""
        if name in published_digests() and not file.is_file():
            packed[name] = file
        else:
            yield file, read_split(_shipped(file) if file in demo and not file.is_file() else file)
    if packed:
        archive = _archive(plan, next(iter(packed.values())))
        digests = {name: digest for name, digest in published_digests().items() if name in packed}
        for name, content in read_listed(archive, digests):
            yield packed[name], parse_split(content, archive / name)


def _shipped(file: Path) -> Path:
    """Where the package has a file of the demo, which the workflow would copy."""
    return DISTRIBUTIONS_FOLDER / file.parent.name / file.name


def _archive(plan: Plan, file: Path) -> Path:
    """The archive on this machine."""
    source = plan.config.data_archive
    if source is None:
        raise DataError(f"{file}: not there yet, and no archive is named; set data_archive")
    archive = Path(source) if plan.data.archive else downloaded(source, plan.files.cache / "downloads")
    if not archive.is_file():
        raise DataError(
            f"{file}: not there yet, and {source} is not downloaded; {MAKE_IT} --cores 1 --until unpack, or give the "
            "path of an archive on this machine"
        )
    return archive
