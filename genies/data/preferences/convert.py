"""From a preference set to a distribution's folder, in bounded memory.

Rows are read one at a time and kept on the disk. Prompts are given a side, near-duplicates the same one, and then the
records of each side are written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genies.data.limits import printable
from genies.data.own_scores import KEY, REWARDBENCH, SEVERAL_BEST, is_named
from genies.data.pairs import text_seed
from genies.data.preferences import near
from genies.data.preferences.layouts import JOINED, Reader, reader
from genies.data.preferences.reading import record_of_row
from genies.data.preferences.rows import columns_of, rows_of
from genies.data.preferences.source import Source, split_of
from genies.data.preferences.spool import NO_SPLIT, TEST, TRAIN, Spool, examples_of, record_of_group
from genies.data.preferences.turns import Broken, LeftOut
from genies.data.strict import MAX_FILE_BYTES, shown_path
from genies.digests import file_sha256
from genies.errors import DataError
from genies.files import filled_folder

Splitting = Literal["auto", "prompt", "test"]
REPEATED = "repeats of an earlier row"
SAME_PROMPT = "prompts of train.json that the set's test split has as well"
BEYOND = "rows beyond --examples"
NEAR = "near-duplicates of a prompt of train.json"
BROKEN_SHARE = 0.5
"""A set with more broken rows than this is refused: it is then read in the wrong way."""


@dataclass(frozen=True)
class Options:
    """How a set is turned into a distribution.

    Attributes:
        layout, columns, keep: see ``layouts.reader``.
        split: by the set's own splits where its files name both (``auto``), by ``prompt``, or all of it as ``test``.
        test_share: of the prompts, where they are split here.
        examples: at most so many, drawn by seed and texts once rows of one prompt are joined; None for all.
        seed: of what is drawn.
    """

    layout: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    split: Splitting = "auto"
    test_share: float = 0.2
    examples: int | None = None
    seed: int = 0


@dataclass
class Counts:
    """What became of the rows of a set.

    Attributes:
        rows: how many there were.
        examples: written, by split.
        broken, dropped: rows without an example, by reason.
        moved: examples that went from the test side to the training side, by reason.
        contradicted: examples that rank the same responses to the same prompt otherwise than another one.
        several_best: whether an example of the test split has more than one good response.
        named: whether every example of the test split has the names that RewardBench 2's score needs.
    """

    rows: int = 0
    examples: dict[str, int] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    contradicted: int = 0
    several_best: bool = False
    named: bool = False

    def lines(self, output: Path) -> list[str]:
        """What came in, and in one line what was dropped or moved and why."""
        made = ", ".join(f"{number:,} in {split}.json" for split, number in self.examples.items())
        lines = [f"{output}: {sum(self.examples.values()):,} examples of {self.rows:,} rows ({made})"]
        parts = [
            f"{word} {counter.total():,} ({_listed(counter)})"
            for word, counter in (("dropped", self.dropped + self.broken), ("moved to train.json", self.moved))
            if counter
        ]
        if parts:
            lines.append("; ".join(parts))
        if self.contradicted:
            lines.append(f"kept {self.contradicted:,} that contradict another example of the same prompt and responses")
        return lines


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in counter.most_common())


def convert(source: Source, output: Path, options: Options, licence: str | None) -> Counts:
    """Write ``train.json``, ``test.json`` and ``metadata.json`` of a set.

    Args:
        source: the set.
        output: folder to write; a set of tests only gets no ``train.json``.
        options: how.
        licence: the user's word for it; None for the hub's.

    Raises:
        DataError: no layout fits, more than half of the rows are broken, or nothing is left for a split.
    """
    counts = Counts()
    with filled_folder(output, "metadata.json") as folder:
        path = folder / "rows.partial"
        with closing(Spool(path)) as spool:
            read = _read(source, options, spool, counts)
            groups = _kept(spool, options, read.layout in JOINED, counts)
            counts.contradicted = spool.contradicted([group[0] for group in groups])
            sides = _sides(spool, groups, options, counts)
            _write(folder, spool, groups, sides, counts)
        path.unlink()
        stated = _metadata(source, output, options, read, counts, licence or source.licence)
        (folder / "metadata.json").write_text(json.dumps(stated, ensure_ascii=False, indent=1), encoding="utf-8")
    return counts


def _read(source: Source, options: Options, spool: Spool, counts: Counts) -> Reader:
    own = _own_splits(source, options)
    read: Reader | None = None
    negative = False
    for name, path in source.files.items():
        read = _reader_of(path, options, read)
        for row in rows_of(path):
            counts.rows += 1
            try:
                if isinstance(row, Broken):
                    raise row
                negative = negative or (read.layout == "preference" and read.is_negative(row))
                parsed = read(row)
                if read.layout not in JOINED:
                    record_of_row(parsed, {})
                spool.add(parsed, _kept_values(row, read.keep), own[name])
            except LeftOut as error:
                counts.dropped[str(error)] += 1
            except Broken as error:
                counts.broken[str(error)] += 1
            except ValueError:
                counts.broken["a text holds a lone surrogate"] += 1
    if read is None or not counts.rows:
        raise DataError(f"{printable(source.name)}: holds no rows")
    _check_broken(source, counts)
    if read.layout == "preference" and options.layout is None and not negative:
        raise DataError(f"{printable(source.name)}: {_unsigned(read.columns)}")
    return read


def _reader_of(path: Path, options: Options, before: Reader | None) -> Reader:
    """How a file is read: in the layout of the file before it."""
    read = reader(shown_path(path), columns_of(path), options.layout, options.columns, options.keep)
    if before is not None and read.layout != before.layout:
        raise DataError(
            f"{shown_path(path)}: its layout is {read.layout}, and {before.layout} that of another file of the set; "
            "import them apart, or name one layout with --layout"
        )
    return read


def _own_splits(source: Source, options: Options) -> dict[str, int]:
    """The side of each file: of its own split where the set has both, or tests only."""
    splits = {name: split_of(name) for name in source.files}
    if options.split == "test":
        return dict.fromkeys(splits, TEST)
    if options.split == "prompt" or None in splits.values() or "test" not in splits.values():
        return dict.fromkeys(splits, NO_SPLIT)
    return {name: TRAIN if split == "train" else TEST for name, split in splits.items()}


def _kept_values(row: Mapping[str, Any], keep: Sequence[str]) -> dict[str, Any]:
    """Values that records keep; what JSON has no form for is written as text."""
    values = {}
    for column in keep:
        if (value := row.get(column)) is not None:
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                value = str(value)
            values[column] = value
    return values


def _check_broken(source: Source, counts: Counts) -> None:
    broken = counts.broken.total()
    if broken > BROKEN_SHARE * counts.rows:
        raise DataError(
            f"{printable(source.name)}: {broken:,} of {counts.rows:,} rows are broken ({_listed(counts.broken)}); "
            "name another layout with --layout, or the columns with --columns"
        )


def _unsigned(columns: Mapping[str, str]) -> str:
    """Why numbers that are never negative are not read, and how the user says what they mean."""
    roles = json.dumps({"first": columns["first"], "second": columns["second"], "label": columns["preference"]})
    return (
        f"{printable(columns['preference'])} is never negative, so that it may be no signed preference; name --layout "
        "preference (above 0: the second response is better), --layout 1-or-2 (the number of the better one), or, of 0 "
        "and 1, --layout better-id (that number) or first-is-better (1: the first), "
        f"these with --columns {printable(roles)}"
    )


def _kept(spool: Spool, options: Options, joined: bool, counts: Counts) -> list[list[int]]:
    """The rows of each example that is written: no repeats, and no more examples than are asked for."""
    repeated = spool.repeated()
    if repeated.any():
        counts.dropped[REPEATED] += int(repeated.sum())
    groups = examples_of(spool, np.flatnonzero(~repeated), joined, counts.dropped)
    if options.examples is None or options.examples >= len(groups):
        return groups
    ranks = [_rank(spool, group, options.seed, joined) for group in groups]
    drawn = np.sort(np.argsort(np.array(ranks, np.uint64), kind="stable")[: options.examples])
    kept = [groups[n] for n in drawn.tolist()]
    counts.dropped[BEYOND] += sum(map(len, groups)) - sum(map(len, kept))
    return kept


def _rank(spool: Spool, group: list[int], seed: int, joined: bool) -> int:
    """The place of an example in the draw: by its texts, or by its prompt where it is all that a prompt has."""
    parsed, kept = spool.row(group[0])
    return text_seed(seed, "import", str(parsed.prompt if joined else (parsed, kept)))


def _sides(spool: Spool, groups: list[list[int]], options: Options, counts: Counts) -> np.ndarray:
    """``TRAIN`` or ``TEST`` for each example, int8 (n,); those whose prompts are the same or nearly so have the same.

    Rows of one prompt that are joined are of the training side where one of them is.
    """
    rows = np.array([group[0] for group in groups], np.int64)
    keys = np.array(spool.key, np.uint64)[rows]
    sides = np.array([min(spool.side[row] for row in group) for group in groups], np.int8)
    _, first, prompt = np.unique(keys, return_index=True, return_inverse=True)
    if (sides == NO_SPLIT).all():
        threshold = options.test_share * 2.0**64
        drawn = [text_seed(options.seed, "import", spool.asked(row)) < threshold for row in rows[first].tolist()]
        sides = np.array(drawn, bool).astype(np.int8)[prompt]
    if not (sides == TRAIN).any():
        return sides
    trained = np.zeros(len(first), bool)
    trained[prompt[sides == TRAIN]] = True
    sides = _moved(sides, trained[prompt], SAME_PROMPT, counts)
    order = rows[first].tolist()
    clusters = near.near_duplicates(
        lambda: (spool.asked(row) for row in order), len(order), lambda n: spool.asked(order[n])
    )
    near_trained = np.zeros(len(first), bool)
    near_trained[clusters[trained]] = True
    return _moved(sides, near_trained[clusters][prompt], NEAR, counts)


def _moved(sides: np.ndarray, to_train: np.ndarray, reason: str, counts: Counts) -> np.ndarray:
    moving = to_train & (sides == TEST)
    if moving.any():
        counts.moved[reason] += int(moving.sum())
    return np.where(moving, TRAIN, sides).astype(np.int8)


def _write(folder: Path, spool: Spool, groups: list[list[int]], sides: np.ndarray, counts: Counts) -> None:
    for split, side in (("train", TRAIN), ("test", TEST)):
        made = (record_of_group(spool, group) for group, of in zip(groups, sides.tolist(), strict=True) if of == side)
        path = folder / f"{split}.json"
        number, counts.several_best, counts.named = _write_records(path, made)
        counts.examples[split] = number
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{split}.json would have more than {MAX_FILE_BYTES} bytes; take fewer with --examples")
        if not number:
            path.unlink()
    if not counts.examples["test"]:
        what = f"; dropped {_listed(counts.dropped + counts.broken)}" if counts.dropped or counts.broken else ""
        moved = f"; moved {_listed(counts.moved)}" if counts.moved else ""
        raise DataError(f"no example is left for test.json{what}{moved}; raise --test-share, or use --split")


def _write_records(path: Path, made: Iterator[dict[str, Any]]) -> tuple[int, bool, bool]:
    """Write records; how many they were, whether one has several good responses, and whether all are named."""
    number, several, named = 0, False, True
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(made, start=1):
            file.write("[\n" if number == 1 else ",\n")
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False))
            several = several or "several_best" in record
            named = named and is_named(record)
        file.write("\n]\n")
    return number, several, named


def _metadata(
    source: Source, output: Path, options: Options, read: Reader, counts: Counts, licence: str | None
) -> dict[str, Any]:
    return {
        "id": output.name,
        "source": source.name,
        "revision": source.revision,
        "licence": licence,
        "layout": read.layout,
        "columns": {**read.columns, **read.settings},
        "kept": list(read.keep),
        "counts": {
            "rows": counts.rows,
            "examples": counts.examples,
            "dropped": dict(counts.dropped + counts.broken),
            "moved_to_train": dict(counts.moved),
            "contradicted": counts.contradicted,
        },
        "options": {
            "split": options.split,
            "test_share": options.test_share,
            "examples": options.examples,
            "seed": options.seed,
        },
        "inputs": {name: file_sha256(path) for name, path in source.files.items()},
        **({KEY: REWARDBENCH} if _is_rewardbench(read, counts) else {KEY: SEVERAL_BEST} if counts.several_best else {}),
    }


def _is_rewardbench(read: Reader, counts: Counts) -> bool:
    """Whether the set has the columns by which RewardBench 2 is scored, filled, and is whole: a target alone."""
    has_columns = read.layout == "pairs" and {"id", "subset", "num_correct"} <= set(read.keep)
    return has_columns and counts.named and not counts.examples["train"] and not counts.dropped[BEYOND]
