"""Contrast-Consistent Search (Burns et al., arXiv 2212.03827): a probe that gives Yes and No opposite answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from genies.errors import ConfigError, DataError
from genies.interventions.base import Intervention, Pairs
from genies.interventions.steps.calibration import Calibrator, fit_calibrator, sigmoid
from genies.interventions.steps.checks import check_count, check_finite, check_training_pairs, check_width
from genies.interventions.steps.split import split_pairs


class ContrastConsistentSearch(Intervention):
    """Score a text by ½(p_yes + 1 − p_no), p being a linear probe with sigmoid on the last hidden state.

    The probe is fitted without labels. ``corrected`` fits it on every training text, centres each view by the source's
    mean, fixes the sign once on the source's training labels, and calibrates the difference of two scores on the
    validation pairs as mms does.

    ``paper`` reproduces the published evaluation (GENIES, arXiv 2311.07723) and its flaws: it fits on as many texts as
    the first ``published_examples`` examples have, drawn with replacement; centres test texts by their own mean; and
    chooses the sign with which most single test texts are right, **reading the test labels**. Means, sign and
    ``published_accuracy`` take one pair per test example, drawn by ``seed``. Probabilities are ½(1 + difference of the
    two scores), uncalibrated. The published EOS and the spelling of its no view are matters of the views.

    Args:
        epochs: full-batch steps of AdamW.
        restarts: probes fitted from different starts, of which that with the lowest loss is kept.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        published_examples: examples that ``paper`` fits on; published: 100, for LLaMA-30B 300.
        split_seed: seed of the 70/30 split whose validation pairs ``corrected`` calibrates on.
        **parameters: those of ``Intervention``.

    Attributes:
        weights_: float32 (hidden,).
        bias_: float.
        loss_: loss of the kept probe on the texts it was fitted on.
        means_: means of the yes and the no view, float32 (2, hidden); ``corrected`` only.
        sign_: 1, or -1 where the probe calls worse responses better; ``corrected`` only.
        calibrator_: maps the difference of two scores to a probability; ``corrected`` only.
    """

    features = ("residual",)
    fit_views = predict_views = ("yes", "no")

    def __init__(
        self,
        *,
        epochs: int = 1000,
        restarts: int = 10,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        published_examples: int = 100,
        split_seed: int = 42,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        if not (learning_rate > 0 and weight_decay >= 0):
            raise ConfigError(
                "parameters learning_rate, weight_decay: the one must be positive, the other not negative"
            )
        self.epochs = check_count("epochs", epochs)
        self.restarts = check_count("restarts", restarts)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.published_examples = check_count("published_examples", published_examples)
        self.split_seed = check_count("split_seed", split_seed, least=0)

    @property
    def reads_test_labels(self) -> bool:
        return self.protocol == "paper"

    def fit(self, pairs: Pairs) -> Self:
        """Fit the probe on training pairs.

        Raises:
            DataError: too few training pairs, a pair with its worse response first, or features that are not finite.
        """
        check_training_pairs(pairs)
        contrast = _read(pairs)
        if self.protocol == "paper":
            self._search(self._published_texts(pairs, contrast))
            return self
        _, validation = split_pairs(pairs.example, self.split_seed)
        texts = contrast.reshape(2, -1, contrast.shape[-1])
        self.means_ = texts.mean(axis=1)
        self._search(texts - self.means_[:, None])

        scores = self._scores(contrast, self.means_)
        advantage = scores[:, 0] - scores[:, 1]
        self.sign_ = -1 if np.sum(advantage < 0) > np.sum(advantage > 0) else 1
        self.calibrator_ = fit_calibrator(self.sign_ * advantage[validation], self.protocol)
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Scores of (first, second), float64 (n, 2) in [0, 1]; 1 − score where the sign is turned."""
        if self.protocol == "paper":
            return self._published_scores(pairs)[0]
        sign = self.sign_ * self.calibrator_.sign
        return _turned(self._scores(_read(pairs), self.means_), sign)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        if self.protocol == "paper":
            scores = self._published_scores(pairs)[0]
            return 0.5 * (1 + scores[:, 0] - scores[:, 1])
        scores = self._scores(_read(pairs), self.means_)
        return self.calibrator_.probability(self.sign_ * (scores[:, 0] - scores[:, 1]))

    def published_accuracy(self, pairs: Pairs) -> float | None:
        """Under ``paper``: share of single test texts that are right, or one minus it if that is more."""
        return self._published_scores(pairs)[1] if self.protocol == "paper" else None

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = {"weights": self.weights_}, {"bias": self.bias_, "loss": self.loss_}
        if self.protocol == "corrected":
            arrays["means"] = self.means_
            values |= {"sign": self.sign_, "calibrator": self.calibrator_.to_json()}
        return arrays, values

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.weights_, self.bias_, self.loss_ = arrays["weights"], values["bias"], values["loss"]
        if self.protocol == "corrected":
            self.means_, self.sign_ = arrays["means"], values["sign"]
            self.calibrator_ = Calibrator.from_json(values["calibrator"])
        return self

    def _search(self, texts: np.ndarray) -> None:
        """Fit every restart at once on centred texts, float32 (2 views, texts, hidden), and keep the lowest loss.

        AdamW acts on each parameter alone, so the restarts, which share nothing but the sum of their losses, are fitted
        as if one after the other.
        """
        import torch

        yes, no = torch.from_numpy(np.ascontiguousarray(texts, dtype=np.float32))
        generator = torch.Generator().manual_seed(self.seed)
        # The start of torch.nn.Linear: uniform within 1 / sqrt(hidden).
        start = 2 * torch.rand((yes.shape[1] + 1, self.restarts), generator=generator) - 1
        start /= yes.shape[1] ** 0.5
        weights, bias = start[:-1].clone().requires_grad_(), start[-1].clone().requires_grad_()
        optimizer = torch.optim.AdamW([weights, bias], lr=self.learning_rate, weight_decay=self.weight_decay)

        def losses() -> torch.Tensor:
            p_yes, p_no = torch.sigmoid(yes @ weights + bias), torch.sigmoid(no @ weights + bias)
            return (torch.minimum(p_yes, p_no) ** 2).mean(0) + ((p_yes - (1 - p_no)) ** 2).mean(0)

        for _ in range(self.epochs):
            optimizer.zero_grad()
            losses().sum().backward()
            optimizer.step()
        with torch.no_grad():
            final = losses()
        best = int(final.argmin())
        self.weights_ = np.ascontiguousarray(weights.detach().numpy()[:, best])
        self.bias_, self.loss_ = bias[best].item(), final[best].item()

    def _scores(self, contrast: np.ndarray, means: np.ndarray) -> np.ndarray:
        """½(p_yes + 1 − p_no) of each text, float64 (n, 2), from contrast (2, n, 2, hidden) and means (2, hidden)."""
        check_width(contrast, self.weights_)
        centred = contrast.astype(np.float64) - means[:, None, None].astype(np.float64)
        p_yes, p_no = sigmoid(centred @ self.weights_.astype(np.float64) + self.bias_)
        return 0.5 * (p_yes + 1 - p_no)

    def _published_texts(self, pairs: Pairs, contrast: np.ndarray) -> np.ndarray:
        first = np.isin(pairs.example, np.unique(pairs.example)[: self.published_examples])
        texts = contrast[:, first].reshape(2, -1, contrast.shape[-1])
        drawn = np.random.default_rng(self.seed).integers(texts.shape[1], size=texts.shape[1])
        texts = texts[:, drawn]
        return texts - texts.mean(axis=1, keepdims=True)

    def _published_scores(self, pairs: Pairs) -> tuple[np.ndarray, float]:
        """Scores with the sign that suits the test labels, float64 (n, 2), and the accuracy of single texts."""
        if pairs.label is None:
            raise DataError(
                "test pairs: ccs under the protocol paper chooses its sign on their labels and was given none; "
                "grant them, or use the protocol corrected"
            )
        order = np.random.default_rng(self.seed).permutation(len(pairs))
        chosen = order[np.unique(pairs.example[order], return_index=True)[1]]
        contrast = _read(pairs)
        scores = self._scores(contrast, contrast[:, chosen].mean(axis=(1, 2)))
        is_best = np.stack([pairs.label, ~pairs.label], axis=1)
        accuracy = float(np.mean((scores[chosen] > 0.5) == is_best[chosen]))
        return _turned(scores, 1 if accuracy >= 0.5 else -1), max(accuracy, 1 - accuracy)


def _read(pairs: Pairs) -> np.ndarray:
    """Last hidden state of the yes and the no view, float32 (2, n, 2, hidden)."""
    layer = pairs.final_layer
    views = ContrastConsistentSearch.fit_views
    return np.stack([check_finite(pairs.residual(view, layer), pairs, f"view {view}, layer {layer}") for view in views])


def _turned(scores: np.ndarray, sign: int) -> np.ndarray:
    return scores if sign > 0 else 1 - scores
