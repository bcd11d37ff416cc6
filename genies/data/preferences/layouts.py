"""Layouts of preference sets: which columns have which role, and how a layout is recognized by them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from genies.data.limits import printable
from genies.data.preferences import reading
from genies.data.preferences.reading import Parsed, Row
from genies.data.records import KEYS
from genies.errors import DataError

PROMPT = ("prompt", "instruction", "question", "context", "input", "query", "history")
_CHOSEN = ("chosen", "chosen_response", "response_chosen")
_REJECTED = ("rejected", "rejected_response", "response_rejected", "rejected_responses")
_FIRST, _SECOND = ("response1", "response_1"), ("response2", "response_2")
_PREFERENCE = ("overall_preference", "preference")
SYSTEM = ("system", "system_prompt")
_OWN_SCORES = {
    "system": SYSTEM,
    "chosen_score": ("chosen_score", "score_chosen", "chosen_rating"),
    "rejected_score": ("rejected_score", "score_rejected", "rejected_rating"),
}
KEPT = (
    "id", "prompt_id", "subset", "domain", "language", "source", "category", "margin", "strength", "num_correct",
    "individual_preference", "tools", "chat_template_kwargs",
)  # fmt: skip
"""Columns that records keep, where the set has them; the user may name more."""


@dataclass(frozen=True)
class Layout:
    """A layout.

    Attributes:
        read: what makes of a row, by roles, what it says.
        columns: for each role that it needs the names that its column may have, the first one that is there.
        optional: likewise for roles that a set may lack.
        settings: names by which the user says more, such as the key of a score; they are no columns.
        named_only: whether a set is only read in it where the user names it, since its columns do not show it.
    """

    read: Callable[[Row], Parsed]
    columns: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"system": SYSTEM})
    settings: frozenset[str] = frozenset()
    named_only: bool = False


LAYOUTS = {
    "pairs": Layout(reading.pairs, {"prompt": PROMPT, "chosen": _CHOSEN, "rejected": _REJECTED}, _OWN_SCORES),
    "implicit": Layout(reading.implicit, {"chosen": _CHOSEN, "rejected": _REJECTED}, _OWN_SCORES),
    "preference": Layout(
        reading.preference,
        {"prompt": PROMPT, "first": _FIRST, "second": _SECOND, "preference": _PREFERENCE},
    ),
    "1-or-2": Layout(
        reading.one_or_two,
        {"prompt": PROMPT, "first": _FIRST, "second": _SECOND, "label": (*_PREFERENCE, "label")},
        named_only=True,
    ),
    "winner": Layout(
        reading.winner,
        {
            "first": ("conversation_a", "response_a", "answer_a"),
            "second": ("conversation_b", "response_b", "answer_b"),
            "winner": ("winner",),
        },
        {"prompt": PROMPT, "system": SYSTEM},
    ),
    "better-id": Layout(
        reading.better_id,
        {
            "prompt": PROMPT,
            "first": ("response_0",),
            "second": ("response_1",),
            "label": ("better_response_id", "safer_response_id"),
        },
    ),
    "first-is-better": Layout(
        reading.first_is_better,
        {"prompt": PROMPT, "first": ("human_ref_A",), "second": ("human_ref_B",), "label": ("labels",)},
    ),
    "scores": Layout(
        reading.scored,
        {"prompt": PROMPT, "responses": ("completions", "responses", "answers")},
        {"scores": ("scores", "ratings"), "system": SYSTEM},
        settings=frozenset({"score"}),
    ),
    "unpaired": Layout(
        reading.unpaired,
        {"prompt": PROMPT, "completion": ("completion", "response"), "label": ("label",)},
    ),
}
"""Every layout by name."""
JOINED = ("unpaired",)
"""Layouts in which rows of one prompt belong together."""


@dataclass(frozen=True)
class Reader:
    """A layout on the columns of a set.

    Attributes:
        layout: its name.
        columns: the column of each role.
        settings: what the user says besides.
        keep: columns that records keep.
    """

    layout: str
    columns: Mapping[str, str]
    settings: Mapping[str, str]
    keep: tuple[str, ...]

    def __call__(self, row: Mapping[str, Any]) -> Parsed:
        """What a row says.

        Raises:
            Unusable: it gives no example.
        """
        values = {role: row.get(column) for role, column in self.columns.items()}
        missing = next((role for role in LAYOUTS[self.layout].columns if values[role] is None), None)
        if missing is not None:
            raise reading.Broken(f"no {missing}")
        return LAYOUTS[self.layout].read({**values, **self.settings})

    def is_negative(self, row: Mapping[str, Any]) -> bool:
        """Whether the preference of a row is a number below 0."""
        value = row.get(self.columns["preference"])
        return reading.is_number(value) and value < 0


def reader(
    place: str, columns: Collection[str], layout: str | None, named: Mapping[str, str], keep: Collection[str]
) -> Reader:
    """How a set is read.

    Args:
        place: the file, for messages.
        columns: those that it has.
        layout: the user's; None to recognize it.
        named: columns by role, or settings, of the user's.
        keep: columns that records keep besides ``KEPT``.

    Raises:
        DataError: no layout fits, or more than one; a column is not there or cannot be kept; or the user has to choose.
    """
    if layout is not None and layout not in LAYOUTS:
        raise DataError(f"layout: no layout is called {printable(layout)}; there are {', '.join(LAYOUTS)}")
    if reserved := [key for key in keep if key in KEYS]:
        raise DataError(f"keep: {reserved[0]} has a meaning of its own in records; rename the column in the set")
    for role, column in named.items():
        _check_named(place, columns, role, column, layout)
    tried = [layout] if layout else [name for name, one in LAYOUTS.items() if not one.named_only]
    found = {name: roles for name in tried if (roles := _roles(LAYOUTS[name], columns, named)) is not None}
    # Where one layout needs all the columns of another and more, it is the one that is meant.
    fits = [a for a in found if not any(_needs(a) < _needs(b) for b in found)]
    if not fits:
        raise DataError(f"{place}: {_unfit(columns, layout)}")
    if len(fits) > 1:
        raise DataError(f"{place}: the layout may be {' or '.join(fits)}; name one with --layout")
    [name] = fits
    _check_roles(place, name, columns, named)
    if absent := [column for column in keep if column not in columns]:
        raise DataError(f"{place}: has no column {printable(absent[0])} to keep; it has {_listed(columns)}")
    if len(used := set(found[name].values())) < len(found[name]):
        raise DataError(f"columns: {_twice(found[name])} the same column; name one for each")
    kept = tuple(dict.fromkeys(c for c in (*KEPT, *keep) if c in columns and c not in used))
    return Reader(name, found[name], {k: v for k, v in named.items() if k in LAYOUTS[name].settings}, kept)


def _check_roles(place: str, name: str, columns: Collection[str], named: Mapping[str, str]) -> None:
    """Raise DataError where the user names a role that the layout lacks, or none of several columns for one.

    One of these may be a part of what is meant, such as the ``input`` of an ``instruction``, or another judgement.
    """
    layout = LAYOUTS[name]
    if unread := sorted(named.keys() - layout.columns.keys() - layout.optional.keys() - layout.settings):
        raise DataError(
            f"{place}: its layout is {name}, in which no column is the {unread[0]}; name another one with --layout, or "
            f"leave {unread[0]} out"
        )
    for role, names in {**layout.columns, **layout.optional}.items():
        there = [name for name in names if name in columns and name not in named.values()]
        if role not in named and len(there) > 1:
            choices = " or ".join(f'--columns {{"{role}": "{column}"}}' for column in there)
            raise DataError(f"{place}: has several columns that can be the {role}; choose {choices} (no other is read)")


def _twice(roles: Mapping[str, str]) -> str:
    """Roles that have a column in common, and the verb."""
    columns = list(roles.values())
    return " and ".join(role for role, column in roles.items() if columns.count(column) > 1) + " are"


def _check_named(place: str, columns: Collection[str], role: str, column: str, layout: str | None) -> None:
    of = [LAYOUTS[layout]] if layout else list(LAYOUTS.values())
    roles = sorted({name for one in of for name in (*one.columns, *one.optional, *one.settings)})
    if role not in roles:
        raise DataError(f"columns: {printable(role)} is no role of a column; there are {', '.join(roles)}")
    if not isinstance(column, str) or (column not in columns and not any(role in one.settings for one in of)):
        raise DataError(f"{place}: has no column {printable(str(column))}; it has {_listed(columns)}")


def _needs(name: str) -> set[str]:
    return set(LAYOUTS[name].columns)


def _roles(layout: Layout, columns: Collection[str], named: Mapping[str, str]) -> dict[str, str] | None:
    """The column of each role; None where one that is needed is not there."""
    roles: dict[str, str] = {}
    for role, names in {**layout.columns, **layout.optional}.items():
        column = named.get(role) or next((name for name in names if name in columns), None)
        if column is not None:
            roles[role] = column
        elif role in layout.columns:
            return None
    return roles


def _unfit(columns: Collection[str], layout: str | None) -> str:
    wanted = {name: one for name, one in LAYOUTS.items() if name == layout or not (layout or one.named_only)}
    needed = "; ".join(f"{name} needs {', '.join(names[0] for names in of.columns.values())}"
                       for name, of in wanted.items())  # fmt: skip
    remedy = 'name columns with --columns, such as {"prompt": "question"}'
    return f"no layout fits its columns {_listed(columns)}; {needed}; {remedy}"


def _listed(columns: Collection[str]) -> str:
    names = [printable(name) for name in columns][:20]
    return ", ".join(names) + (", …" if len(columns) > len(names) else "")
