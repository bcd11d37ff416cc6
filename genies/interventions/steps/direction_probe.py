"""The probe behind mms, lat_stim_1, lat_stim_2, lat_pca and cra: how far two texts differ along learned directions.

Sources: Mass Mean Shift, Li et al. (arXiv 2306.03341), section 3; GENIES (arXiv 2311.07723), section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from genies.interventions.base import Intervention, Pairs
from genies.interventions.steps.calibration import Calibrator, fit_calibrator
from genies.interventions.steps.checks import check_count, check_finite, check_training_pairs, check_width
from genies.interventions.steps.selection import keep_best, site_accuracy
from genies.interventions.steps.split import split_pairs


def cosine(differences: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Cosine of each difference (n, sites, dim) with its site's direction (sites, dim), float64 (n, sites).

    A vector of zero length has cosine 0 with every other.
    """
    differences, directions = differences.astype(np.float64), directions.astype(np.float64)
    dot = np.einsum("nsd,sd->ns", differences, directions)
    length = np.linalg.norm(differences, axis=2) * np.linalg.norm(directions, axis=1)
    return np.clip(np.divide(dot, length, out=np.zeros_like(dot), where=length > 0), -1.0, 1.0)


class DirectionProbe(Intervention):
    """Find the sites that tell best responses from worse ones, and a direction in each; compare texts along them.

    A site is an attention head, or a layer of the residual stream, after ``features``. A subclass says which views it
    reads, and may replace ``combine`` and ``direction``.

    Args:
        kept: how many sites are kept, at most.
        split_seed: seed of the 70/30 split into fit and validation pairs.
        **parameters: those of ``Intervention``.

    Attributes:
        sites_: layer and head (0 for the residual stream) of each kept site, most accurate first, int64 (kept, 2).
        accuracy_: validation accuracy of each kept site's logistic regression, float64 (kept,).
        directions_: direction of each kept site, float64 (kept, dim).
        calibrator_: maps the mean cosine to a probability.
    """

    def __init__(self, *, kept: int = 16, split_seed: int = 42, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.kept = check_count("kept", kept)
        self.split_seed = check_count("split_seed", split_seed, least=0)

    def combine(self, *views: np.ndarray) -> np.ndarray:
        """One feature from those of the views, in the order of ``fit_views``; each float32 (n, 2, sites, dim)."""
        return views[0]

    def direction(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Direction from worse to best responses (n, sites, dim): the difference of their means, (sites, dim)."""
        return best.mean(axis=0) - worse.mean(axis=0)

    def fit(self, pairs: Pairs) -> Self:
        """Choose sites on validation pairs, fit their directions on fit pairs (``paper``: on all), then calibrate.

        Raises:
            DataError: too few training pairs, a pair with its worse response first, or features that are not finite.
        """
        check_training_pairs(pairs)
        fit, validation = split_pairs(pairs.example, self.split_seed)

        layers = self._layers(pairs)
        accuracy = np.concatenate(
            [site_accuracy(self._read(pairs, layer), fit, validation, self.protocol) for layer in layers]
        )
        numbers = pairs.head_numbers if "heads" in self.features else [0]
        sites = np.array([(layer, number) for layer in layers for number in numbers])
        best = keep_best(accuracy, self.kept, self.protocol)
        self.sites_, self.accuracy_ = sites[best], accuracy[best]

        shown = np.concatenate([fit, validation]) if self.protocol == "paper" else fit
        directions = {}
        for rows, features in self._read_kept(pairs):
            texts = features[shown].astype(np.float64)
            directions.update(zip(rows, self.direction(texts[:, 0], texts[:, 1]), strict=True))
        self.directions_ = np.stack([directions[row] for row in range(len(self.sites_))])

        self.calibrator_ = fit_calibrator(self._advantage(pairs)[validation], self.protocol)
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """½(1 + mean cosine of first − second) and one minus that, float64 (n, 2) in [0, 1].

        The cosine's sign is turned where the validation pairs contradict the directions, as the calibrator does.
        """
        score = 0.5 * (1 + self.calibrator_.sign * self._advantage(pairs))
        return np.stack([score, 1 - score], axis=1)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        return self.calibrator_.probability(self._advantage(pairs))

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = {"sites": self.sites_, "accuracy": self.accuracy_, "directions": self.directions_}
        return arrays, {"calibrator": self.calibrator_.to_json()}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.sites_, self.accuracy_, self.directions_ = arrays["sites"], arrays["accuracy"], arrays["directions"]
        self.calibrator_ = Calibrator.from_json(values["calibrator"])
        return self

    def chosen_sites(self) -> list[tuple[int, int | None, float | None]]:
        heads = "heads" in self.features
        return [
            (layer, head if heads else None, accuracy)
            for (layer, head), accuracy in zip(self.sites_.tolist(), self.accuracy_.tolist(), strict=True)
        ]

    def _advantage(self, pairs: Pairs) -> np.ndarray:
        """Mean over kept sites of cos(first − second, direction), float64 (n,) in [-1, 1]; odd in the two texts."""
        cosines = np.empty((len(pairs), len(self.sites_)))
        for rows, features in self._read_kept(pairs):
            check_width(features, self.directions_)
            cosines[:, rows] = cosine(features[:, 0] - features[:, 1], self.directions_[rows])
        return cosines.mean(axis=1)

    def _layers(self, pairs: Pairs) -> list[int]:
        """Layers that have sites; of the residual stream the last, the final norm's output, is left out."""
        if "heads" in self.features:
            return pairs.layers("heads")
        return [layer for layer in pairs.layers("residual") if layer < pairs.final_layer]

    def _read_kept(self, pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Kept sites layer by layer: their rows in ``sites_`` and their features (n, 2, rows, dim)."""
        for layer in np.unique(self.sites_[:, 0]):
            rows = np.flatnonzero(self.sites_[:, 0] == layer)
            yield rows, self._read(pairs, int(layer), self.sites_[rows, 1].tolist())

    def _read(self, pairs: Pairs, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Features of one layer's sites, or of some heads, in the order asked for; float32 (n, 2, sites, dim)."""
        views = []
        for view in self.fit_views:
            if "heads" in self.features:
                features = pairs.heads(view, layer, heads)
            else:
                features = pairs.residual(view, layer)[:, :, None, :]
            views.append(check_finite(features, pairs, f"view {view}, layer {layer}"))
        return self.combine(*views)
