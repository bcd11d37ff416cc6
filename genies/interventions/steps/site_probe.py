"""Probes that choose where in the model they read: attention heads, or layers of the residual stream."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from genies.errors import ConfigError
from genies.interventions.base import Intervention, Pairs


class SiteProbe(Intervention[Pairs]):
    """An intervention that keeps the most accurate of several sites.

    Attributes:
        ties_: how many sites are as accurate as the last one that was kept, and how many of those were kept.
    """

    ties_: tuple[int, int]

    @abstractmethod
    def chosen_sites(self) -> list[tuple[int, int | None, float | None]]:
        """The sites that a fitted probe chose to read.

        Returns:
            Layer, head (None for the residual stream) and validation accuracy (None where it is not kept) of each.
        """

    @abstractmethod
    def site_layers(self, pairs: Pairs) -> list[int]:
        """Layers that have sites to choose from, ascending."""

    @abstractmethod
    def site_features(self, pairs: Pairs, layer: int) -> np.ndarray:
        """Features of a layer's sites, float32 (n, 2, sites, dim)."""

    @property
    @abstractmethod
    def sites_kept(self) -> int:
        """How many sites it keeps, at most."""

    def edge_ties(self) -> tuple[int, int]:
        """How many sites are as accurate as the last one that was kept, and how many of those were kept.

        (0, 0) where no site was kept or dropped by the order of equals alone.
        """
        return self.ties_


def choosing_sites(intervention: Intervention) -> SiteProbe:
    """An intervention that chooses sites.

    Raises:
        ConfigError: this one does not.
    """
    if not isinstance(intervention, SiteProbe):
        raise ConfigError(f"{type(intervention).__name__}: chooses no sites; give a subclass of {SiteProbe.__name__}")
    return intervention
