"""Contrast-Consistent Search (Burns et al., arXiv 2212.03827): a probe that gives Yes and No opposite answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genies.errors import DataError
from genies.interventions.base import Intervention, Pairs
from genies.interventions.parameters import NonNegativeFloat, PositiveFloat
from genies.interventions.steps.calibration import Calibrator, fit_calibrator, sigmoid
from genies.interventions.steps.checks import check_finite, check_training_pairs, check_width
from genies.interventions.steps.newton import distinct
from genies.options import PositiveInt

if TYPE_CHECKING:
    import torch

SUREST = 1e6
"""Largest log-odds of a text under one seed; a calibrator of advantages that are all but nothing has any slope."""


class ContrastConsistentSearch(Intervention[Pairs]):
    """Score a text by ½(p_yes + 1 − p_no), p being a linear probe with sigmoid on the last hidden state.

    The probe is fitted without labels, and where it ends depends on where it starts: accuracies move by several
    hundredths from seed to seed. So ``corrected`` fits it under several seeds, whose mean results are, and whose spread
    the intervals hold. It fits on every training text, centres each view by the source's mean, and fixes sign and
    calibrator of each seed once, on the source's training pairs: no label of theirs has been seen before.

    ``paper`` reproduces the published evaluation (GENIES, arXiv 2311.07723) and its flaws: it fits under one seed, on
    as many texts as the first ``published_examples`` examples have, drawn with replacement; takes one pair per test
    example, draws as many of their texts with replacement, and centres by the mean of those; and chooses the sign with
    which most of those texts are right, **reading the test labels**. ``published_accuracy`` is the share of those
    texts. Probabilities are ½(1 + difference of the two scores), uncalibrated. The published EOS and the spelling of
    its no view are matters of the views.

    Args:
        epochs: full-batch steps of AdamW.
        restarts: probes fitted from different starts under each seed, of which that with the lowest loss is kept.
        seeds: how many seeds ``corrected`` fits under, drawn from ``seed``; to be fixed before results are seen.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        published_examples: examples that ``paper`` fits on; published: 100, for LLaMA-30B 300.
        **parameters: those of ``Intervention``.

    Attributes:
        weights_: float32 (seeds, hidden); of one seed under ``paper``, as the next two.
        bias_: float32 (seeds,).
        loss_: loss of each kept probe on the texts that it was fitted on, float32 (seeds,).
        means_: means of the yes and the no view, float32 (2, hidden); ``corrected`` only, as the next two.
        calibrators_: for each seed, what maps the difference of two scores to a probability.
        out_of_fold_: mean over seeds of the accuracy on training pairs, of whose labels only the sign of each seed is
            known; None under ``paper``.
    """

    features = ("residual_final",)
    saw = ("source labels",)
    fit_views = predict_views = ("yes", "no")
    repeated_over = "seeds"
    no_text_scores = ""

    def __init__(
        self,
        *,
        epochs: PositiveInt = 1000,
        restarts: PositiveInt = 10,
        seeds: PositiveInt = 10,
        learning_rate: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 0.01,
        published_examples: PositiveInt = 100,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        self.epochs = epochs
        self.restarts = restarts
        self.seeds = seeds
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.published_examples = published_examples
        if self.protocol == "paper":
            self.no_text_scores = "as published, a text's score depends on the other test texts and on their labels"

    @property
    def reads_test_labels(self) -> bool:
        return self.protocol == "paper"

    def fit(self, pairs: Pairs) -> Self:
        """Fit the probes on training pairs.

        Raises:
            DataError: no training pair, a pair with its worse response first, or features that are not finite.
        """
        check_training_pairs(pairs)
        if not len(pairs):
            raise DataError("training pairs: there are none; give the source training examples")
        contrast = _read(pairs)
        if self.protocol == "paper":
            self._search(_published_texts(pairs, contrast, self.published_examples, self.seed), 1)
            return self
        texts = contrast.reshape(2, -1, contrast.shape[-1])
        self.means_ = texts.mean(axis=1)
        self._search(texts - self.means_[:, None], self.seeds)

        advantages = self._advantages(contrast)
        self.calibrators_ = [fit_calibrator(advantage, self.protocol) for advantage in advantages]
        accuracies = [c.accuracy(advantage) for c, advantage in zip(self.calibrators_, advantages, strict=True)]
        self.out_of_fold_ = float(np.mean(accuracies))
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Scores of (first, second), float64 (n, 2) in [0, 1].

        Under ``corrected`` the mean over seeds of the probability that a response is the better one; scores of
        different seeds are not comparable. Under ``paper`` the probe's, or 1 − score where its sign is turned.
        """
        if self.protocol == "paper":
            return self._published_scores(pairs)[0]
        probability = self.predict_proba(pairs)
        return np.stack([probability, 1 - probability], axis=1)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        if self.protocol == "paper":
            scores = self._published_scores(pairs)[0]
            return 0.5 * (1 + scores[:, 0] - scores[:, 1])
        return self._probabilities(pairs).mean(axis=0)

    def score_texts(self, pairs: Pairs, scores: np.ndarray | None = None) -> np.ndarray:
        """Mean over seeds of slope · (score − ½) of (first, second), float64 (n, 2), in log-odds.

        The slope is that of the seed's calibrator, so that the difference of two texts is the mean of their log-odds.

        Raises:
            ConfigError: under ``paper``.
        """
        if self.no_text_scores:
            return super().score_texts(pairs, scores)
        slopes = np.array([calibrator.slope for calibrator in self.calibrators_])[:, None, None]
        with np.errstate(over="ignore"):
            return np.clip(slopes * (self._scores(_read(pairs), self.means_) - 0.5), -SUREST, SUREST).mean(axis=0)

    def predict_repeats(self, pairs: Pairs) -> np.ndarray | None:
        """Probabilities under each seed, float64 (seeds, n); None under ``paper``, which has one."""
        return None if self.protocol == "paper" else self._probabilities(pairs)

    def _probabilities(self, pairs: Pairs) -> np.ndarray:
        advantages = self._advantages(_read(pairs))
        return np.stack([c.probability(advantage) for c, advantage in zip(self.calibrators_, advantages, strict=True)])

    def published_accuracy(self, pairs: Pairs) -> float | None:
        """Under ``paper``: share of single drawn test texts that are right, or one minus it if that is more."""
        return self._published_scores(pairs)[1] if self.protocol == "paper" else None

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = {"weights": self.weights_, "bias": self.bias_, "loss": self.loss_}, {}
        if self.protocol == "corrected":
            arrays["means"] = self.means_
            calibrators = [calibrator.to_json() for calibrator in self.calibrators_]
            values = {"calibrators": calibrators, "out_of_fold": self.out_of_fold_}
        return arrays, values

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.weights_, self.bias_, self.loss_ = arrays["weights"], arrays["bias"], arrays["loss"]
        if self.protocol == "corrected":
            self.means_, self.out_of_fold_ = arrays["means"], values["out_of_fold"]
            self.calibrators_ = [Calibrator.from_json(value) for value in values["calibrators"]]
        return self

    def _search(self, texts: np.ndarray, seeds: int) -> None:
        """Fit every restart of every seed at once on centred texts, float32 (2 views, texts, hidden).

        AdamW acts on each parameter alone, so the restarts, which share nothing but the sum of their losses, are fitted
        as if one after the other. Texts that are there several times are computed once, with their weight. Gradients
        are written out, since recording them takes longer than their arithmetic.
        """
        import torch

        first, numbers = distinct(np.moveaxis(texts, 0, 1))
        both = texts[:, first].reshape(-1, texts.shape[2]).astype(np.float32)
        columns = torch.from_numpy(np.column_stack([both, np.ones(len(both), np.float32)]))
        share = torch.from_numpy((np.bincount(numbers) / len(numbers)).astype(np.float32))[:, None]
        start = [_start(self.seed, number, texts.shape[2], self.restarts) for number in range(seeds)]
        weights = torch.cat(start, dim=1).contiguous()
        weights.grad = torch.empty_like(weights)
        optimizer = torch.optim.AdamW([weights], lr=self.learning_rate, weight_decay=self.weight_decay)
        with torch.no_grad():
            for _ in range(self.epochs):
                torch.mm(columns.T, _slopes(torch.sigmoid(columns @ weights), share), out=weights.grad)
                optimizer.step()
            final = (share * _losses(*torch.sigmoid(columns @ weights).chunk(2))).sum(0).numpy()
        best = final.reshape(seeds, -1).argmin(axis=1) + np.arange(seeds) * self.restarts
        self.weights_ = np.ascontiguousarray(weights.numpy()[:-1, best].T)
        self.bias_, self.loss_ = weights.numpy()[-1, best], final[best]

    def _advantages(self, contrast: np.ndarray) -> np.ndarray:
        """Score of the first text minus that of the second under each seed, float64 (seeds, n)."""
        scores = self._scores(contrast, self.means_)
        return scores[..., 0] - scores[..., 1]

    def _scores(self, contrast: np.ndarray, means: np.ndarray) -> np.ndarray:
        """½(p_yes + 1 − p_no) under each seed of each text, float64 (seeds, n, 2).

        Args:
            contrast: float32 (2 views, n, 2, hidden).
            means: of the views, (2, hidden).
        """
        check_width(contrast, self.weights_)
        centred = contrast.astype(np.float64) - means[:, None, None].astype(np.float64)
        logits = np.moveaxis(centred @ self.weights_.T.astype(np.float64) + self.bias_.astype(np.float64), -1, 0)
        p_yes, p_no = sigmoid(logits[:, 0]), sigmoid(logits[:, 1])
        return 0.5 * (p_yes + 1 - p_no)

    def _published_scores(self, pairs: Pairs) -> tuple[np.ndarray, float]:
        """Scores with the sign that suits the test labels, float64 (n, 2), and the accuracy of the drawn texts."""
        if pairs.label is None:
            raise DataError(
                "test pairs: ccs under the protocol paper chooses its sign on their labels and was given none; "
                "grant them, or use the protocol corrected"
            )
        order = np.random.default_rng(self.seed).permutation(len(pairs))
        chosen = order[np.unique(pairs.example[order], return_index=True)[1]]
        drawn = np.random.default_rng([self.seed, 1]).integers(2 * len(chosen), size=2 * len(chosen))
        contrast = _read(pairs)
        texts = contrast[:, chosen].reshape(2, -1, contrast.shape[-1])[:, drawn]
        scores = self._scores(contrast, texts.mean(axis=1))[0]
        is_best = np.stack([pairs.label, ~pairs.label], axis=1)[chosen].ravel()[drawn]
        accuracy = float(np.mean((scores[chosen].ravel()[drawn] > 0.5) == is_best))
        return _turned(scores, 1 if accuracy >= 0.5 else -1), max(accuracy, 1 - accuracy)


def _published_texts(pairs: Pairs, contrast: np.ndarray, examples: int, seed: int) -> np.ndarray:
    """What ``paper`` fits on: drawn from the texts of the first examples, centred; float32 (2 views, texts, hidden)."""
    first = np.isin(pairs.example, np.unique(pairs.example)[:examples])
    texts = contrast[:, first].reshape(2, -1, contrast.shape[-1])
    drawn = np.random.default_rng(seed).integers(texts.shape[1], size=texts.shape[1])
    texts = texts[:, drawn]
    return texts - texts.mean(axis=1, keepdims=True)


def _start(seed: int, number: int, hidden: int, restarts: int) -> Any:
    """Where the restarts of one seed begin, float32 (hidden + 1, restarts): the start of ``torch.nn.Linear``."""
    import torch

    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    uniform = torch.rand((hidden + 1, restarts), generator=torch.Generator().manual_seed(drawn))
    return (2 * uniform - 1) / hidden**0.5


def _losses(p_yes: torch.Tensor, p_no: torch.Tensor) -> torch.Tensor:
    """Of each text under each probe: min(p_yes, p_no)² + (p_yes − (1 − p_no))²."""
    return p_yes.minimum(p_no) ** 2 + (p_yes - (1 - p_no)) ** 2


def _slopes(probability: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Derivatives of the mean loss by the logits, float32 (2 views · n, probes).

    Args:
        probability: p_yes of each of n texts, then p_no, likewise.
        share: of each text in the mean, float32 (n, 1).
    """
    p_yes, p_no = probability.chunk(2)
    apart, yes_is_less = p_yes + p_no - 1, p_yes < p_no
    slopes = probability * (1 - probability)
    for of_view, own, less in zip(slopes.chunk(2), (p_yes, p_no), (yes_is_less, ~yes_is_less), strict=True):
        of_view.mul_(apart + own * less).mul_(2 * share)
    return slopes


def _read(pairs: Pairs) -> np.ndarray:
    """Last hidden state of the yes and the no view, float32 (2, n, 2, hidden)."""
    layer = pairs.final_layer
    views = ContrastConsistentSearch.fit_views
    return np.stack([check_finite(pairs.residual(view, layer), pairs, f"view {view}, layer {layer}") for view in views])


def _turned(scores: np.ndarray, sign: int) -> np.ndarray:
    return scores if sign > 0 else 1 - scores
