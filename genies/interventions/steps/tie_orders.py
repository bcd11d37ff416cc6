"""Under ``paper``, which of several equally accurate sites are kept is chance: fits under further orders of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genies.interventions.steps.calibration import Calibrator, fit_calibrator

TIE_ORDERS = 20
"""Orders of equally accurate sites under which ``paper`` predicts once more each."""


@dataclass(frozen=True)
class TieOrders:
    """Which of the tied sites are kept under each further order, and the calibrator that follows.

    Attributes:
        orders: rows of the tied sites that are kept, int64 (20, kept of them).
        calibrators: slope and intercept of the calibrator, float64 (20, 2).
    """

    orders: np.ndarray
    calibrators: np.ndarray

    @classmethod
    def fit(cls, cosines: np.ndarray, sure: np.ndarray, tied: np.ndarray, kept: int, seed: int) -> TieOrders:
        """Draw the orders and calibrate under each.

        Args:
            cosines: of the calibrator's pairs with the direction of each fitted site, float64 (n, sites).
            sure: columns of the sites that are kept under every order.
            tied: columns of the sites that tie.
            kept: how many of the latter are kept.
            seed: of the orders.
        """
        generator = np.random.default_rng(seed)
        orders = [generator.permutation(len(tied))[:kept] for _ in range(TIE_ORDERS)]
        calibrators = []
        for order in orders:
            advantage = np.concatenate([cosines[:, sure], cosines[:, tied[order]]], axis=1).mean(axis=1)
            calibrator = fit_calibrator(advantage, "paper")
            calibrators.append((calibrator.slope, calibrator.intercept))
        return cls(np.array(orders, np.int64).reshape(TIE_ORDERS, -1), np.array(calibrators))

    def probabilities(self, sure: np.ndarray, tied: np.ndarray) -> np.ndarray:
        """Probabilities under each order, float64 (20, n).

        Args:
            sure: cosines of n pairs with the directions of the sites that are kept under every order.
            tied: with those of the sites that tie.
        """
        return np.stack(
            [
                Calibrator(*calibrator).probability(np.concatenate([sure, tied[:, order]], axis=1).mean(axis=1))
                for order, calibrator in zip(self.orders, self.calibrators.tolist(), strict=True)
            ]
        )
