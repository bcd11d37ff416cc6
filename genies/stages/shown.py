"""Pairs of texts as a model is shown them, by the manifest of ``tokenize``: the same for all interventions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from genies.data.distributions import Example, read_split
from genies.data.options import SPLITS, Reading, Split
from genies.data.prompts import Presentation
from genies.data.reading import SplitPairs, read_drawn, read_test, read_training
from genies.files import read_json
from genies.interventions.text import TextPairs
from genies.models.describe import read_model
from genies.models.load import load_tokenizer


class ShownPrompt(NamedTuple):
    """A prompt as a model is shown it: its text, and how many characters of its front were dropped to make it fit."""

    text: str
    dropped: int


class ShownTexts:
    """Reads splits as the manifest says, and puts their pairs into texts."""

    def __init__(self, tokens: Path, model: Path) -> None:
        """Read the manifests of ``tokenize`` and of the model."""
        self._manifest = read_json(tokens, "reading", "left_out", "shortened")
        self.reading = Reading.of(self._manifest["reading"])
        chat = self.reading.prompt_format == "chat"
        self._tokenizer = load_tokenizer(Path(read_model(model)["path"])) if chat else None

    def training(self, file: Path) -> SplitPairs:
        """Training pairs of ``<distribution>/train.json``, best response first."""
        return read_training(file, self.reading, self._manifest["left_out"][f"{file.parent.name}/train"])

    def test(self, file: Path) -> SplitPairs:
        """Test pairs of ``<distribution>/test.json``, each in an order drawn by seed and texts."""
        return read_test(file, self.reading, self._manifest["left_out"][f"{file.parent.name}/test"])

    def texts(self, split: SplitPairs, part: Split, labelled: bool = True) -> TextPairs:
        """The pairs' texts.

        Args:
            split: what ``training`` or ``test`` gave.
            part: which of them: ``train`` or ``test``.
            labelled: whether labels are given.
        """
        place = f"{split.name}/{part}"
        examples = self.shown(place, split.framed.examples)
        # A model with a chat template of its own reads prompts without that of the run's model.
        published = None
        if self.reading.prompt_format == "chat":
            plain = Presentation("published", self._presentation(place).shortened)
            published = [example.prompt for example in plain.apply(None, split.framed.examples)]
        return TextPairs.of(examples, split.pairs, split.best_first, labelled, published)

    def examples(self, file: Path) -> list[Example]:
        """Examples of ``<distribution>/<split>.json`` as they are shown: those drawn that are not left out."""
        place = f"{file.parent.name}/{file.stem}"
        framed, indices = read_drawn(file, self.reading)
        shown = self.shown(place, framed.examples)
        left_out = self._manifest["left_out"].get(place, [])
        return [shown[index] for index in indices if index not in left_out]

    def as_it_is(self, folder: Path) -> bool:
        """Whether ``examples`` would give what the files of a distribution's folder hold."""
        files = [file for split in SPLITS if (file := folder / f"{split}.json").is_file()]
        return all(self.examples(file) == read_split(file) for file in files)

    def shown(self, place: str, examples: Sequence[Example]) -> list[Example]:
        """All examples of ``place`` (``<distribution>/<split>``) as the model is shown them."""
        return self._presentation(place).apply(self._tokenizer, examples)

    def shown_prompt(self, place: str, index: int, example: Example) -> ShownPrompt:
        """The prompt of one example of ``place``, by the example's index among those of the framing."""
        presentation = self._presentation(place)
        dropped = presentation.shortened.get(index, 0)
        return ShownPrompt(presentation.prompt(self._tokenizer, example.prompt, dropped, example.conversation), dropped)

    def _presentation(self, place: str) -> Presentation:
        shortened = self._manifest["shortened"].get(place, {})
        return Presentation(
            self.reading.prompt_format, {int(example): dropped for example, dropped in shortened.items()}
        )
