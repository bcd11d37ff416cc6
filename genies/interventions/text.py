"""The interface of interventions that read texts with a model of their own, and the pairs of texts they are given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from genies.data.distributions import Example
from genies.data.pairs import Pair, PairTexts
from genies.data.records import Turn
from genies.errors import ConfigError, DataError
from genies.interventions.base import Intervention
from genies.interventions.steps.calibration import sigmoid
from genies.interventions.training.loaded import Loaded, LoadedModel
from genies.options import PositiveInt

if TYPE_CHECKING:
    from genies.engine.scoring import TextGroup

Dtype = Literal["auto", "float32", "bfloat16"]
Attention = Literal["auto", "sdpa", "eager"]


@dataclass(frozen=True)
class TextPairs:
    """n pairs of responses (first, second), each to one prompt. Training pairs come best response first.

    Attributes:
        prompt, first, second: n texts each.
        example: index of each pair's example in its file, int64 (n,). Pairs of one example have the same prompt.
        label: True where the first response is the best one, bool (n,); None when it is withheld.
        published: the prompts without the chat template of the run's model, n texts; empty where they have none.
        conversation: the turns that each prompt is, n tuples; empty where each is one turn of the user's, and so is a
            prompt that has none.

    Raises:
        DataError: the parts differ in length.
    """

    prompt: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    example: np.ndarray
    label: np.ndarray | None = None
    published: tuple[str, ...] = ()
    conversation: tuple[tuple[Turn, ...], ...] = ()

    def __post_init__(self) -> None:
        parts = [self.prompt, self.first, self.second, self.example, *([] if self.label is None else [self.label])]
        parts += [part for part in (self.published, self.conversation) if part]
        if len({len(part) for part in parts}) != 1:
            raise DataError(f"TextPairs: parts of {', '.join(str(len(p)) for p in parts)} pairs; give as many of each")

    def __len__(self) -> int:
        return len(self.prompt)

    @classmethod
    def of(
        cls,
        examples: Sequence[Example],
        pairs: Sequence[Pair],
        best_first: np.ndarray,
        labelled: bool = True,
        published: Sequence[str] | None = None,
    ) -> Self:
        """The texts of ``pairs``, which index into ``examples``.

        Args:
            examples: all examples of the split.
            pairs: the pairs.
            best_first: whether the best response is the first of the pair, bool (n,).
            labelled: whether ``label`` is given.
            published: prompts of the examples without a chat template; None where they have none.
        """
        return cls(
            *PairTexts.of(examples, pairs, best_first),
            example=np.array([pair.example for pair in pairs], np.int64),
            label=np.array(best_first, bool) if labelled else None,
            published=() if published is None else tuple(published[pair.example] for pair in pairs),
            conversation=_unless_all_empty(examples[pair.example].conversation for pair in pairs),
        )

    def rows(self, rows: Sequence[int]) -> TextPairs:
        """The pairs of these rows, in their order."""
        texts = {
            name: tuple(part[row] for row in rows) if (part := getattr(self, name)) else ()
            for name in ("prompt", "first", "second", "published", "conversation")
        }
        label = None if self.label is None else self.label[list(rows)]
        return replace(self, **texts, example=self.example[list(rows)], label=label)

    def plain_prompt(self, row: int) -> str:
        """The prompt of a pair without the chat template of the run's model."""
        return (self.published or self.prompt)[row]

    def turns(self, row: int) -> tuple[Turn, ...]:
        """What is said before the responses of a pair."""
        own = self.conversation[row] if self.conversation else ()
        return own or (Turn("user", self.plain_prompt(row)),)

    def content(self) -> list[Any]:
        """Everything but labels, as JSON has it; what is empty is left out."""
        turns = [[[turn.role, turn.content] for turn in conversation] for conversation in self.conversation]
        more = [part for part in (list(self.published), turns) if part]
        return [self.prompt, self.first, self.second, self.example.tolist(), *more]


def _unless_all_empty(parts: Iterable[tuple[Turn, ...]]) -> tuple[tuple[Turn, ...], ...]:
    found = tuple(parts)
    return found if any(found) else ()


@dataclass(frozen=True)
class Prediction:
    """What an intervention says of the n pairs of a target.

    Attributes:
        probability: that the first response is the better one, float64 (n,).
        scores: of (first, second), float64 (n, 2).
        counts: as ``TextIntervention.counts_``.
    """

    probability: np.ndarray
    scores: np.ndarray
    counts: Mapping[str, float]


class TextIntervention(Intervention[TextPairs]):
    """An intervention that reads texts with a model, which it loads once, when first needed, and then keeps.

    ``bind`` comes before ``fit`` and ``decision_function``; ``genies.interventions.registry`` saves and loads it like
    any other. The batch size changes scores by rounding alone: the score of a text is read at its last token, padding
    is masked by explicit masks, and packed passes are compared with separate ones before they are relied on.

    Args:
        dtype: type of the frozen weights and of the arithmetic; ``auto`` is bfloat16 on CUDA, else float32. A CPU
            without native bfloat16 computes in float32, whatever is asked for.
        attention: attention implementation of transformers; ``auto`` is sdpa where the architecture has it.
        batch_tokens: tokens of one forward pass, padding counted (a larger example is passed alone).
        **parameters: those of ``Intervention``.

    Attributes:
        loaded_model: where ``load_once`` keeps a model for other interventions that are given the same object; None
            (the default) keeps none.
        progress_label: stands on progress bars.
        cache: the cache folder, for models that have to be merged first.
        training_log_: ``step``, ``loss`` and ``learning_rate`` of each step, where ``fit`` trains.
        counts_: what the last call of ``decision_function`` had to change, for want of context: ``dropped_shots``, or
            ``shortened`` examples; and what the order of responses decided, where a judge read both.
        read_as_: how a finished model reads texts, and how far that is from its own pass.
    """

    features: ClassVar = ()
    fit_views: ClassVar = ()
    predict_views: ClassVar = ()
    spreads: ClassVar[bool] = False
    """Whether ``device: balanced`` spreads the model over all GPUs; else it is on one."""

    training_log_: Sequence[Mapping[str, float]] = ()
    counts_: Mapping[str, float] = MappingProxyType({})
    read_as_: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        *,
        dtype: Dtype = "auto",
        attention: Attention = "auto",
        batch_tokens: PositiveInt = 4096,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        self.dtype = dtype
        self.attention = attention
        self.batch_tokens = batch_tokens
        self.loaded_model: LoadedModel | None = None
        self.progress_label = type(self).__name__
        self.cache = Path("cache")
        self._manifest: Mapping[str, Any] | None = None
        self._device = "auto"
        self._folder: Path | None = None

    def bind(self, model: Mapping[str, Any], device: str = "auto", folder: Path | None = None) -> Self:
        """Name the run's model, and where to compute and to keep things. Returns self.

        Args:
            model: the model's manifest, as ``genies.models.describe.describe_model`` returns it.
            device: torch device; ``auto`` takes the first CUDA device, else the CPU.
            folder: for checkpoints and ``training_log.jsonl``; None keeps neither.
        """
        self._manifest, self._device = model, device
        self._folder = None if folder is None else Path(folder)
        self._forget_model()
        return self

    def load_once(
        self, key: Hashable, load: Callable[[], Loaded], usable: Callable[[Loaded], bool] = lambda _: True
    ) -> Loaded:
        """What ``load`` returns, taken from ``loaded_model`` where that has it; see ``LoadedModel.get``.

        A job that fits an intervention on several sources loads its model once where the intervention loads it so. What
        is loaded is shared, so it must not be changed; ``usable`` may check that.
        """
        return load() if self.loaded_model is None else self.loaded_model.get(key, load, usable)

    @abstractmethod
    def fit(self, pairs: TextPairs) -> Self:
        """Fit on training pairs, best response first. Returns self."""

    @abstractmethod
    def decision_function(self, pairs: TextPairs) -> np.ndarray:
        """Raw scores of (first, second), float64 (n, 2); the higher one is the response that is preferred."""

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """σ(score of the first − score of the second), float64 (n,): Bradley and Terry's model of a preference."""
        return sigmoid(scores[:, 0] - scores[:, 1])

    def predict_proba(self, pairs: TextPairs) -> np.ndarray:
        """Probability that the first response is the better one, float64 (n,)."""
        return self.probability(self.decision_function(pairs))

    def predict(self, pairs: TextPairs) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and scores from one reading of the texts."""
        scores = self.decision_function(pairs)
        return self.probability(scores), scores

    def predict_each(self, targets: Sequence[TextPairs]) -> list[Prediction]:
        """What ``predict`` says of each of several targets. A subclass may read them in shared batches."""
        predictions = []
        for pairs in targets:
            probability, scores = self.predict(pairs)
            predictions.append(Prediction(probability, scores, dict(self.counts_)))
        return predictions

    def remove_checkpoint(self) -> None:
        """Delete what ``fit`` keeps against a kill; to be called once what it learned is saved."""

    def _forget_model(self) -> None:
        """Drop a loaded model: another one was bound, or another state set."""

    @property
    def _model(self) -> Mapping[str, Any]:
        if self._manifest is None:
            raise ConfigError(
                f"{type(self).__name__}: reads texts with a model; call bind(model, device, folder) first"
            )
        return self._manifest


@dataclass(frozen=True)
class Grouped:
    """The texts of n pairs as a model reads them.

    Attributes:
        groups: the texts of one example each.
        rows: where the texts of (first, second) of each pair are among those of all groups, int64 (n, 2).
        counts: what had to be changed for want of context.
    """

    groups: Sequence[TextGroup]
    rows: np.ndarray
    counts: Mapping[str, float]


class TextScoring(TextIntervention):
    """An intervention whose scores are a model's scores of single texts; several targets share its batches."""

    @abstractmethod
    def grouped(self, pairs: TextPairs) -> Grouped:
        """The texts of the pairs.

        Raises:
            DataError: a text is longer than the model's context.
        """

    @abstractmethod
    def text_scores(self, groups: Sequence[TextGroup]) -> np.ndarray:
        """Scores of all texts of the groups, one group after the other, float64 (texts,)."""

    def settled(self, read: np.ndarray, counts: Mapping[str, float]) -> tuple[np.ndarray, Mapping[str, float]]:
        """Scores of (first, second), float64 (n, 2), and counts; here what was read of the two texts of each pair."""
        return read, counts

    def decision_function(self, pairs: TextPairs) -> np.ndarray:
        """Scores of (first, second), float64 (n, 2).

        Raises:
            DataError: a text is longer than the model's context.
        """
        grouped = self.grouped(pairs)
        scores, self.counts_ = self.settled(self.text_scores(grouped.groups)[grouped.rows], grouped.counts)
        return scores

    def predict_each(self, targets: Sequence[TextPairs]) -> list[Prediction]:
        every = [self.grouped(pairs) for pairs in targets]
        scores = self.text_scores([group for grouped in every for group in grouped.groups])
        predictions, start = [], 0
        for grouped in every:
            own, counts = self.settled(scores[start:][grouped.rows], grouped.counts)
            start += sum(len(group.tokens) for group in grouped.groups)
            predictions.append(Prediction(self.probability(own), own, counts))
        return predictions


def reading_texts(intervention: Intervention) -> TextIntervention:
    """The intervention, where texts are what it has to read.

    Raises:
        ConfigError: it reads features.
    """
    if not isinstance(intervention, TextIntervention):
        raise ConfigError(f"{type(intervention).__name__}: reads features, not texts; give it to genies fit")
    return intervention
