"""What is asked of a finished reward model: questions to judges, and parameters, checked before it is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genies.errors import ConfigError

Answers = Sequence[str] | Mapping[str, float]
"""Answers to a question about two responses, the first response's first; or grades, with what they are worth."""
WORDINGS = {
    "pair": (
        "Below are a prompt and two responses to it. Decide which response answers the prompt better.\n\n"
        "Prompt:\n{prompt}\n\nResponse A:\n{first}\n\nResponse B:\n{second}\n\n"
        "Which response is better? Answer with one letter, A or B, and nothing else."
    ),
    "grade": (
        "Below are a prompt and a response to it. Grade how well the response answers the prompt, from 1 (not at all) "
        "to 5 (as well as possible).\n\nPrompt:\n{prompt}\n\nResponse:\n{response}\n\n"
        "Answer with one digit, from 1 to 5, and nothing else."
    ),
}
"""Questions in words of genies, by the name that the parameter ``template`` has for them."""
CLOSING = "\n\nAnswer:"
"""Ends such a question to a model without a chat template."""
PLACE = re.compile(r"\{(prompt|first|second|response)\}")
PAIR, GRADE = frozenset({"prompt", "first", "second"}), frozenset({"prompt", "response"})


@dataclass(frozen=True)
class Question:
    """What a judge is asked.

    Attributes:
        template: text with places for prompt and responses.
        wording: whether it is one of ``WORDINGS``.
        answers: texts of the answers.
        grades: what each is worth; None: the question is about two responses.
    """

    template: str
    wording: bool
    answers: tuple[str, ...]
    grades: tuple[float, ...] | None

    @classmethod
    def of(cls, template: str, answers: Answers | None) -> Question:
        """The question of the parameters ``template`` and ``answers``.

        Raises:
            ConfigError: they are no question with answers.
        """
        if not isinstance(template, str):
            raise ConfigError(f"parameter template: {template!r} is no text; write one, or name pair or grade")
        text = WORDINGS.get(template, template)
        places = frozenset(PLACE.findall(text))
        if places not in (PAIR, GRADE):
            raise ConfigError(
                f"parameter template: has places for {', '.join(sorted(places)) or 'nothing'}; write {{prompt}}, "
                "{first} and {second}, or {prompt} and {response}, or name pair or grade"
            )
        if template in WORDINGS and answers is not None:
            raise ConfigError(
                "parameter answers: goes with a template of your own, which says what to answer; give one"
            )
        answers = list("AB" if places == PAIR else "12345") if answers is None else answers
        texts = tuple(answers) if isinstance(answers, Sequence | Mapping) else (answers,)
        if (
            isinstance(answers, str)
            or any(not isinstance(text, str) or not text for text in texts)
            or len(set(texts)) != len(texts)
        ):
            raise ConfigError(f"parameter answers: {answers!r} are not different texts; write each once, in quotes")
        if places == PAIR:
            if len(texts) != 2 or isinstance(answers, Mapping):
                raise ConfigError(
                    f"parameter answers: {answers!r} are not two in a list; give that for the first response, then "
                    "that for the second"
                )
            return cls(text, template in WORDINGS, texts, None)
        return cls(text, template in WORDINGS, texts, _grades(answers))

    @property
    def ends_open(self) -> bool:
        """Whether nothing comes after the last text that is to be judged."""
        return self.template[self.template.rfind("{") :] in {f"{{{name}}}" for name in PAIR | GRADE}

    def asked(self, **parts: str) -> str:
        """The question about some texts."""
        return PLACE.sub(lambda place: parts[place[1]], self.template)


def _grades(answers: Answers) -> tuple[float, ...]:
    try:
        grades = tuple(map(float, answers.values() if isinstance(answers, Mapping) else answers))
    except (TypeError, ValueError):
        raise ConfigError(
            f"parameter answers: {answers!r} are not all numbers; say what each is worth, such as {{good: 1, bad: 0}}"
        ) from None
    if len(set(grades)) < 2 or not np.isfinite(grades).all():
        raise ConfigError(f"parameter answers: {answers!r} are no grades; give two different ones at least")
    return grades


def check_output(output: Any) -> None:
    """Raise ConfigError where a value can be no ``genies.engine.finished.Output``, whatever the model is."""
    index = isinstance(output, int) and not isinstance(output, bool) and output >= 0
    if output is None or index or (isinstance(output, str) and output):
        return
    weights = list(output.values()) if isinstance(output, Mapping) else output
    numbers = isinstance(weights, Sequence) and not isinstance(weights, str) and all(map(_is_finite, weights))
    labels = not isinstance(output, Mapping) or all(isinstance(label, str) for label in output)
    if not (numbers and labels and any(weights)):
        raise ConfigError(
            f"parameter output: {output!r} names no output; give an index from 0 on, a label, or finite weights, a "
            "list or by label, that are not all 0"
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_read_at(read_at: Any) -> None:
    """Raise ConfigError where a value is neither the text nor the id of a token, whatever the model is."""
    number = isinstance(read_at, int) and not isinstance(read_at, bool) and read_at >= 0
    if not (read_at is None or number or (isinstance(read_at, str) and read_at)):
        raise ConfigError(f"parameter read_at: {read_at!r} is no token; give a token's text, or its id from 0 on")
