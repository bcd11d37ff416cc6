"""The interface of every intervention, and what it is given: pairs of responses with their cached features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import numpy as np

from genies.data.pairs import PairTexts
from genies.engine.reads import Declared, Reads
from genies.errors import ConfigError
from genies.interventions.parameters import Parameterized, checked
from genies.options import NonNegativeInt

if TYPE_CHECKING:
    from genies.models.adapters import OtherModel

Protocols = Literal["paper", "corrected"]
RepeatedOver = Literal["seeds", "tie orders"]
Saw = Literal["source labels", "target texts", "target labels", "a judge"]
"""What an intervention may be shown beyond the source's texts and each test pair by itself: labels of the source; other
texts of the target, or its labels; verdicts of a model that was finished before and was not trained by the method."""
Comparable = Literal["across prompts", "within a prompt"]


class Pairs(Protocol):
    """n pairs of responses (first, second) of one split, and the features of their texts, read on demand.

    Training pairs come best response first. Test pairs come in an order drawn by seed, so that no method can use
    position; ``label`` is then None unless the caller grants it.
    """

    example: np.ndarray
    """Index of each pair's example in its file, int64 (n,)."""
    cluster: np.ndarray
    """Number of each pair's cluster, int64 (n,): pairs of one prompt, which stay on one side of every split."""
    label: np.ndarray | None
    """True where the first response is the best one, bool (n,)."""

    def __len__(self) -> int: ...

    def layers(self, feature: Literal["heads", "residual"]) -> list[int]:
        """Numbers of the feature's layers that can be read, ascending: all, unless the configuration chose some."""
        ...

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the heads of each layer that can be read, ascending."""
        ...

    @property
    def final_layer(self) -> int:
        """Number L of the residual stream's layer after the last block and the final norm."""
        ...

    def heads(self, view: str, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Attention-head outputs of one layer at the last token, float32 (n, 2, heads, head_dim)."""
        ...

    def residual(self, view: str, layer: int) -> np.ndarray:
        """Residual stream at the last token, float32 (n, 2, hidden).

        Layer 0 is the embedding, layer i < L the stream after the i-th of L blocks, layer L the state after the last
        block and the final norm.
        """
        ...

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probability of response + EOS given the prompt, float64 (n, 2)."""
        ...

    def scored_tokens(self) -> np.ndarray:
        """How many tokens each log-probability sums over (response tokens + 1 for EOS), int64 (n, 2)."""
        ...

    def reference_log_probability(self) -> np.ndarray:
        """``log_probability`` under the reference model that the parameter ``reference`` names, float64 (n, 2).

        Only of test pairs, for interventions whose ``features`` name it.
        """
        ...

    def texts(self) -> PairTexts:
        """The prompts and responses themselves."""
        ...


AnyPairs = TypeVar("AnyPairs", contravariant=True)
"""What an intervention reads of pairs: ``Pairs``, with features, or ``genies.interventions.text.TextPairs``."""


class Restorable(ABC):
    """What learns something that is kept in files and restored from them."""

    weights_file: ClassVar[str] = "weights.safetensors"
    """Name under which the arrays of a fit are kept."""

    @abstractmethod
    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What ``fit`` learned: arrays (saved as safetensors) and JSON values."""

    @abstractmethod
    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        """Restore what ``get_state`` gave. Returns self."""

    def companion_files(self) -> dict[str, Any]:
        """JSON files to keep with the arrays, by name, so that other programs can read those; genies does not."""
        return {}


class Intervention(Parameterized, Restorable, Generic[AnyPairs]):
    """An estimator of which of two responses is better, in the manner of scikit-learn.

    Parameters go in by keyword and stay as attributes; ``fit`` sets attributes whose names end with an underscore.
    A subclass alone in a module of this folder is found by the module's name; nothing else lists it. Annotations of a
    constructor's parameters are checked (``genies.interventions.parameters``).

    Args:
        protocol: ``paper`` does what was published, ``corrected`` what it should do; default: that of the run.
        seed: of what is drawn; default: that of the run.
    """

    features: ClassVar[Declared] = ()
    """What is read of each text, or by view where that differs. Extraction stores nothing else, and ``fit`` and
    ``predict_proba`` can read nothing else. Where nothing is declared, everything is stored of the views."""
    fit_views: ClassVar[tuple[str, ...]] = ()
    """Views that ``fit`` reads (names in ``genies.data.views.VIEWS``)."""
    predict_views: ClassVar[tuple[str, ...]] = ()
    """Views that ``predict_proba`` reads."""
    drawn: ClassVar[bool] = True
    """Whether anything in fitting or predicting is drawn, by ``seed`` or ``split_seed``; if not, further seeds change
    nothing."""
    repeated_over: ClassVar[RepeatedOver | None] = None
    """What ``predict_repeats`` draws again. Over ``seeds``, results are means over the repeats, and their intervals
    hold the spread; over ``tie orders``, the spread is reported beside them."""
    saw: ClassVar[tuple[Saw, ...] | None] = None
    """What it is shown; None where it does not say so. Only interventions that saw the same are ranked together."""
    no_text_scores: str = "it declares no scores of single texts"
    """Why there are no scores of single texts; empty where ``score_texts`` gives them."""
    text_scores_compare: Comparable = "across prompts"
    """Which texts' scores compare. Where a score has a free offset for each prompt, only those of one prompt's do."""

    out_of_fold_: float | None = None
    """What ``out_of_fold_accuracy`` returns."""

    @checked
    def __init__(self, *, protocol: Protocols = "corrected", seed: NonNegativeInt = 0) -> None:
        self.protocol = protocol
        self.seed = seed

    @classmethod
    def reads(cls, view: str) -> Reads:
        """Features that are read under a view."""
        return Reads.of(cls.features.get(view, ()) if isinstance(cls.features, Mapping) else cls.features)

    @property
    def reads_test_labels(self) -> bool:
        """Whether predictions read ``pairs.label``: True only where a published rule, a flaw, has to be reproduced."""
        return False

    @abstractmethod
    def fit(self, pairs: AnyPairs) -> Self:
        """Fit on training pairs, best response first. Returns self."""

    @abstractmethod
    def decision_function(self, pairs: AnyPairs) -> np.ndarray:
        """Raw scores of (first, second), float64 (n, 2); the higher one is the response that is preferred."""

    @abstractmethod
    def predict_proba(self, pairs: AnyPairs) -> np.ndarray:
        """Probability that the first response is the better one, float64 (n,)."""

    def predict(self, pairs: AnyPairs) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and scores at once: (``predict_proba``, ``decision_function``).

        A subclass whose probabilities follow from its scores may save itself reading the features twice.
        """
        return self.predict_proba(pairs), self.decision_function(pairs)

    def score_texts(self, pairs: AnyPairs, scores: np.ndarray | None = None) -> np.ndarray:
        """Scores of the single texts (first, second), float64 (n, 2); a text's depends on no other text.

        Here those of ``decision_function``; an intervention whose ``decision_function`` compares two texts replaces it.

        Args:
            pairs: n pairs.
            scores: what ``decision_function`` gave of them, where that is known already.

        Raises:
            ConfigError: there are none; ``no_text_scores`` says why.
        """
        if self.no_text_scores:
            raise ConfigError(f"{type(self).__name__}: has no scores of single texts: {self.no_text_scores}")
        return self.decision_function(pairs) if scores is None else scores

    def predict_repeats(self, pairs: AnyPairs) -> np.ndarray | None:
        """Probabilities as ``predict_proba`` gives them, for each of k further draws of what the fit drew.

        Returns:
            float64 (k, n); None where nothing is drawn, or the fit keeps one draw alone.
        """
        return None

    def drawn_sets(self, pairs: AnyPairs) -> np.ndarray | None:
        """Which of several sets that were drawn each pair is judged by, int64 (n,); None where there is one for all.

        Its interval then holds the spread between the sets.
        """
        return None

    def out_of_fold_accuracy(self) -> float | None:
        """Accuracy on the training pairs of fits that did not see them; None where none was made.

        By it the best of several interventions is chosen without a look at test pairs.
        """
        return self.out_of_fold_

    @classmethod
    def other_models(cls, parameters: Mapping[str, Any]) -> list[OtherModel]:
        """Models that are read in addition to the run's own, as these parameters name them."""
        return []

    def published_accuracy(self, pairs: AnyPairs) -> float | None:
        """Accuracy on test pairs by the published rule where that is another than the share ranked right; else None."""
        return None
