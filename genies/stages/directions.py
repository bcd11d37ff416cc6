"""The stage ``directions``: how alike sources' directions are, what transfer they explain, and what erasing one takes.

At a time, one layer of one split is in memory, and of the others the directions alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genies.data.pairs import text_seed
from genies.evaluation.qap import qap
from genies.evaluation.tables import direction_layers, directions, erasure, transfer
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.registry import make
from genies.interventions.steps.direction_probe import DirectionProbe
from genies.interventions.steps.directions import Agreement, Reached, direct, drawn, effective, halved
from genies.interventions.steps.site_probe import SiteProbe, choosing_sites
from genies.stages.erasures import erasures
from genies.stages.layers import SplitLayers
from genies.stages.targets import targets_of

MEAN_DIFFERENCE = "mean_difference"
HALVINGS = {MEAN_DIFFERENCE: 10}
"""How often sources are halved at random. Other directions take long to find, and are found for one halving."""
RANDOM_DIRECTIONS = 99
"""Drawn for each source, for what unrelated directions agree by."""
REARRANGEMENTS = 999
"""Of sources, for whether agreement goes with transfer."""


def write_directions(
    *pairs: str,
    probes: Mapping[str, Any],
    model: str,
    seed: int = 0,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Compare the directions of sources and erase them; see ``genies.interventions.steps.directions`` and ``erasure``.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        probes: by name of the run, ``intervention`` (name, or path of a Python file) and its ``parameters``; they find
            a direction in each layer. Differences of means are always compared.
        model: name of the run's model.
        seed: of what is drawn.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target, the sources among them.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of the tables to write: ``directions.csv``, ``direction_layers.csv``, ``transfer.csv`` and
            ``erasure.csv``, as ``genies.evaluation.tables`` has them.
    """
    made: dict[str, SiteProbe] = {MEAN_DIFFERENCE: LatStim1(seed=seed)}
    made |= {name: choosing_sites(make(one["intervention"], one["parameters"])) for name, one in probes.items()}
    splits = SplitLayers(train, test, activations, cache)
    run = _Run(model, seed, made, splits, targets_of(pairs))
    tables = (directions.TABLE, direction_layers.TABLE, transfer.TABLE, erasure.TABLE)
    rows: dict[str, list[dict[str, Any]]] = {table.file: [] for table in tables}
    for alike in reading_alike(made):
        found, between = run.compared([*alike])
        for name, of_layers in found.items():
            for compared in of_layers:
                rows[directions.TABLE.file] += run.agreements(name, compared)
                rows[transfer.TABLE.file] += run.transfers(name, compared)
            rows[direction_layers.TABLE.file] += run.summaries(name, of_layers)
        rows[directions.TABLE.file] += between
        erased = erasures(alike, splits, run.targets, seed)
        rows[erasure.TABLE.file] += ({"model": model, **row} for row in erased)
    for table in tables:
        table.write(table.frame(rows[table.file]), output)


def reading_alike(probes: Mapping[str, SiteProbe]) -> list[dict[str, SiteProbe]]:
    """Probes by name, those together that find their directions in the same features of each layer.

    One with a ``combine`` of its own has features that no other has.
    """
    found: dict[tuple, dict[str, SiteProbe]] = {}
    for name, probe in probes.items():
        combines = isinstance(probe, DirectionProbe) and type(probe).combine is not DirectionProbe.combine
        read = probe.fit_views, probe.predict_views, name if combines else None
        found.setdefault(read, {})[name] = probe
    return [*found.values()]


@dataclass(frozen=True)
class _Compared:
    """The directions of one intervention on n sources in one layer.

    Attributes:
        layer: its number.
        matrix, ceiling: agreement of every two sources, float64 (n, n), and what it would be if they shared one.
        reached: on each target, by its name.
        unrelated: effective number of directions drawn at random, float64 (draws,).
    """

    layer: int
    matrix: np.ndarray
    ceiling: np.ndarray
    reached: Mapping[str, Reached]
    unrelated: np.ndarray


@dataclass(frozen=True)
class _Run:
    """The directions of a model, and what is said of them."""

    model: str
    seed: int
    probes: Mapping[str, SiteProbe]
    splits: SplitLayers
    targets: Mapping[str, Sequence[str]]

    @cached_property
    def sources(self) -> list[str]:
        return [*self.splits.sources]

    def compared(self, names: Sequence[str]) -> tuple[dict[str, list[_Compared]], list[dict[str, Any]]]:
        """Directions layer by layer, by intervention, and rows about two interventions on one source.

        Args:
            names: of interventions that read the same features.
        """
        found: dict[str, list[_Compared]] = {name: [] for name in names}
        between: list[dict[str, Any]] = []
        for layer, present in self._layers(names).items():
            joint, own, reached = self._layer(present, layer)
            unrelated, matrix = joint.unrelated(), joint.matrix()
            for name, agreement in own.items():
                by_target = {target: of_target[name] for target, of_target in reached.items()}
                found[name].append(_Compared(layer, agreement.matrix(), agreement.ceiling(), by_target, unrelated))
            between += self._between(present, layer, matrix, own)
        return found, between

    def _layers(self, names: Sequence[str]) -> dict[int, list[str]]:
        """Which of the interventions have a direction in each layer."""
        layers: dict[int, list[str]] = {}
        for name in names:
            probe = self.probes[name]
            for layer in probe.site_layers(self.splits.bound(probe, self.sources[0], "train")):
                layers.setdefault(layer, []).append(name)
        return dict(sorted(layers.items()))

    def _layer(
        self, names: Sequence[str], layer: int
    ) -> tuple[Agreement, dict[str, Agreement], dict[str, dict[str, Reached]]]:
        """Agreement of all interventions together, of each by itself, and what they reach on each target."""
        probe, whole, halves, random = self.probes[names[0]], [], [], []
        for source in self.sources:
            texts = self.splits.texts(probe, source, "train", layer)
            cluster, seed = self.splits.sources[source].cluster, text_seed(self.seed, "directions", source)
            rules = {name: direct(self.probes[name]) for name in names}
            whole.append({name: rule(texts[:, 0], texts[:, 1]) for name, rule in rules.items()})
            halves.append(
                {name: halved(texts, cluster, rule, HALVINGS.get(name, 1), seed) for name, rule in rules.items()}
            )
            random.append(drawn(texts, cluster, RANDOM_DIRECTIONS, seed))
        joint = Agreement(np.stack([one[name] for name in names for one in whole]), random=np.stack(random))
        own = {
            name: Agreement(np.stack([one[name] for one in whole]), np.stack([one[name] for one in halves]))
            for name in names
        }
        reached = {}
        for target in self.splits.targets:
            texts = self.splits.texts(probe, target, "test", layer)
            differences = texts[:, 0] - texts[:, 1]
            joint.add(differences)
            reached[target] = {name: agreement.add(differences) for name, agreement in own.items()}
        return joint, own, reached

    def _between(
        self, names: Sequence[str], layer: int, matrix: np.ndarray, own: Mapping[str, Agreement]
    ) -> Iterator[dict[str, Any]]:
        """Rows about every two interventions on each source, by the agreement of all on all sources."""
        n = len(self.sources)
        reliable = {name: agreement.reliability() for name, agreement in own.items()}
        for (a, one), (b, other) in itertools.combinations(enumerate(names), 2):
            for row, source in enumerate(self.sources):
                ceiling = float(np.sqrt(reliable[one][row] * reliable[other][row]))
                place = {"layer": layer, "intervention": one, "source": source, "other": other, "other_source": source}
                values = {"agreement": float(matrix[a * n + row, b * n + row]), "ceiling": ceiling}
                yield {"model": self.model, **place, **values}

    def agreements(self, name: str, compared: _Compared) -> Iterator[dict[str, Any]]:
        """Rows about an intervention on every two sources."""
        for (a, source), (b, other) in itertools.combinations(enumerate(self.sources), 2):
            yield {
                "model": self.model, "layer": compared.layer, "intervention": name, "source": source, "other": name,
                "other_source": other, "agreement": float(compared.matrix[a, b]),
                "ceiling": float(compared.ceiling[a, b]),
            }  # fmt: skip

    def transfers(self, name: str, compared: _Compared) -> Iterator[dict[str, Any]]:
        """Rows about an intervention on every shift, and on every source itself."""
        for row, source in enumerate(self.sources):
            for target in sorted({source, *self.targets.get(source, ())} & self.splits.targets.keys()):
                on = compared.reached[target]
                predicted, accuracy = float(on.predicted[row]), float(on.accuracy[row])
                values = {"predicted_accuracy": predicted, "accuracy": accuracy, "remainder": accuracy - predicted}
                if target != source and target in self.splits.sources:
                    both = row, self.sources.index(target)
                    values |= {"agreement": float(compared.matrix[both]), "ceiling": float(compared.ceiling[both])}
                place = {"intervention": name, "layer": compared.layer, "source": source, "target": target}
                yield {"model": self.model, **place, **values}

    def summaries(self, name: str, of_layers: Sequence[_Compared]) -> Iterator[dict[str, Any]]:
        """A row for each layer of an intervention."""
        matrices = np.stack([compared.matrix for compared in of_layers])
        accuracies = np.stack([self._accuracies(compared) for compared in of_layers])
        relation = qap(matrices, accuracies, REARRANGEMENTS, text_seed(self.seed, "rearrangements"))
        off = ~np.eye(len(self.sources), dtype=bool)
        for row, compared in enumerate(of_layers):
            number = effective(compared.matrix)
            few = int((compared.unrelated <= number + 1e-12).sum())
            values = {
                "own_accuracy": accuracies[row].diagonal().mean(),
                "agreement": compared.matrix[off].mean() if off.any() else None,
                "ceiling": compared.ceiling[off].mean() if off.any() else None,
                "effective": number,
                "effective_if_shared": effective(compared.ceiling),
                "effective_if_unrelated": compared.unrelated.mean(),
                "p_related": (1 + few) / (1 + len(compared.unrelated)),
                "transfer_r": relation.r[row],
                "transfer_p": relation.p[row],
                "transfer_p_adjusted": relation.p_adjusted[row],
            }
            known = {key: None if value is None or np.isnan(value) else float(value) for key, value in values.items()}
            place = {"intervention": name, "layer": compared.layer, "sources": len(self.sources)}
            yield {"model": self.model, **place, **known}

    def _accuracies(self, compared: _Compared) -> np.ndarray:
        """Accuracy of the direction of each source (rows) on the test pairs of each (columns)."""
        return np.stack([compared.reached[source].accuracy for source in self.sources], axis=1)
