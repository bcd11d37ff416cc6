"""The verb ``import``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from genies.data.preferences.convert import Options, Splitting, convert
from genies.data.preferences.source import find
from genies.data.shifts import NAME
from genies.errors import DataError


def import_set(
    source: str,
    *,
    output: Path,
    revision: str | None = None,
    layout: str | None = None,
    columns: Mapping[str, str] = {},
    keep: Sequence[str] = (),
    split: Splitting = "auto",
    test_share: float = 0.2,
    examples: int | None = None,
    seed: int = 0,
    licence: str | None = None,
) -> None:
    """Turn a preference set into a distribution.

    Args:
        source: a file (JSON lines, JSON or parquet), a folder of such files, or a data set of the hub:
            owner/name, owner/name/folder, owner/name/file or owner/name/pattern, such as data/*_prefs-*.
        output: folder of the distribution; its last part is the distribution's name.
        revision: commit, branch or tag of a data set of the hub (default: its newest commit). The commit goes into
            metadata.json.
        layout: one of pairs, implicit, preference, 1-or-2, winner, better-id, first-is-better, scores and unpaired
            (default: the one that fits the columns).
        columns: columns by their role, as JSON, such as {"prompt": "question"}.
        keep: further columns that records keep; not prompt, responses, several_best and conversation.
        split: auto takes the set's own splits where its files name them, prompt draws sides by prompt, test makes all
            of it a target.
        test_share: of the prompts that go to test.json where sides are drawn.
        examples: at most so many, drawn by the seed and their texts once rows of one prompt are joined (default: all).
        seed: of what is drawn.
        licence: of the set (default: what its card on the hub states).
    """
    if not NAME.fullmatch(output.resolve().name):
        raise DataError(f"output: {output.name!r} is no name of a distribution; use letters, digits and _ . + @ -")
    if not 0 < test_share < 1:
        raise DataError(f"test-share: {test_share} is no share; give a number between 0 and 1")
    if examples is not None and examples < 2:
        raise DataError(f"examples: {examples} is too few; give a number above 1")
    there = next(place for place in (output, *output.absolute().parents) if place.exists() or place.is_symlink())
    if not there.is_dir():
        raise DataError(f"output: {there} is no folder; name another place")
    if any((output / f"{name}.json").exists() for name in ("train", "test", "metadata")):
        raise DataError(f"{output}: holds a distribution already; delete it, or name another folder")
    options = Options(layout, columns, tuple(keep), split, test_share, examples, seed)
    found = find(source, revision)
    counts = convert(found, output, options, licence)
    print(*counts.lines(output), sep="\n")
    if not licence and not found.licence:
        print("licence: not known; state it with --licence")
    if not counts.examples["train"]:
        print(f"{output.name} has no training split: it can be a target, not a source")
