"""Views: the texts that representation methods read for one (prompt, response). Templates are in ``views.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from genies.digests import value_digest


@dataclass(frozen=True)
class View:
    """A text made of a prompt and a response: ``prompt + before + response + after``."""

    name: str
    before: str = ""
    after: str = ""

    def text(self, prompt: str, response: str) -> str:
        """The whole string that is tokenized at once."""
        return f"{prompt}{self.before}{response}{self.after}"

    def describe(self) -> dict[str, str]:
        """What decides the view's texts, for digests."""
        return {"name": self.name, "before": self.before, "after": self.after}


_TEMPLATES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
QUESTION: str = _TEMPLATES["question"]
VIEWS: dict[str, View] = {
    name: View(name, **{part: text.replace("{question}", QUESTION) for part, text in parts.items()})
    for name, parts in _TEMPLATES["views"].items()
}
"""Every view by name."""


def templates_digest(views: Sequence[str], framing: str) -> str:
    """Digest of the templates of some views, and where there is a question that is asked, of that."""
    asked = None if framing == "response" else QUESTION
    return value_digest([[VIEWS[view].describe() for view in views], asked])
