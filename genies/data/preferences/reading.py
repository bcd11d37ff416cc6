"""What a row of a preference set says: a prompt, good responses and worse ones. One function per layout."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from genies.data.preferences.turns import (
    AS_JSON,
    Broken,
    LeftOut,
    Turns,
    checked_prompt,
    cut,
    is_list_as_text,
    is_messages,
    is_messages_as_text,
    is_transcript,
    plain,
    prompt_turns,
    turns_of,
)
from genies.data.records import Turn
from genies.data.strict import is_unicode

Row = Mapping[str, Any]
"""A row by the roles of its columns, such as ``prompt`` and ``chosen``."""
TIE = "ties: no response is preferred"
BOTH_BAD = "ties: both responses are called bad"
FAR_APART = "a score is no number: scores differ by more than a number can hold"
TEXTS = ("response", "completion", "answer", "text", "content", "output")
"""What a scored response calls its text."""
SCORES = ("score", "overall_score", "rating")
"""What it calls its score, where the user names nothing else."""


@dataclass(frozen=True)
class Parsed:
    """What a row says.

    Attributes:
        prompt: the turns before the response.
        good, worse: texts of the responses; one of them may be empty where rows of one prompt belong together.
        further: keys that the record gets besides.
    """

    prompt: Turns
    good: tuple[str, ...]
    worse: tuple[str, ...]
    further: Mapping[str, Any] = field(default_factory=dict)


def pairs(row: Row) -> Parsed:
    """A prompt with chosen and rejected responses, one or a list of each; or whole conversations."""
    chosen, rejected = _several(row["chosen"]), _several(row["rejected"])
    prompt, texts = _responses([*chosen, *rejected], row["prompt"], row.get("system"))
    return Parsed(prompt, texts[: len(chosen)], texts[len(chosen) :], _lead(row))


def implicit(row: Row) -> Parsed:
    """Whole conversations, chosen and rejected; the prompt is what they share."""
    chosen, rejected = _several(row["chosen"]), _several(row["rejected"])
    if not all(is_messages(value) or is_transcript(value) for value in (*chosen, *rejected)):
        raise Broken("chosen and rejected are no conversations, and there is no prompt")
    prompt, texts = cut([turns_of(value) for value in (*chosen, *rejected)])
    return Parsed(checked_prompt(prompt), tuple(texts[: len(chosen)]), tuple(texts[len(chosen) :]), _lead(row))


def _lead(row: Row) -> dict[str, float]:
    """By how much the chosen response leads in scores that the row has as well; nothing where it has none."""
    chosen, rejected = row.get("chosen_score"), row.get("rejected_score")
    if not (is_number(chosen) and is_number(rejected)):
        return {}
    if chosen <= rejected:
        raise LeftOut(TIE if chosen == rejected else "the rejected response has the higher score")
    return {"strength": _number(chosen - rejected, FAR_APART)}


def preference(row: Row) -> Parsed:
    """Two responses and a number, negative where the first one is better (HelpSteer3)."""
    value = _number(row["preference"], "a preference is no number")
    return _of_two(row, None if value == 0 else value < 0, {"strength": abs(value)})


def winner(row: Row) -> Parsed:
    """Two responses, or two conversations, and a word that says which one won, or that none did (arenas)."""
    word = row["winner"].strip().lower() if isinstance(row["winner"], str) else row["winner"]
    if word in ("tie (bothbad)", "both_bad", "bothbad", "both bad", "neither"):
        raise LeftOut(BOTH_BAD)
    if word in ("tie", "draw", "equal", "same"):
        raise LeftOut(TIE)
    first, second = ("model_a", "a", "response_a", "first"), ("model_b", "b", "response_b", "second")
    if word not in first + second:
        raise Broken("a winner is neither of the two, nor a tie")
    return _of_two(row, word in first)


def one_or_two(row: Row) -> Parsed:
    """Two responses and the number of the better one, 1 or 2."""
    label = row["label"]
    if isinstance(label, bool) or label not in (1, 2):
        raise Broken("a label is neither 1 nor 2")
    return _of_two(row, label == 1)


def better_id(row: Row) -> Parsed:
    """Two responses and the number of the better one, 0 or 1 (PKU-SafeRLHF)."""
    label = row["label"]
    if label not in (0, 1):
        raise LeftOut(TIE) if label == -1 else Broken("a label is neither 0 nor 1")
    return _of_two(row, label == 0)


def first_is_better(row: Row) -> Parsed:
    """Two responses and a label that is 1 where the first one is preferred (SHP)."""
    label = row["label"]
    if label not in (0, 1):
        raise Broken("a label is neither 0 nor 1")
    return _of_two(row, label == 1)


def scored(row: Row) -> Parsed:
    """Several responses, each with a score, or with a rank, of which 1 is the best (UltraFeedback, Nectar)."""
    items, given = row["responses"], row.get("scores")
    if not isinstance(items, list) or (given is not None and not isinstance(given, list)):
        raise Broken("responses or scores are no list")
    if given is not None and len(given) != len(items):
        raise Broken("there are more or fewer scores than responses")
    if len(items) < 2:
        raise LeftOut("fewer than two responses")
    values = [_number(value, "a score is no number") for value in given or _scores(items, row.get("score"))]
    if min(values) == max(values):
        raise LeftOut(TIE)
    prompt, texts = _responses([_text(item) for item in items], row["prompt"], row.get("system"))
    top = max(values)
    good, worse = (
        tuple(text for text, value in zip(texts, values, strict=True) if (value == top) is wanted)
        for wanted in (True, False)
    )
    lead = _number(top - max(value for value in values if value < top), FAR_APART)
    return Parsed(prompt, good, worse, {"strength": lead})


def unpaired(row: Row) -> Parsed:
    """A prompt with one response, and whether that is good; rows of one prompt belong together (TRL)."""
    if row["label"] not in (0, 1):
        raise Broken("a label is neither true nor false")
    prompt, texts = _responses([row["completion"]], row["prompt"], row.get("system"))
    return Parsed(prompt, texts, ()) if row["label"] else Parsed(prompt, (), texts)


def record_of_row(parsed: Parsed, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The record of what rows of one prompt say.

    Raises:
        LeftOut: there is no pair of a better and a worse response.
        Broken: a response is both, or a text cannot be written.
    """
    good, worse = tuple(dict.fromkeys(parsed.good)), tuple(dict.fromkeys(parsed.worse))
    if not good or not worse:
        raise LeftOut("no worse response" if good else "no good response")
    if set(map(_read_alike, good)) & set(map(_read_alike, worse)):
        same = len(good) == len(worse) == 1
        raise LeftOut("both responses are the same") if same else Broken("a response is both good and worse")
    text = plain(parsed.prompt)
    record: dict[str, Any] = {"prompt": text, "responses": {**dict.fromkeys(good, 1), **dict.fromkeys(worse, 0)}}
    if len(good) > 1:
        record["several_best"] = True
    if len(parsed.prompt) > 1 or parsed.prompt[0].content != text:
        record["conversation"] = [{"role": turn.role, "content": turn.content} for turn in parsed.prompt]
    record |= {key: value for key, value in {**kept, **parsed.further}.items() if key not in record}
    if not is_unicode(json.dumps(record, ensure_ascii=False)):
        raise Broken("a text holds a lone surrogate")
    return record


def _read_alike(text: str) -> str:
    """What is left of a response without white space around it and the form of Unicode that it is written in."""
    return unicodedata.normalize("NFC", text).strip()


def _several(value: Any) -> list[Any]:
    """The responses of a column that has one response or a list of them."""
    alone = not isinstance(value, list) or is_messages(value)
    responses = [value] if alone else value
    if not responses or not all(isinstance(one, str) or is_messages(one) for one in responses):
        raise Broken("a response is neither a text nor a list of messages")
    return responses


def _responses(values: Sequence[Any], prompt: Any, system: Any) -> tuple[Turns, tuple[str, ...]]:
    """The prompt and the texts of responses that are texts, the assistant's turns, or whole conversations."""
    if all(map(is_list_as_text, values)) and (is_list_as_text(prompt) or all(map(is_messages_as_text, values))):
        raise Broken(AS_JSON)
    before = _after_system(prompt_turns(prompt), system)
    if all(isinstance(value, str) and not _continues(value, prompt, before) for value in values):
        return checked_prompt(before), tuple(values)
    turns = [turns_of(value) for value in values]
    if all(len(one) == 1 and one[0].role == "assistant" for one in turns):
        return checked_prompt(before), tuple(one[0].content for one in turns)
    shared, texts = cut(turns)
    return checked_prompt(_with_system(before, shared)), tuple(texts)


def _after_system(before: Turns, system: Any) -> Turns:
    """A prompt after the system prompt of a column of its own, if it has any."""
    if system is None or system == "" or not before:
        return before
    if not isinstance(system, str):
        raise Broken("a system prompt is no text")
    if before[0].role != "system":
        return (Turn("system", system), *before)
    if before[0].content.strip() != system.strip():
        raise Broken("two different system prompts")
    return before


def _continues(value: str, prompt: Any, before: Turns) -> bool:
    """Whether a text is a transcript that goes on from the prompt; a plain text that repeats it is a response."""
    return is_transcript(value) and (is_transcript(prompt) or _hold(turns_of(value), before))


def _hold(turns: Turns, before: Turns) -> bool:
    """Whether a conversation has the user's turns of a prompt."""
    said = {turn.content.strip() for turn in turns if turn.role == "user"}
    return all(turn.content.strip() in said for turn in before if turn.role == "user")


def _with_system(before: Turns, shared: Turns) -> Turns:
    """The prompt of whole conversations, which hold it already; only a system's turn may lie outside of them."""
    if not _hold(shared, before):
        raise Broken("conversations do not hold their prompt")
    if before[0].role != "system":
        return shared
    if shared[0].role == "system":
        return _after_system(shared, before[0].content)
    return (before[0], *shared)


def _of_two(row: Row, first_wins: bool | None, further: Mapping[str, Any] | None = None) -> Parsed:
    """What a verdict on two responses says; None is a tie."""
    if first_wins is None:
        raise LeftOut(TIE)
    values = [row["first"], row["second"]]
    if not all(isinstance(value, str) or is_messages(value) for value in values):
        raise Broken("a response is neither a text nor a list of messages")
    if row.get("prompt") is None:
        if not all(is_messages(value) or is_transcript(value) for value in values):
            raise Broken("responses are no conversations, and there is no prompt")
        shared, found = cut([turns_of(value) for value in values])
        prompt, texts = checked_prompt(shared), tuple(found)
    else:
        prompt, texts = _responses(values, row["prompt"], row.get("system"))
    good, worse = texts if first_wins else texts[::-1]
    return Parsed(prompt, (good,), (worse,), further or {})


def _text(item: Any) -> Any:
    """The text, or the messages, of a scored response."""
    if isinstance(item, dict) and not is_messages([item]):
        item = next((item[key] for key in TEXTS if isinstance(item.get(key), str)), None)
    if isinstance(item, str) or is_messages(item):
        return item
    raise Broken("a response is neither a text nor a list of messages")


def _scores(items: Sequence[Any], named: str | None) -> list[Any]:
    """The scores of a list of responses, all by the same name, since each name has a scale of its own."""
    if not all(isinstance(item, dict) for item in items):
        raise Broken("a response has no score")
    if named is None and all(isinstance(item.get("rank"), int | float) for item in items):
        return [-item["rank"] for item in items]
    keys = [named] if named else [key for key in SCORES if any(item.get(key) is not None for item in items)]
    whole = next((key for key in keys if all(item.get(key) is not None for item in items)), None)
    if whole is None:
        raise Broken("a response lacks the score that others have" if keys else "a response has no score")
    return [item[whole] for item in items]


def _number(value: Any, problem: str) -> float:
    if not is_number(value):
        raise Broken(problem)
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
