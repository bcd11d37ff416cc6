"""Few-shot: as zero-shot, after some training examples of the source with their best responses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genies.errors import ConfigError, DataError
from genies.interventions.steps.calibration import sigmoid
from genies.interventions.steps.checks import check_training_pairs
from genies.interventions.steps.shots import ShotEncoder, Shots
from genies.interventions.text import Grouped, TextPairs, TextScoring
from genies.interventions.zero_shot import Normalization
from genies.options import PositiveInt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from genies.engine.features import Features
    from genies.engine.forest import PackedBatch
    from genies.engine.scoring import Scorer, TextGroup

log = logging.getLogger(__name__)


class FewShot(TextScoring):
    """Log-probability of response and EOS after ``shots`` training examples of the source and the prompt.

    Each example is a prompt with its best response after a blank line, and so is the prompt to be judged. ``corrected``
    draws a few sets of shots by ``seed``, and deals each prompt to one of them by its text, so that what a set's tokens
    give is computed once; ``paper`` draws anew for each prompt. Where the context is too short for a prompt's longest
    response, shots are dropped from the front, for all its responses alike. Source: GENIES (arXiv 2311.07723),
    section 4; as published, ``paper`` gives the probabilities 0, ½ or 1.

    Args:
        shots: training examples before each prompt; published: 4.
        sets: sets of shots that a source has under ``corrected``.
        normalization: ``sum`` of the tokens' log-probabilities, or their ``mean`` per token.
        **parameters: those of ``TextIntervention``.

    Attributes:
        examples_: the training texts to draw from, sorted.
        counts_: ``dropped_shots`` in the last call of ``decision_function``, over all its examples.
    """

    spreads = True
    saw = ("source labels",)
    no_text_scores = ""
    text_scores_compare = "within a prompt"
    _loaded: tuple[Scorer, PreTrainedTokenizerBase] | None

    def __init__(
        self,
        *,
        shots: PositiveInt = 4,
        sets: PositiveInt = 8,
        normalization: Normalization = "sum",
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        if self.protocol == "paper" and normalization != "sum":
            raise ConfigError("parameter normalization: the protocol paper decides by sum; choose sum or corrected")
        self.shots = shots
        self.sets = sets
        self.normalization = normalization

    def fit(self, pairs: TextPairs) -> Self:
        """Remember prompts and best responses of training pairs.

        Raises:
            DataError: fewer distinct ones than ``shots``, or a pair with its worse response first.
        """
        check_training_pairs(pairs)
        self.examples_ = sorted({prompt + best for prompt, best in zip(pairs.prompt, pairs.first, strict=True)})
        if len(self.examples_) < self.shots:
            raise DataError(
                f"training pairs: {len(self.examples_)} distinct examples, {self.shots} shots are asked for; give more "
                "training examples or set shots lower"
            )
        return self

    def grouped(self, pairs: TextPairs) -> Grouped:
        """The texts of the pairs after their shots.

        Raises:
            DataError: a prompt and a response alone are longer than the model's context.
        """
        from genies.interventions.training.rewards import distinct_texts

        texts, rows = distinct_texts(pairs)
        _, tokenizer = self._reader()
        encoder = ShotEncoder(self._shots, tokenizer, self._model["eos_token"], self._model["context"])
        groups, kept = encoder.groups(list(texts.values()), list(texts))
        dropped = self.shots - kept
        if dropped.any():
            log.warning(
                "few_shot: %d shots dropped in %d of %d examples, the context of %d tokens being full",
                dropped.sum(), np.count_nonzero(dropped), len(groups), self._model["context"],
            )  # fmt: skip
        return Grouped(groups, rows, {"dropped_shots": int(dropped.sum())})

    def text_scores(self, groups: Sequence[TextGroup]) -> np.ndarray:
        """Natural log-probabilities of responses, summed over tokens or their mean, float64 (texts,)."""
        scorer, _ = self._reader()
        scores = scorer.scores(groups, self.progress_label)
        if self.normalization == "mean":
            scored = (text for g in groups for text in zip(g.tokens, g.score_from, strict=True))
            scores /= [_scored_tokens(tokens, start, self._model["eos_token"]) for tokens, start in scored]
        return scores

    def drawn_sets(self, pairs: TextPairs) -> np.ndarray | None:
        if self.protocol == "paper":
            return None
        return np.array([self.set_of(prompt) for prompt in pairs.prompt], np.int64)

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Softmax over the two scores, under ``paper`` their comparison, float64 (n,)."""
        advantage = scores[:, 0] - scores[:, 1]
        return 0.5 * (1 + np.sign(advantage)) if self.protocol == "paper" else sigmoid(advantage)

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {"examples": self.examples_}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.examples_ = values["examples"]
        return self

    def draw(self, prompt: str) -> list[str]:
        """The training texts that come before a prompt, first to last."""
        return self._shots.draw(prompt)

    def set_of(self, prompt: str) -> int:
        """Which set of shots a prompt is dealt to; it depends on no other prompt."""
        return self._shots.set_of(prompt)

    @property
    def _shots(self) -> Shots:
        return Shots(self.examples_, self.shots, self.sets, self.seed, anew=self.protocol == "paper")

    def _forget_model(self) -> None:
        self._loaded = None

    def _reader(self) -> tuple[Scorer, PreTrainedTokenizerBase]:
        """The model and its tokenizer, loaded when first needed."""
        if self._loaded is None:
            key = ("few_shot", self._model["path"], self.dtype, self._device, self.attention, self.batch_tokens)
            self._loaded = self.load_once(key, self._load)
        return self._loaded

    def _load(self) -> tuple[Scorer, PreTrainedTokenizerBase]:
        """The model and its tokenizer; neither depends on the examples."""
        from genies.engine.arithmetic import DTYPES, announce, arithmetic, resolve_device
        from genies.engine.decoder import Decoder
        from genies.engine.forest import attention_cost
        from genies.engine.scoring import Reading, Scorer
        from genies.models.load import load_tokenizer

        folder = Path(self._model["path"])
        place = resolve_device(self._device)
        announce(self.dtype, place)
        dtype = arithmetic(self.dtype, place)
        attention = None if self.attention == "auto" else self.attention
        decoder = Decoder.load(folder, dtype, self._device, attention)

        def reading(features: Features) -> Reading:
            return Reading(features.log_probability, features.residual[:, -1])

        def read(batch: PackedBatch, packed: bool) -> Reading:
            return reading(decoder.read(batch) if packed else decoder.read_separately(batch))

        def read_after(tokens: np.ndarray) -> Callable[[PackedBatch], Reading]:
            past = decoder.remember(tokens)
            return lambda batch: reading(decoder.read(batch, past))

        scorer = Scorer(
            read, self._model["eos_token"], self.batch_tokens, DTYPES[dtype], read_after=read_after,
            attention_cost=attention_cost(decoder.shape.hidden),
        )  # fmt: skip
        return scorer, load_tokenizer(folder)


def _scored_tokens(tokens: np.ndarray, start: int | None, eos_token: int) -> int:
    """As many as ``build_tree`` scores."""
    if start is None:
        return 1
    scored = len(tokens) - min(max(1, start), len(tokens)) + int(tokens[-1] != eos_token)
    return max(1, scored)  # the sum over none is 0
