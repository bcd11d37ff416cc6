"""Hyper-parameter sweeps of trained interventions on a source's own training split.

Published: 400 examples to train on, 200 held out, learning rates on a logarithmic grid (GENIES, arXiv 2311.07723).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genies.data.pairs import Pair, example_seed
from genies.data.reading import SplitPairs
from genies.devices import claim_gpus
from genies.errors import DataError
from genies.evaluation import metrics
from genies.evaluation.uncertainty import accuracy_interval
from genies.files import whole_file
from genies.interventions.registry import make, name_of
from genies.interventions.text import reading_texts
from genies.interventions.training.grid import grid
from genies.interventions.training.loaded import LoadedModel
from genies.models.describe import read_model
from genies.models.files import PinnedFiles
from genies.stages.shown import ShownTexts

COLUMNS = ("model", "intervention", "source", "parameters", "accuracy", "low", "high", "train_pairs", "held_out_pairs")


def sweep_source(
    intervention: str,
    *,
    parameters: Mapping[str, Any] = {},
    values: Mapping[str, Any],
    counts: tuple[int, int] = (400, 200),
    model: Path,
    tokens: Path,
    train: Path,
    device: str = "auto",
    work: Path,
    output: Path,
) -> None:
    """Try hyper-parameters on a part of a source's training split, and test on another part.

    Args:
        intervention: name, or path of a Python file.
        parameters: keyword arguments that stay as they are.
        values: values to try by parameter.
        counts: examples to train on, and held out.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``; it says how splits are read, and its seed divides the examples.
        train: ``<source>/train.json``.
        device: torch device, or "auto".
        work: folder for checkpoints.
        output: CSV to write, a row per combination, columns as in ``COLUMNS``.
    """
    import polars as pl

    claim_gpus(device)
    described = read_model(model)
    files = PinnedFiles.of(described)
    files.check()
    source = train.parent.name
    shown = ShownTexts(tokens, model)
    fit_split, held_out_split = divided(train, shown, counts)
    fit_pairs, held_out = (shown.texts(part, "train") for part in (fit_split, held_out_split))
    rows, loaded = [], LoadedModel()
    for number, tried in enumerate(grid(values)):
        fitted = reading_texts(make(intervention, {**parameters, **tried})).bind(described, device, work / str(number))
        fitted.loaded_model = loaded
        fitted.progress_label = f"{described['name']} {name_of(intervention)} on {source}, {json.dumps(tried)}"
        fitted.fit(fit_pairs)
        probability, _ = fitted.predict(held_out)
        correct = metrics.correctness(np.where(held_out_split.best_first, probability, 1 - probability))
        low, high = accuracy_interval(correct, held_out_split.cluster)
        fitted.remove_checkpoint()
        rows.append(
            (described["name"], intervention, source, json.dumps(tried), float(correct.mean()), low, high,
             len(fit_pairs), len(held_out))
        )  # fmt: skip
    files.check()
    with whole_file(output) as partial:
        pl.DataFrame(rows, schema=list(COLUMNS), orient="row").write_csv(partial)


def divided(train: Path, shown: ShownTexts, counts: tuple[int, int]) -> tuple[SplitPairs, SplitPairs]:
    """Pairs to train on (best first) and held-out pairs (in an order thrown by their texts), of different clusters.

    Raises:
        DataError: the split has too few examples, or too many of them have to stay together.
    """
    split = shown.training(train)
    if len(split.pairs) < sum(counts):
        raise DataError(
            f"{train}: has {len(split.pairs)} examples for {counts[0]} + {counts[1]}; lower sweep.train or held_out"
        )

    def draw(pair: Pair) -> int:
        return example_seed(shown.reading.seed, split.framed.examples[pair.example], "sweep")

    chosen, held_out = _filled(_by_cluster(split, draw), counts)
    if (found := (len(chosen), len(held_out))) != counts:
        raise DataError(
            f"{train}: examples with one prompt stay together, and {found[0]} + {found[1]} are left for {counts[0]} + "
            f"{counts[1]}; lower sweep.train or held_out"
        )
    coins = np.array([draw(pair) % 2 == 0 for pair in held_out], bool)
    return (
        replace(split, pairs=chosen, best_first=np.ones(len(chosen), bool)),
        replace(split, pairs=held_out, best_first=coins),
    )


def _by_cluster(split: SplitPairs, draw: Callable[[Pair], int]) -> list[list[Pair]]:
    """The pairs by cluster, in the order drawn: that of the cluster's first pair."""
    clusters: dict[int, list[Pair]] = {}
    for pair, cluster in sorted(zip(split.pairs, split.cluster.tolist(), strict=True), key=lambda both: draw(both[0])):
        clusters.setdefault(cluster, []).append(pair)
    return list(clusters.values())


def _filled(clusters: Sequence[list[Pair]], counts: Sequence[int]) -> list[list[Pair]]:
    """Parts of these sizes: each cluster goes whole to the first part with room for it, else what fits of it to one."""
    parts: list[list[Pair]] = [[] for _ in counts]
    left = []
    for cluster in clusters:
        for part, count in zip(parts, counts, strict=True):
            if len(part) + len(cluster) <= count:
                part += cluster
                break
        else:
            left.append(cluster)
    for cluster in left:
        rooms = [count - len(part) for part, count in zip(parts, counts, strict=True)]
        roomiest = int(np.argmax(rooms))
        parts[roomiest] += cluster[: rooms[roomiest]]
    return parts


def join_sweeps(*tables: Path, output: Path) -> None:
    """Join the tables of sweeps, best combination first within each source.

    Args:
        *tables: those of ``genies sweep`` (CSV).
        output: table to write (CSV).
    """
    import polars as pl

    joined = pl.concat([pl.read_csv(table) for table in tables])
    keys = ["model", "intervention", "source", "accuracy"]
    with whole_file(output) as partial:
        joined.sort(keys, descending=[False, False, False, True], maintain_order=True).write_csv(partial)
