"""Distribution shifts: which distribution an intervention is fitted on, and which one it is tested on.

Source: GENIES (arXiv 2311.07723), sections 3 and 5, and its published shift lists. A list is a YAML file of mappings
with the keys of ``Shift``; ``source`` and ``target`` are required. Entries are counted from 0 in messages.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genies.data.unique_keys import UniqueKeys
from genies.errors import DataError

MAX_FILE_BYTES = 2**20
"""Longer lists are refused unread (1 MiB; the published one has 7 KiB)."""
LISTS = Path(__file__).parent / "lists"
"""The lists that come with the package."""
OWN = "own"
"""Label and category of shifts that name none."""

# Names become parts of paths and of command lines, so they hold nothing that either would interpret.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,127}")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")
NAMES = ("source", "target", "target_reference")
TEXTS = ("label", "category", "benchmark", "note")
GROUPS = ("label", "benchmark")
"""Keys whose values name means over shifts, side by side in one column of the tables."""
RESERVED = ("all", "distinct", "published", "shift")
"""Names of the means that every run has, and of single shifts, in that column."""


@dataclass(frozen=True)
class Shift:
    """A source, on which interventions are fitted, and a target, on which they are tested.

    ``target_reference`` is the distribution on which capability is measured; it differs from the target where the
    target has spurious cues. ``label`` is extreme or probing for published shifts, ``category`` their group within it.
    ``published_entries`` says how often the published list of 69 has the shift (None: never). ``benchmark`` names a set
    of shifts that averages are stated for, such as the 15 of GENIES.
    """

    source: str
    target: str
    target_reference: str
    label: str = OWN
    category: str = OWN
    published_entries: int | None = None
    note: str | None = None
    benchmark: str | None = None


KEYS = {
    "source": "Distribution that interventions are fitted on.",
    "target": "Distribution that they are tested on.",
    "target_reference": "Distribution on which capability is measured; the target unless given.",
    "label": "extreme or probing for published shifts, or a word of your own.",
    "category": "Group within the label.",
    "published_entries": "How often the published list of 69 has the shift.",
    "note": "A remark.",
    "benchmark": "Set of shifts that averages are stated for, such as GENIES.",
}
"""What an entry may say, and what that means."""


def list_names() -> list[str]:
    """Names of the lists that come with the package, sorted."""
    return sorted(path.stem for path in LISTS.glob("*.yaml"))


def list_file(name_or_path: str | Path) -> Path:
    """File of a shift list.

    Args:
        name_or_path: a file; or a plain name, which stands for ``config/shifts/<name>.yaml`` in the working folder or
            else for the list of that name that comes with the package, so that it means something in any folder.

    Raises:
        DataError: a plain name of no list.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1 or path.is_file():
        return path
    for folder in (Path("config/shifts"), LISTS):
        if (file := folder / f"{path}.yaml").is_file():
            return file
    raise DataError(f"shifts: no list is called {path}; give a YAML file or one of {', '.join(list_names())}")


def read_shifts(*lists: str | Path) -> list[Shift]:
    """Read shift lists, each a file or a name as ``list_file`` takes them, and merge them in the order given.

    Raises:
        DataError: a file is missing or is no YAML list, an entry breaks the format, two entries have the same
            source and target, or a label is also the name of a benchmark.
    """
    paths = [list_file(name_or_path) for name_or_path in lists]
    return merge_shifts((str(path), parse_shifts(_load(path), str(path))) for path in paths)


def parse_shifts(entries: Any, place: str) -> list[Shift]:
    """Check a parsed list of mappings and fill in the defaults.

    Args:
        entries: the list.
        place: where it stands, for messages.

    Raises:
        DataError: an entry breaks the format.
    """
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{place}: holds no list of shifts; write entries as '- {{source: …, target: …}}'")
    return [_parse_entry(entry, f"{place}: entry {number} (counted from 0)") for number, entry in enumerate(entries)]


def merge_shifts(lists: Iterable[tuple[str, Sequence[Shift]]]) -> list[Shift]:
    """Join lists of shifts, each given with the place where it stands.

    Raises:
        DataError: two entries have the same source and target, or a label is also the name of a benchmark.
    """
    places: dict[tuple[str, str], str] = {}
    groups: dict[str, tuple[str, str]] = {}
    merged = []
    for place, shifts in lists:
        for number, shift in enumerate(shifts):
            here = f"{place}: entry {number} (counted from 0)"
            pair = (shift.source, shift.target)
            if pair in places:
                names = " → ".join(pair)
                raise DataError(f"{here}: the shift {names} stands already in {places[pair]}; delete one of them")
            places[pair] = here
            for key in GROUPS:
                if name := getattr(shift, key):
                    other, first = groups.setdefault(name, (key, here))
                    if other != key:
                        raise DataError(f"{here}: {key} is {name!r}, which is a {other} in {first}; take another word")
            merged.append(shift)
    return merged


def benchmarks(shifts: Iterable[Shift]) -> dict[str, set[tuple[str, str]]]:
    """(source, target) of the shifts of each benchmark that is named."""
    found: dict[str, set[tuple[str, str]]] = {}
    for shift in shifts:
        if shift.benchmark:
            found.setdefault(shift.benchmark, set()).add((shift.source, shift.target))
    return found


def _parse_entry(entry: Any, place: str) -> Shift:
    if not isinstance(entry, dict):
        raise DataError(f"{place}: is not a mapping; write {{source: …, target: …}}")
    for key in entry:
        if key not in KEYS:
            nearest = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0)[0]
            raise DataError(f"{place}: unknown key {_shown(key)}; did you mean {nearest}?")
    for key in ("source", "target"):
        if key not in entry:
            raise DataError(f"{place}: has no {key}; add '{key}: <name of a distribution>'")
    for key in NAMES:
        if key in entry and not (isinstance(entry[key], str) and NAME.fullmatch(entry[key])):
            rule = "up to 128 letters, digits and _ . + @ -, the first one a letter, a digit or _"
            raise DataError(f"{place}: {key} is {_shown(entry[key])}, not a name of a distribution ({rule})")
    for key in TEXTS:
        if key in entry and not (isinstance(entry[key], str) and entry[key] and entry[key].isprintable()):
            raise DataError(f"{place}: {key} is {_shown(entry[key])}; write a text of one line, or leave it out")
    for key in GROUPS:
        if entry.get(key) in RESERVED:
            raise DataError(
                f"{place}: {key} is {entry[key]!r}, which tables call a mean of their own; take another word"
            )
    count = entry.get("published_entries")
    if count is not None and not _COUNT.fullmatch(str(count)):
        raise DataError(f"{place}: published_entries is {_shown(count)}; write a whole number above 0, or leave it out")
    published = None if count is None else int(count)
    return Shift(**{"target_reference": entry["target"], **entry, "published_entries": published})


class _Loader(UniqueKeys, yaml.BaseLoader):
    """YAML without tags (every scalar is a string, so that ``no`` can be a name), aliases and repeated keys.

    A few lines of aliases can stand for gigabytes.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not allowed, write the entry out", problem_mark=mark)
        return super().compose_node(parent, index)


def _load(path: Path) -> Any:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: cannot be read (not a regular file); give a YAML file")
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: more than {MAX_FILE_BYTES} bytes; a shift list has some hundred lines")
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, _Loader)
    except FileNotFoundError:
        raise DataError(f"{path.absolute()}: file not found; check the name of the shift list") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file in UTF-8") from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply to be read; a shift list has two levels") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise DataError(f"{path}: {line}not a shift list ({problem}); correct the file") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
