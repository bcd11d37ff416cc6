"""The stage ``wordings``: what probes reach under other wordings of the questions in their views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genies.evaluation.crossed import crossed_components, standard_deviation
from genies.evaluation.tables import wording_variance
from genies.evaluation.tables import wordings as accuracies
from genies.evaluation.tables.wording_variance import COMPONENTS
from genies.evaluation.uncertainty import cluster_influences
from genies.interventions.registry import by_intervention
from genies.stages.refits import Probe, correct_by_seed, shown, summarized
from genies.stages.splits import Splits
from genies.stages.targets import targets_of

Row = dict[str, Any]


def write_wordings(
    *pairs: str,
    probes: Mapping[str, Any],
    model: str,
    wordings: int,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Fit and test probes under every wording of what their views ask, and say where the variance comes from.

    Everything is fitted again: sites, directions, calibrator. No text is read by a model.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        probes: by name of the run, ``intervention`` (name, or path of a Python file) and its ``parameters``; those
            that repeat one with a further seed are further seeds of it.
        model: name of the run's model.
        wordings: how many further wordings there are.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of the two tables, columns as in ``genies.evaluation.tables.wordings.TABLE`` and
            ``genies.evaluation.tables.wording_variance.TABLE``.
    """
    splits = Splits(train, test, activations, cache)
    rows: list[Row] = []
    variances: list[Row] = []
    for name, seeds in _by_name(Probe.all_of(probes)).items():
        method = {"model": model, "intervention": name}
        cells = []
        for source, targets in targets_of(pairs).items():
            of_source = [*_cells(splits, seeds, source, targets, wordings)]
            rows += [{**method, **row} for cell in of_source for row in cell.rows()]
            cells += [cell.variance() for cell in of_source]
        variances += [{**method, **row} for row in _variances(cells)]
    accuracies.TABLE.write(accuracies.TABLE.frame(rows), output)
    wording_variance.TABLE.write(wording_variance.TABLE.frame(variances), output)


def _by_name(probes: Sequence[Probe]) -> dict[str, list[Probe]]:
    """Each probe, and its repeats with further seeds after it, by its name."""
    named = {probe.name: probe for probe in probes}
    repeats = by_intervention(name for name in named if "@" in name)
    return {
        name: [probe, *(named[repeat] for repeat in repeats.get(name, ()))]
        for name, probe in named.items()
        if "@" not in name
    }


@dataclass(frozen=True)
class _Cell:
    """What a probe says of the test pairs of a target under each wording and seed.

    Attributes:
        source, target: names.
        correct: how right each pair is ranked, float64 (wordings, seeds, n).
        cluster: the cluster of each pair, int64 (n,).
    """

    source: str
    target: str
    correct: np.ndarray
    cluster: np.ndarray

    @property
    def place(self) -> Row:
        return {"source": self.source, "target": self.target}

    def rows(self) -> Iterator[Row]:
        """A row for each wording."""
        for number, by_seed in enumerate(self.correct):
            found = summarized(by_seed, self.cluster)
            yield {**self.place, "wording": number, "seeds": found.pop("draws"), **found}

    def variance(self) -> _Variance:
        """What its components are estimated from."""
        influences = cluster_influences(self.correct, self.cluster)[1]
        return _Variance(self.source, self.target, self.correct.mean(axis=-1), influences)


@dataclass(frozen=True)
class _Variance:
    """What the components of a cell's variance are estimated from.

    Attributes:
        source, target: names.
        accuracy: under each wording and seed, float64 (wordings, seeds).
        influences: of the target's clusters, float64 (wordings, seeds, clusters).
    """

    source: str
    target: str
    accuracy: np.ndarray
    influences: np.ndarray


def _cells(
    splits: Splits, seeds: Sequence[Probe], source: str, targets: Sequence[str], wordings: int
) -> Iterator[_Cell]:
    """The cells of one source; ``seeds`` are one probe under its own seed and further ones."""
    correct: dict[str, list[list[np.ndarray]]] = {target: [] for target in targets}
    reader = seeds[0].unfitted()
    for number in range(wordings + 1):
        training = shown(splits, reader, source, "train", number)
        fits = [probe.fitted(training, f"training pairs of {source}, wording {number}") for probe in seeds]
        for target in targets:
            tested = shown(splits, reader, target, "test", number)
            correct[target].append([correct_by_seed(fitted, tested, splits(target, "test")) for fitted in fits])
    for target, by_wording in correct.items():
        stacked = np.stack([np.concatenate(by_fit) for by_fit in by_wording])
        yield _Cell(source, target, stacked, splits(target, "test").cluster)


def _variances(cells: Sequence[_Variance]) -> Iterator[Row]:
    """A row for each cell, and one for the mean over shifts, if there are any."""
    for cell in cells:
        place = {"source": cell.source, "target": cell.target, "shifts": 1}
        yield {**place, **_components(cell.accuracy, [cell.influences])}
    shifts = [cell for cell in cells if cell.source != cell.target]
    if shifts:
        of_target: dict[str, np.ndarray] = {}
        for cell in shifts:
            of_target[cell.target] = of_target.get(cell.target, 0) + cell.influences / len(shifts)
        accuracy = np.mean([cell.accuracy for cell in shifts], axis=0)
        yield {"shifts": len(shifts), **_components(accuracy, [*of_target.values()])}


def _components(accuracy: np.ndarray, influences: Sequence[np.ndarray]) -> Row:
    """Means and standard deviations of a table of accuracies, columns as in the table of them."""
    by_wording = accuracy.mean(axis=1)
    found = crossed_components(accuracy, influences)
    known = {} if found is None else asdict(found)
    return {
        "wordings": accuracy.shape[0],
        "seeds": accuracy.shape[1],
        "accuracy": float(accuracy.mean()),
        "lowest": float(by_wording.min()),
        "highest": float(by_wording.max()),
        **{f"{name}_sd": standard_deviation(known.get(name)) for name in COMPONENTS},
    }
