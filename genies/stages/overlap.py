"""The stage ``overlap``: which test examples also appear, or nearly, in the training split that a fit has seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genies.data.distributions import Example
from genies.data.near_overlap import NearOverlap, Sketch, near_overlap
from genies.data.options import Reading
from genies.data.overlap import Overlap, TrainingTexts, overlap
from genies.data.reading import read_drawn
from genies.digests import code_digest
from genies.errors import DataError
from genies.evaluation.evaluations import METADATA
from genies.evaluation.related import SHARED
from genies.evaluation.seen import COLUMNS, COUNTS, FILE, KINDS, NEAR_KINDS, Place
from genies.files import whole_file
from genies.making import MADE_OF, data_roles, made_of
from genies.stages.targets import targets_of


def write_overlap(
    *pairs: str, train: Sequence[Path], test: Sequence[Path], reading: Reading = Reading(), output: Path
) -> None:
    """Find the test examples that also appear in training splits, as they are or with a few words changed.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is compared; default: every training with every test split.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        reading: which examples are read; examples of the files are compared, whatever the framing makes of them. For
            ``shared_texts.csv`` test splits are compared whole: of copies with other labels others are drawn.
        output: folder of ``overlap.parquet``, ``overlap.csv`` and ``shared_texts.csv``.

    Raises:
        DataError: a file is missing or breaks the format, or the split of a source or target was not given.
    """
    reading = Reading(reading.seed, limit=reading.limit)
    sources, names = ([file.parent.name for file in files] for files in (train, test))
    targets = targets_of(pairs, sources, names)
    tests = {file.parent.name: _read(file, reading) for file in test}
    compared = list(_compare(train, tests, targets, reading))
    seen = [_seen(*one) for one in compared]
    stated = {
        MADE_OF: made_of(code_digest(__name__), data_roles([*train, *test])),
        "seed": reading.seed,
        "limit": asdict(reading.limit),
        "targets": targets,
    }
    with whole_file(output / FILE) as partial:
        frame = pl.concat([pl.DataFrame(schema=COLUMNS), *seen])
        frame.write_parquet(partial, metadata={METADATA: json.dumps(stated, sort_keys=True)})
    COUNTS.write(COUNTS.frame(_counts(*one) for one in compared), output)
    SHARED.write(SHARED.frame(_shared(tests)), output)


class _Split(NamedTuple):
    """All examples of a file, the indices of those that are read, and how near duplicates are found in them."""

    examples: list[Example]
    read: list[int]
    sketch: Sketch

    def whole(self) -> _Split:
        """The same with all examples read."""
        if len(self.read) == len(self.examples):
            return self
        every = list(range(len(self.examples)))
        return _Split(self.examples, every, Sketch(self.examples, every))


def _compare(
    train: Sequence[Path], tests: Mapping[str, _Split], targets: Mapping[str, Sequence[str]], reading: Reading
) -> Iterator[tuple[Place, Overlap, NearOverlap]]:
    trains = {file.parent.name: file for file in train}
    for source, names in targets.items():
        if source not in trains:
            raise DataError(f"{source}: is a source, but its train.json was not given; name it after --train")
        training = _read(trains[source], reading)
        known = TrainingTexts.of(training.examples, training.read)
        for target in names:
            if target not in tests:
                raise DataError(f"{target}: target of {source}, but its test.json was not given; name it after --test")
            examples, read, sketch = tests[target]
            found = overlap(examples, read, known)
            yield (source, target), found, near_overlap(sketch, training.sketch, found)


def _shared(tests: Mapping[str, _Split]) -> Iterator[dict[str, Any]]:
    """Rows of ``shared_texts.csv``, from whole splits."""
    tests = {name: split.whole() for name, split in tests.items()}
    texts = {name: TrainingTexts.of(split.examples, split.read) for name, split in tests.items()}
    for first, second in combinations(sorted(tests, key=lambda name: (len(tests[name].read), name)), 2):
        own = tests[first]
        found = overlap(own.examples, own.read, texts[second])
        near = near_overlap(own.sketch, tests[second].sketch, found)
        if shared := int((found.same_text | near.near_text).sum()):
            yield {"first": first, "second": second, "examples": len(own.read), "shared": shared}


def _read(file: Path, reading: Reading) -> _Split:
    framed, read = read_drawn(file, reading)
    return _Split(framed.examples, read, Sketch(framed.examples, read))


def _seen(place: Place, found: Overlap, near: NearOverlap) -> pl.DataFrame:
    """Rows of ``overlap.parquet``."""
    kinds = _kinds(found, near)
    rows = {"example": found.example, **{kind: kinds[kind] for kind in (*KINDS, *NEAR_KINDS)}}
    source, target = (pl.lit(name).alias(column) for column, name in zip(("source", "target"), place, strict=True))
    return pl.DataFrame(rows).filter(found.seen | near.near).select(source, target, *rows)


def _counts(place: Place, found: Overlap, near: NearOverlap) -> dict[str, Any]:
    """A row of ``overlap.csv``."""
    counts = {kind: int(of.sum()) for kind, of in _kinds(found, near).items()}
    return {"source": place[0], "target": place[1], "examples": len(found.example), **counts}


def _kinds(found: Overlap, near: NearOverlap) -> dict[str, Any]:
    """Whether each example overlaps, by the names of the tables' columns, bool (n,) each."""
    exact = {kind: getattr(found, kind) for kind in ("seen", *KINDS, "complete")}
    return {**exact, "near": near.near & ~found.seen, **{kind: getattr(near, kind) for kind in NEAR_KINDS}}
