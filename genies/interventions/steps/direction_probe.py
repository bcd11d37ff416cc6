"""The probe behind mms, lat_stim_1, lat_stim_2, lat_pca and cra: how far two texts differ along learned directions.

Sources: Mass Mean Shift, Li et al. (arXiv 2306.03341), section 3; GENIES (arXiv 2311.07723), section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from genies.errors import DataError
from genies.interventions.base import Pairs
from genies.interventions.steps.calibration import Calibrator, fit_calibrator
from genies.interventions.steps.checks import check_finite, check_training_pairs
from genies.interventions.steps.selection import accuracies_of_layers, keep_best, tied_at_edge
from genies.interventions.steps.site_directions import SiteDirections, fit_directions, projection
from genies.interventions.steps.site_probe import SiteProbe
from genies.interventions.steps.split import training_parts
from genies.interventions.steps.tie_orders import TieOrders
from genies.options import NonNegativeInt, PositiveInt


class DirectionProbe(SiteProbe):
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
        read, layers = partial(self.site_features, pairs), self.site_layers(pairs)
        numbers = pairs.head_numbers if "heads" in self.features else [0]
        sites = np.array([(layer, number) for layer in layers for number in numbers])
        accuracies = [*accuracies_of_layers(read, layers, parts, self.protocol)]
        chosen = [keep_best(accuracy, self.kept, self.protocol) for accuracy in accuracies]
        tied = tied_at_edge(accuracies[-1], self.kept)
        self.ties_ = (len(tied), int(np.isin(tied, chosen[-1]).sum()))
        if self.protocol == "corrected":
            tied = tied[:0]

        # The last part also fits the tied sites that it does not keep.
        wanted = [*chosen[:-1], np.concatenate([chosen[-1], np.setdiff1d(tied, chosen[-1])])]
        directions, cosines, moments = fit_directions(read, self.direction, parts, [sites[rows] for rows in wanted])

        count = len(chosen[-1])
        self.sites_, self.accuracy_ = sites[chosen[-1]], accuracies[-1][chosen[-1]]
        self.directions_, self.text_moments_ = directions[-1][:count], moments[:, :count]
        advantages = [*(values.mean(axis=1) for values in cosines[:-1]), cosines[-1][:, :count].mean(axis=1)]
        advantage = np.concatenate(advantages)
        self.calibrator_ = fit_calibrator(advantage, self.protocol, directed=True)
        self.out_of_fold_ = self.calibrator_.accuracy(advantage) if self.protocol == "corrected" else None
        if self.protocol == "paper":
            rows = np.flatnonzero(np.isin(wanted[-1], tied))
            self.tied_sites_, self.tied_directions_ = sites[wanted[-1]][rows], directions[-1][rows]
            orders = TieOrders.fit(cosines[-1], np.setdiff1d(np.arange(count), rows), rows, self.ties_[1], self.seed)
            self.tie_orders_, self.tie_calibrators_ = orders.orders, orders.calibrators
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """½(1 + mean cosine of first − second) and one minus that, float64 (n, 2) in [0, 1].

        Under ``paper`` the cosine's sign is turned where the calibrator's pairs contradict the directions.
        """
        score = 0.5 * (1 + self.calibrator_.sign * self._advantage(pairs))
        return np.stack([score, 1 - score], axis=1)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        return self.calibrator_.probability(self._advantage(pairs))

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
        for rows, features in SiteDirections(self.sites_, self.directions_).read(partial(self.site_features, pairs)):
            found = projection(features, self.directions_[rows]) - centre[rows]
            total += np.divide(found, spread[rows], out=np.zeros_like(found), where=spread[rows] > 0).sum(axis=2)
        return self.calibrator_.sign * total / len(self.sites_)

    def predict_repeats(self, pairs: Pairs) -> np.ndarray | None:
        """Under ``paper``, probabilities with the sites that tie kept in each of 20 other orders, float64 (20, n)."""
        if self.protocol == "corrected" or not len(self.tied_sites_):
            return None
        tied = (self.sites_[:, None] == self.tied_sites_).all(axis=2).any(axis=1)
        read = partial(self.site_features, pairs)
        sure = SiteDirections(self.sites_[~tied], self.directions_[~tied]).cosines(read, len(pairs))
        drawn = SiteDirections(self.tied_sites_, self.tied_directions_).cosines(read, len(pairs))
        return TieOrders(self.tie_orders_, self.tie_calibrators_).probabilities(sure, drawn)

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
        """Layers that have sites; of the residual stream the last, the final norm's output, is left out."""
        if "heads" in self.features:
            return pairs.layers("heads")
        return [layer for layer in pairs.layers("residual") if layer < pairs.final_layer]

    def site_features(self, pairs: Pairs, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Features of a layer's sites, or of some heads, in the order asked for; float32 (n, 2, sites, dim)."""
        views = []
        for view in self.fit_views:
            if "heads" in self.features:
                features = pairs.heads(view, layer, heads)
            else:
                features = pairs.residual(view, layer)[:, :, None, :]
            views.append(check_finite(features, pairs, f"view {view}, layer {layer}"))
        return self.combine(*views)

    @property
    def sites_kept(self) -> int:
        return self.kept

    def _advantage(self, pairs: Pairs) -> np.ndarray:
        """Mean cosine of first − second with the sites' directions, float64 (n,); odd in the two texts."""
        read = partial(self.site_features, pairs)
        return SiteDirections(self.sites_, self.directions_).cosines(read, len(pairs)).mean(axis=1)
