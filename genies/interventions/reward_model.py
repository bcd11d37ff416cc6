"""A finished reward model: any sequence classifier with one output, scored without fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from genies.errors import ConfigError
from genies.interventions.text import Grouped, TextPairs, TextScoring
from genies.models.adapters import OtherModel
from genies.models.files import hashes_file
from genies.models.gguf import is_gguf

if TYPE_CHECKING:
    from genies.engine.scoring import TextGroup
    from genies.interventions.training.rewards import RewardScorer

Overlong = Literal["error", "shorten"]


class RewardModel(TextScoring):
    """Rewards of a sequence classifier from a folder or the hub, whatever the run's model and the source.

    Decoders read ``prompt + response`` and EOS; other classifiers read the text as their tokenizer closes it.

    Args:
        model: folder in the format of ``save_pretrained`` (safetensors), or hub id; of an adapter of PEFT, too,
            which has to hold its reward head. In a run's configuration also the name of one of its ``tuned_models``.
        revision: revision on the hub: branch, tag or commit.
        base: of an adapter: folder, GGUF file or hub id of its base; default: the one that the adapter names.
        base_revision: revision of the base on the hub; default: the one that the adapter names.
        overlong: whether texts over this model's own context are an ``error``, or lose tokens in front (``shorten``).
        **parameters: those of ``TextIntervention``.

    Attributes:
        counts_: examples ``shortened`` in the last call of ``decision_function``.
    """

    drawn = False
    _scorer: RewardScorer | None

    def __init__(
        self,
        *,
        model: str | None = None,
        revision: str | None = None,
        base: str | None = None,
        base_revision: str | None = None,
        overlong: Overlong = "error",
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        if not model or not isinstance(model, str):
            raise ConfigError("parameter model: name the folder or hub id of a sequence-classification reward model")
        if is_gguf(model):
            raise ConfigError(f"parameter model: {model} is a GGUF file, which can only be a language model")
        self.model = model
        self.revision = revision
        self.base = base
        self.base_revision = base_revision
        self.overlong = overlong

    @classmethod
    def other_models(cls, parameters: Mapping[str, Any]) -> list[OtherModel]:
        return [
            OtherModel(parameters["model"], *(parameters.get(name) for name in ("revision", "base", "base_revision")))
        ]

    def fit(self, pairs: TextPairs) -> Self:
        """Nothing is learned."""
        return self

    def grouped(self, pairs: TextPairs) -> Grouped:
        """The texts of the pairs.

        Raises:
            ModelError: no such model, or no finished sequence classifier with one output.
            DataError: a text is longer than the reward model's context, and ``overlong`` says that this is an error.
        """
        reader = self._reader()
        return replace(reader.grouped(pairs), counts={"shortened": reader.shortened})

    def text_scores(self, groups: Sequence[TextGroup]) -> np.ndarray:
        """Rewards, float64 (texts,)."""
        return self._reader().rewards(groups, self.progress_label)

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        return self

    def _forget_model(self) -> None:
        self._scorer = None

    def _reader(self) -> RewardScorer:
        if self._scorer is None:
            key = ("reward_model", self._device, *sorted(self.get_params().items()))
            self._scorer = self.load_once(key, self._load)
        return self._scorer

    def _load(self) -> RewardScorer:
        from genies.engine.classifier import finished_reader
        from genies.interventions.training.rewards import finished_scorer
        from genies.models.adapters import reward_folder

        folder = reward_folder(self.other_models(self.get_params())[0], hashes_file(self.cache))
        reader = finished_reader(folder, self.dtype, self._device, self.attention)
        return finished_scorer(reader, folder, self.batch_tokens, shorten=self.overlong == "shorten")
