"""Records of a split: an example as Python reads it, and as the file has it.

The format is that of ``genies.data.distributions``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from genies.data.strict import Flaw, flaws, is_unicode, kind, shortened, shown

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)
OPTIONAL = ("several_best", "conversation")
"""Keys of a record that have a meaning and may be left out."""
KEYS = ("prompt", "responses", *OPTIONAL)
"""All that have one."""


@dataclass(frozen=True)
class Turn:
    """A turn of a conversation: who speaks, and what is said."""

    role: Role
    content: str


@dataclass(frozen=True)
class Example:
    """A prompt with its responses in file order.

    Attributes:
        prompt: as methods without a chat template read it.
        responses: their texts.
        best: index of the best response, the first of the good ones.
        worse: indices of all responses that are not good, in file order.
        good: indices of the good responses, in file order; ``best`` alone unless given.
        conversation: all turns before the response, the last one the user's; empty where the prompt is a single turn
            of the user's.
    """

    prompt: str
    responses: tuple[str, ...]
    best: int
    worse: tuple[int, ...]
    good: tuple[int, ...] = ()
    conversation: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        if not self.good:
            object.__setattr__(self, "good", (self.best,))


def example_of(record: dict[str, Any]) -> Example:
    """The example of a record without ``problems``."""
    labels = list(record["responses"].values())
    good, worse = (tuple(n for n, label in enumerate(labels) if label == value) for value in (1, 0))
    turns = tuple(Turn(turn["role"], turn["content"]) for turn in record.get("conversation", ()))
    return Example(record["prompt"], tuple(record["responses"]), good[0], worse, good, turns)


def record_of(example: Example) -> dict[str, Any]:
    """The record of an example; optional keys only where they say something. Responses keep their order."""
    record: dict[str, Any] = {
        "prompt": example.prompt,
        "responses": {text: int(index in example.good) for index, text in enumerate(example.responses)},
    }
    if example.conversation:
        record["conversation"] = [{"role": turn.role, "content": turn.content} for turn in example.conversation]
    if len(example.good) > 1:
        record["several_best"] = True
    return record


def problems(record: Any, flawed: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a record: (", field …" or "", the problem and its remedy).

    Args:
        record: as ``genies.data.strict`` reads it.
        flawed: whether there may be a ``Flaw`` in it.
    """
    if isinstance(record, Flaw):
        yield "", record.problem
        return
    if not isinstance(record, dict):
        yield "", f'is {kind(record)}, not an object; write {{"prompt": …, "responses": {{…}}}}'
        return
    spoilt = set()
    for field, flaw in flaws(record) if flawed else ():
        spoilt.add(field)
        yield f", field {shown(field)}", flaw.problem
    several = record.get("several_best")
    for field, check in _CHECKS.items():
        if field in record:
            found = () if field in spoilt else check(record[field], several is True)
            yield from ((f", field {field}", problem) for problem in found)
        elif field not in OPTIONAL:
            yield f", field {field}", "is missing; add it"


def _prompt_problems(prompt: Any, _several: bool) -> Iterator[str]:
    if not isinstance(prompt, str):
        yield f"is {kind(prompt)}, not a string; write the prompt's text in quotes"
    elif not is_unicode(prompt):
        yield f"{shown(prompt)} holds a lone surrogate; write the character whole"


def _responses_problems(responses: Any, several: bool) -> Iterator[str]:
    if not isinstance(responses, dict):
        yield f"is {kind(responses)}, not an object; write each response's text with 1 (the best) or 0"
        return
    valid = True
    for text, label in responses.items():
        if not is_unicode(text):
            yield f"response {shown(text)} holds a lone surrogate; write the character whole"
        if type(label) not in (int, float) or label not in (0, 1):
            valid = False
            value = repr(label) if type(label) in (int, float) else kind(label)
            yield f"response {shown(text)} has {shortened(value)}; write 1 for the best response and 0 for the others"
    if valid:
        yield from _count_problems(len(responses), sum(1 for label in responses.values() if label == 1), several)


def _count_problems(responses: int, best: int, several: bool) -> Iterator[str]:
    if responses < 2:
        yield f"has {responses} of the two responses needed; give the best one and at least one other"
    elif best == 0:
        yield "has no best response; write 1 for exactly one of them"
    elif best > 1 and not several:
        yield f"has {best} best responses; write 1 for exactly one of them"
    elif best == responses:
        yield f"has {best} best responses and no other; write 0 for at least one of them"


def _conversation_problems(turns: Any, _several: bool) -> Iterator[str]:
    if not isinstance(turns, list):
        yield f'is {kind(turns)}, not an array; write the turns as [{{"role": "user", "content": …}}]'
        return
    if not turns:
        yield "has no turn; write at least the user's, or leave the field out"
        return
    wrong = [problem for number, turn in enumerate(turns) for problem in _turn_problems(turn, number)]
    yield from wrong
    if not wrong:
        yield from _order_problems([turn["role"] for turn in turns])


def _turn_problems(turn: Any, number: int) -> Iterator[str]:
    place = f"turn {number} (counted from 0)"
    if not isinstance(turn, dict):
        yield f'{place} is {kind(turn)}, not an object; write {{"role": …, "content": …}}'
        return
    for key in ("role", "content"):
        if not isinstance(turn.get(key), str):
            problem = f"has no {key}" if key not in turn else f"has {kind(turn[key])} as {key}, not a string"
            yield f'{place} {problem}; write {{"role": …, "content": …}}'
    if isinstance(turn.get("role"), str) and turn["role"] not in ROLES:
        yield f"{place} has the role {shown(turn['role'])}; write one of {', '.join(ROLES)}"
    if isinstance(turn.get("content"), str) and not is_unicode(turn["content"]):
        yield f"{place} holds a lone surrogate; write the character whole"


def _order_problems(roles: Sequence[str]) -> Iterator[str]:
    if "system" in roles[1:]:
        yield f"turn {roles.index('system', 1)} (counted from 0) is the system's; only the first one may be"
    if roles[-1] != "user":
        yield f"ends with a turn of the {roles[-1]}; the last turn is the user's, whom the responses answer"


def _several_problems(stated: Any, _several: bool) -> Iterator[str]:
    if not isinstance(stated, bool):
        yield f"is {kind(stated)}; write true, or leave it out"


_CHECKS = {
    "several_best": _several_problems,
    "prompt": _prompt_problems,
    "responses": _responses_problems,
    "conversation": _conversation_problems,
}
"""What finds the problems of each field, given its value and whether several responses may be the best."""
