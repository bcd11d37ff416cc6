"""Conversations as preference sets write them: lists of messages, transcripts, plain texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from genies.data.records import Role, Turn

Turns = tuple[Turn, ...]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatbot"), "assistant"),
    "system": "system",
}
_KEYS = (("role", "content"), ("from", "value"))
"""How a message names who speaks and what is said; the second way is that of ShareGPT."""
_MARKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ ]?")
"""Begins a turn in a transcript of Anthropic's."""
_SPEAKERS: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
_LABELS: dict[Role, str] = {"system": "System", "user": "User", "assistant": "Assistant"}


AS_JSON = "lists are written as JSON in a text"


class Unusable(Exception):
    """A row gives no example; the message is the reason that rows are counted by."""


class Broken(Unusable):
    """It breaks its layout."""


class LeftOut(Unusable):
    """It says nothing that a pair of a better and a worse response could hold."""


def is_transcript(value: Any) -> bool:
    """Whether a text is a conversation in one string, as Anthropic-HH writes it: it begins with "Human:"."""
    return isinstance(value, str) and value.lstrip("\n").startswith("Human:")


def is_messages(value: Any) -> bool:
    """Whether a value is a list of messages, objects that say who speaks."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(turn, dict) and any(who in turn and what in turn for who, what in _KEYS) for turn in value)


def is_list_as_text(value: Any) -> bool:
    """Whether a text is a list in JSON, as sets write conversations whose format has only texts."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return False
    try:
        return bool(json.loads(value))
    except (ValueError, RecursionError):
        return False


def is_messages_as_text(value: Any) -> bool:
    """Whether that list is one of messages."""
    return is_list_as_text(value) and is_messages(json.loads(value))


def turns_of(value: Any) -> Turns:
    """The turns of a list of messages, a transcript, or a text, which is a turn of the user's.

    Raises:
        Broken: it is none of these, or a turn is of nobody that a conversation can have.
    """
    if is_transcript(value):
        return _of_transcript(value.lstrip("\n"))
    if isinstance(value, str):
        if is_messages_as_text(value):
            raise Broken(AS_JSON)
        return (Turn("user", value),)
    if not is_messages(value):
        raise Broken("a conversation is neither a text nor a list of messages")
    return tuple(_turn(message) for message in value)


def _turn(message: Mapping[str, Any]) -> Turn:
    who, what = next(keys for keys in _KEYS if keys[0] in message and keys[1] in message)
    role, content = message[who], message[what]
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise Broken("a message is of another role than system, user and assistant")
    if not isinstance(content, str):
        raise Broken("the content of a message is no text")
    if message.get("tool_calls") or message.get("function_call"):
        raise Broken("a message calls a tool, which a text does not show")
    return Turn(_ROLES[role.lower()], content)


def _of_transcript(text: str) -> Turns:
    parts = _MARKER.split(text)[1:]
    return tuple(Turn(_SPEAKERS[who], said) for who, said in zip(parts[::2], parts[1::2], strict=True))


def prompt_turns(value: Any) -> Turns:
    """The turns of a prompt; a last, empty turn of the assistant's, where its answer is to begin, is left out."""
    turns = turns_of(value)
    if turns and turns[-1].role == "assistant" and not turns[-1].content.strip():
        turns = turns[:-1]
    return turns


def cut(conversations: Sequence[Turns]) -> tuple[Turns, list[str]]:
    """Whole conversations as what they share and their last answers.

    The cut is at a turn, after the last shared marker of the assistant's: beginnings that answers share stay theirs.

    Raises:
        Broken: one does not end with an answer of the assistant's.
        LeftOut: they differ before the last turn, so that their answers have no prompt in common.
    """
    if any(len(turns) < 2 or turns[-1].role != "assistant" for turns in conversations):
        raise Broken("a conversation does not end with an answer of the assistant's")
    if len({turns[:-1] for turns in conversations}) > 1:
        raise LeftOut("conversations that differ before the last answer")
    return conversations[0][:-1], [turns[-1].content for turns in conversations]


def checked_prompt(turns: Turns) -> Turns:
    """The turns of a prompt, as a record may have them.

    Raises:
        Broken: the last one is not the user's, or a system's comes late.
    """
    if not turns or turns[-1].role != "user":
        raise Broken("a prompt that does not end with the user's turn")
    if any(turn.role == "system" for turn in turns[1:]):
        raise Broken("a turn of the system's in the middle of a conversation")
    return turns


def plain(turns: Turns) -> str:
    """A conversation as one text, which a response can follow directly: what methods without a chat template read.

    A single turn is its own text and an empty line; several have the speakers' names in front.
    """
    if len(turns) == 1:
        text = turns[0].content
        return text if text[-1:].isspace() else f"{text}\n\n"
    return "".join(f"{_LABELS[turn.role]}: {turn.content}\n\n" for turn in turns) + f"{_LABELS['assistant']}: "
