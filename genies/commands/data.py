"""Verbs that look at data."""

from __future__ import annotations

from pathlib import Path

from genies.data.distributions import validate_folder, violations
from genies.data.options import SPLITS
from genies.data.shifts import read_shifts
from genies.errors import DataError


def validate(folder: Path) -> None:
    """Check every example of a distribution's folder.

    Args:
        folder: with train.json and test.json.
    """
    if problems := violations(folder):
        print(*problems, sep="\n")
        raise DataError(f"{folder}: {len(problems)} violation{'s' * (len(problems) > 1)}")
    found = validate_folder(folder)
    for split in SPLITS:
        counts = getattr(found, split)
        if not counts.examples:
            print(f"{folder}: no {split}.json, so it can be a target, but neither a source nor a reference")
            continue
        print(f"{folder}/{split}.json: {counts.examples} examples, {counts.responses} responses, {counts.pairs} pairs")
    print(f"{found.name} is valid")


def shifts(*lists: Path) -> None:
    """Print shift lists.

    Args:
        *lists: files or names; default: the published ones.
    """
    for path in lists or (Path("published69"), Path("genies15")):
        listed = read_shifts(path)
        print(f"{path}: {len(listed)} shifts, {sum(s.published_entries or 0 for s in listed)} published entries")
        for shift in listed:
            reference = f" (reference {shift.target_reference})" if shift.target_reference != shift.target else ""
            print(f"  {shift.label}, {shift.category}: {shift.source} → {shift.target}{reference}")
