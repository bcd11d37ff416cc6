"""The probe behind mms, lat_stim_1, lat_stim_2, lat_pca and cra: how far two texts differ along learned directions.

Sources: Mass Mean Shift, Li et al. (arXiv 2306.03341), section 3; GENIES (arXiv 2311.07723), section 4.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from genies.errors import DataError
from genies.interventions.base import Intervention, Pairs
from genies.interventions.steps.calibration import Calibrator, fit_calibrator
from genies.interventions.steps.checks import check_finite, check_training_pairs, check_width
from genies.interventions.steps.selection import accuracies_of_layers, keep_best, tied_at_edge
from genies.interventions.steps.split import Part, training_parts
from genies.options import NonNegativeInt, PositiveInt

TIE_ORDERS = 20
"""Orders of equally accurate sites under which ``paper`` predicts once more each."""


def cosine(differences: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Cosine of each difference (n, sites, dim) with its site's direction (sites, dim), float64 (n, sites).

    A vector of zero length has cosine 0 with every other.
    """
    differences, directions = differences.astype(np.float64), directions.astype(np.float64)
    dot = np.einsum("nsd,sd->ns", differences, directions)
    length = np.linalg.norm(differences, axis=2) * np.linalg.norm(directions, axis=1)
    return np.clip(np.divide(dot, length, out=np.zeros_like(dot), where=length > 0), -1.0, 1.0)


def projection(texts: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Projection of each text (..., sites, dim) on its site's unit direction, float64 (..., sites).

    That on a direction (sites, dim) of zero length is 0.
    """
    directions = directions.astype(np.float64)
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.divide(directions, length, out=np.zeros_like(directions), where=length > 0)
    return np.einsum("...sd,sd->...s", texts.astype(np.float64), unit)


class DirectionProbe(Intervention[Pairs]):
    """Find the sites that tell best responses from worse ones, and a direction in each; compare texts along them.

    A site is an attention head, or a layer of the residual stream, after ``features``. A subclass says which views it
    reads, and may replace ``combine`` and ``direction``.

    Args:
        kept: how many sites are kept, at most.
        split_seed: seed of the folds, and of the 70/30 splits into fit and validation pairs.
        **parameters: those of ``Intervention``.

    Attributes:
        sites_: layer and head (0 for the residual stream) of each kept site, most accurate first, int64 (kept, 2).
        accuracy_: validation accuracy of each kept site's logistic regression, float64 (kept,).
        directions_: direction of each kept site, float64 (kept, dim).
        text_moments_: mean and standard deviation over the training texts of the projection on each kept site's unit
            direction, float64 (2, kept); None in fits of earlier versions.
        calibrator_: maps the mean cosine to a probability.
        out_of_fold_: accuracy on training pairs of fits that had not seen them; None under ``paper``.
        ties_: how many sites tie at the edge of the kept ones, and how many of those are kept.
        tied_sites_, tied_directions_: what ``sites_`` and ``directions_`` say of the sites that tie, int64 (tied, 2)
            and float64 (tied, dim); ``paper`` only, as are the next two.
        tie_orders_: rows of the tied sites that are kept under each further order, int64 (20, kept of them).
        tie_calibrators_: slope and intercept of the calibrator under each, float64 (20, 2).
    """

    repeated_over = "tie orders"
    saw = ("source labels",)
    no_text_scores = ""
    ties_: tuple[int, int]
    text_moments_: np.ndarray | None = None

    def __init__(self, *, kept: PositiveInt = 16, split_seed: NonNegativeInt = 42, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.kept = kept
        self.split_seed = split_seed

    def combine(self, *views: np.ndarray) -> np.ndarray:
        """One feature from those of the views, in the order of ``fit_views``; each float32 (n, 2, sites, dim)."""
        return views[0]

    def direction(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Direction from worse to best responses (n, sites, dim): the difference of their means, (sites, dim)."""
        return best.mean(axis=0) - worse.mean(axis=0)

    def fit(self, pairs: Pairs) -> Self:
        """Choose sites and fit their directions, then calibrate on scores of pairs (``training_parts`` says which).

        Raises:
            DataError: too few training pairs, a pair with its worse response first, or features that are not finite.
        """
        check_training_pairs(pairs)
        parts = training_parts(pairs, self.split_seed, self.protocol)
        sites, accuracies = self._accuracies(pairs, parts)
        chosen = [keep_best(accuracy, self.kept, self.protocol) for accuracy in accuracies]
        tied = tied_at_edge(accuracies[-1], self.kept)
        self.ties_ = (len(tied), int(np.isin(tied, chosen[-1]).sum()))
        if self.protocol == "corrected":
            tied = tied[:0]

        # The last part also fits the tied sites that it does not keep.
        wanted = [*chosen[:-1], np.concatenate([chosen[-1], np.setdiff1d(tied, chosen[-1])])]
        directions, cosines, moments = self._fit_directions(pairs, parts, [sites[rows] for rows in wanted])

        count = len(chosen[-1])
        self.sites_, self.accuracy_ = sites[chosen[-1]], accuracies[-1][chosen[-1]]
        self.directions_, self.text_moments_ = directions[-1][:count], moments[:, :count]
        advantages = [*(values.mean(axis=1) for values in cosines[:-1]), cosines[-1][:, :count].mean(axis=1)]
        advantage = np.concatenate(advantages)
        self.calibrator_ = fit_calibrator(advantage, self.protocol, directed=True)
        self.out_of_fold_ = self.calibrator_.accuracy(advantage) if self.protocol == "corrected" else None
        if self.protocol == "paper":
            rows = np.flatnonzero(np.isin(wanted[-1], tied))
            self._fit_tie_orders(rows, sites[wanted[-1]], directions[-1], cosines[-1])
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """½(1 + mean cosine of first − second) and one minus that, float64 (n, 2) in [0, 1].

        Under ``paper`` the cosine's sign is turned where the calibrator's pairs contradict the directions.
        """
        score = 0.5 * (1 + self.calibrator_.sign * self._cosines(pairs, self.sites_, self.directions_).mean(axis=1))
        return np.stack([score, 1 - score], axis=1)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        return self.calibrator_.probability(self._cosines(pairs, self.sites_, self.directions_).mean(axis=1))

    def score_texts(self, pairs: Pairs, scores: np.ndarray | None = None) -> np.ndarray:
        """Mean over sites of the projection on the unit direction, in standard scores, float64 (n, 2).

        Each site's projection is centred and scaled by the training texts; a site where these do not differ says
        nothing. ``decision_function`` scores the difference of two texts, whose length a cosine divides out, so the two
        may rank a pair differently.

        Raises:
            DataError: an earlier version made the fit.
        """
        if self.text_moments_ is None:
            raise DataError(f"{type(self).__name__}: an earlier version fitted it, without scores of texts; fit again")
        total, (centre, spread) = np.zeros((len(pairs), 2)), self.text_moments_
        for rows, features in self._at_sites(pairs, self.sites_, self.directions_):
            found = projection(features, self.directions_[rows]) - centre[rows]
            total += np.divide(found, spread[rows], out=np.zeros_like(found), where=spread[rows] > 0).sum(axis=2)
        return self.calibrator_.sign * total / len(self.sites_)

    def predict_repeats(self, pairs: Pairs) -> np.ndarray | None:
        """Under ``paper``, probabilities with the sites that tie kept in each of 20 other orders, float64 (20, n)."""
        if self.protocol == "corrected" or not len(self.tied_sites_):
            return None
        tied = (self.sites_[:, None] == self.tied_sites_).all(axis=2).any(axis=1)
        sure = self._cosines(pairs, self.sites_[~tied], self.directions_[~tied])
        drawn = self._cosines(pairs, self.tied_sites_, self.tied_directions_)
        return np.stack(
            [
                Calibrator(*calibrator).probability(np.concatenate([sure, drawn[:, order]], axis=1).mean(axis=1))
                for order, calibrator in zip(self.tie_orders_, self.tie_calibrators_.tolist(), strict=True)
            ]
        )

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        names = ["sites", "accuracy", "directions", *([] if self.text_moments_ is None else ["text_moments"])]
        if self.protocol == "paper":
            names += ["tied_sites", "tied_directions", "tie_orders", "tie_calibrators"]
        arrays = {name: getattr(self, f"{name}_") for name in names}
        values = {"calibrator": self.calibrator_.to_json(), "out_of_fold": self.out_of_fold_, "ties": list(self.ties_)}
        return arrays, values

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        for name, array in arrays.items():
            setattr(self, f"{name}_", array)
        self.calibrator_ = Calibrator.from_json(values["calibrator"])
        self.out_of_fold_, self.ties_ = values["out_of_fold"], tuple(values["ties"])
        return self

    def chosen_sites(self) -> list[tuple[int, int | None, float | None]]:
        heads = "heads" in self.features
        return [
            (layer, head if heads else None, accuracy)
            for (layer, head), accuracy in zip(self.sites_.tolist(), self.accuracy_.tolist(), strict=True)
        ]

    def site_layers(self, pairs: Pairs) -> list[int]:
        return _layers(pairs, self.features)

    def site_features(self, pairs: Pairs, layer: int) -> np.ndarray:
        return self._read(pairs, layer)

    @property
    def sites_kept(self) -> int:
        return self.kept

    def _accuracies(self, pairs: Pairs, parts: Sequence[Part]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Layer and head of every site, int64 (sites, 2), and for each part their accuracies, float64 (sites,)."""
        layers = _layers(pairs, self.features)
        numbers = pairs.head_numbers if "heads" in self.features else [0]
        sites = np.array([(layer, number) for layer in layers for number in numbers])
        return sites, [*accuracies_of_layers(lambda layer: self._read(pairs, layer), layers, parts, self.protocol)]

    def _fit_directions(
        self, pairs: Pairs, parts: Sequence[Part], sites: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """For each part the directions of its sites, float64 (sites, dim), and cosines of what it scores (n, sites).

        Also the mean and standard deviation of the training texts' projections, float64 (2, sites), of the last part,
        the fit that is kept.
        """
        directions: list[dict[int, np.ndarray]] = [{} for _ in parts]
        cosines = [np.empty((len(part.scored), len(own))) for part, own in zip(parts, sites, strict=True)]
        moments = np.empty((2, len(sites[-1])))
        for layer in np.unique(np.concatenate(sites)[:, 0]):
            heads = np.unique(np.concatenate([own[own[:, 0] == layer, 1] for own in sites]))
            features = self._read(pairs, int(layer), heads.tolist())
            for part, own, fitted, scored in zip(parts, sites, directions, cosines, strict=True):
                rows = np.flatnonzero(own[:, 0] == layer)
                if not len(rows):
                    continue
                texts = features[:, :, np.searchsorted(heads, own[rows, 1])]
                shown = texts[part.shown].astype(np.float64)
                found = self.direction(shown[:, 0], shown[:, 1])
                fitted.update(zip(rows.tolist(), found, strict=True))
                scored[:, rows] = cosine(texts[part.scored, 0] - texts[part.scored, 1], found)
                if part is parts[-1]:
                    projected = projection(shown, found).reshape(-1, len(rows))
                    moments[:, rows] = projected.mean(axis=0), projected.std(axis=0)
        return [np.stack([found[row] for row in range(len(found))]) for found in directions], cosines, moments

    def _fit_tie_orders(self, tied: np.ndarray, sites: np.ndarray, directions: np.ndarray, cosines: np.ndarray) -> None:
        """Calibrate under further orders of the tied sites, by their rows among all sites that were fitted."""
        self.tied_sites_, self.tied_directions_ = sites[tied], directions[tied]
        generator = np.random.default_rng(self.seed)
        orders = [generator.permutation(len(tied))[: self.ties_[1]] for _ in range(TIE_ORDERS)]
        sure = cosines[:, np.setdiff1d(np.arange(len(self.sites_)), tied)]
        calibrators = []
        for order in orders:
            advantage = np.concatenate([sure, cosines[:, tied[order]]], axis=1).mean(axis=1)
            calibrator = fit_calibrator(advantage, self.protocol)
            calibrators.append((calibrator.slope, calibrator.intercept))
        self.tie_orders_ = np.array(orders, np.int64).reshape(TIE_ORDERS, -1)
        self.tie_calibrators_ = np.array(calibrators)

    def _cosines(self, pairs: Pairs, sites: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Cosine of first − second with each site's direction, float64 (n, sites); odd in the two texts."""
        cosines = np.empty((len(pairs), len(sites)))
        for rows, features in self._at_sites(pairs, sites, directions):
            cosines[:, rows] = cosine(features[:, 0] - features[:, 1], directions[rows])
        return cosines

    def _at_sites(
        self, pairs: Pairs, sites: np.ndarray, directions: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Layer by layer, rows of its sites among ``sites``, and their features, float32 (n, 2, its sites, dim)."""
        for layer in np.unique(sites[:, 0]):
            rows = np.flatnonzero(sites[:, 0] == layer)
            yield rows, check_width(self._read(pairs, int(layer), sites[rows, 1].tolist()), directions)

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


def _layers(pairs: Pairs, features: Container[str]) -> list[int]:
    """Layers that have sites; of the residual stream the last, the final norm's output, is left out."""
    if "heads" in features:
        return pairs.layers("heads")
    return [layer for layer in pairs.layers("residual") if layer < pairs.final_layer]
