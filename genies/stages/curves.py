"""The stage ``learning-curves``: what every probe reaches with fewer training pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from genies.data.pairs import text_seed
from genies.errors import DataError
from genies.evaluation.tables.learning_curves import TABLE
from genies.interventions.base import Intervention, Pairs, Protocols
from genies.interventions.steps.joined import JoinedPairs, drawn_order, whole_clusters
from genies.interventions.steps.split import split_pairs
from genies.stages.refits import Probe, correct, on_sources, shown, summarized
from genies.stages.splits import Splits
from genies.stages.targets import targets_of

log = logging.getLogger(__name__)


def write_learning_curves(
    *pairs: str,
    probes: Mapping[str, Any],
    model: str,
    sizes: Sequence[int],
    draws: int,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Fit probes on some of their training pairs, and test these fits; no text is read by a model.

    Prompts are drawn in some orders, the same for every probe of one seed; a size takes the first training pairs of
    each order, so that those of a smaller size are among those of a larger one. Pairs of one prompt stay together. The
    last row of a curve is the fit on all pairs. A size is left out, and the log says so, where a draw of it holds too
    few prompts for the splits that fits make.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        probes: by name of the run, ``intervention`` (name, or path of a Python file) and its ``parameters``.
        model: name of the run's model.
        sizes: numbers of training pairs; those that a source has no more of are left out.
        draws: how many orders there are.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of ``learning_curves.csv``, columns as in ``genies.evaluation.tables.learning_curves.TABLE``.
    """
    splits, rows, made = Splits(train, test, activations, cache), [], Probe.all_of(probes)
    left_out: set[tuple[str, int]] = set()
    total = len(made) * len(targets_of(pairs))
    with tqdm(total=total, desc=model, unit="curve", mininterval=2, dynamic_ncols=True) as progress:
        for source, probe, targets in on_sources(pairs, made):
            progress.set_description(f"{model}, {probe.name} on {source}")
            training = shown(splits, probe.unfitted(), source, "train")
            fits = {size: [*fitted] for size, fitted in curve_fits(probe, source, training, sizes, draws)}
            left_out |= {(source, size) for size in sizes if size < len(training) and size not in fits}
            for target in targets:
                tested, of_target = shown(splits, probe.unfitted(), target, "test"), splits(target, "test")
                for size, of_size in fits.items():
                    found = (correct(fitted, tested, of_target) for fitted in of_size)
                    place = {"model": model, "intervention": probe.name, "source": source, "target": target}
                    rows.append({**place, "size": size, **summarized(found, of_target.cluster)})
            progress.update()
    for source, size in sorted(left_out):
        log.warning("%s: %d training pairs have too few different prompts to be split, left out", source, size)
    TABLE.write(TABLE.frame(rows), output)


def curve_fits(
    probe: Probe, source: str, training: Pairs, sizes: Sequence[int], draws: int
) -> Iterator[tuple[int, Iterator[Intervention]]]:
    """The fits of each size below the number of pairs whose draws can be split, and last that on all of them.

    Args:
        probe: what is fitted.
        source: name of the source; draws depend on it.
        training: its training pairs.
        sizes: numbers of training pairs.
        draws: how many fits there are of each size.

    Yields:
        Size and fits, which are made one after the other.
    """
    unfitted = probe.unfitted()
    seeds = [text_seed(unfitted.seed, "learning curves", source, str(draw)) for draw in range(draws)]
    orders = [drawn_order(training.cluster, seed) for seed in seeds]
    for size in sorted(set(sizes)):
        drawn = [whole_clusters(order, training.cluster, size) for order in orders]
        if size < len(training) and all(_can_be_split(training, rows, unfitted.protocol) for rows in drawn):
            yield size, (probe.fitted(_rows(training, rows), f"{size} training pairs of {source}") for rows in drawn)
    yield len(training), iter([probe.fitted(training, f"training pairs of {source}")])


def _can_be_split(training: Pairs, rows: np.ndarray, protocol: Protocols) -> bool:
    """Whether some training pairs can be split as fits do; asked of every probe, so that all have the same sizes."""
    groups = training.example if protocol == "paper" else training.cluster
    try:
        split_pairs(groups[rows], 0)
    except DataError:
        return False
    return True


def _rows(training: Pairs, rows: np.ndarray) -> JoinedPairs:
    return JoinedPairs([(training, rows)], training.cluster[rows])
