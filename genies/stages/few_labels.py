"""The stage ``few-labels``: what every probe reaches with a few labelled pairs of the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from genies.data.clusters import instructions
from genies.data.overlap import TrainingTexts, overlap
from genies.data.pairs import text_seed
from genies.data.reading import SplitPairs
from genies.evaluation.tables.few_labels import CHOICES, NONE, TABLE
from genies.interventions.base import Intervention
from genies.interventions.steps.joined import KeptPairs
from genies.interventions.steps.target_labels import chosen_rows, copies_of, joint_clusters, mixed
from genies.stages.refits import Probe, correct, on_sources, shown, summarized
from genies.stages.splits import Splits

Row = dict[str, Any]


def write_few_labels(
    *pairs: str,
    probes: Mapping[str, Any],
    model: str,
    counts: Sequence[int],
    draws: int,
    copies: int,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Fit probes on the source's training pairs and a few of the target's, and test on the target.

    The target's pairs come from its training split: at random, or those between which the fit on the source alone is
    least sure, both from the same pools, drawn by seed. Pairs whose prompt or text is in the target's test split, or
    whose text is in the source's training pairs, are left out. No text is read by a model.

    Args:
        *pairs: ``SOURCE:TARGET`` of every shift.
        probes: by name of the run, ``intervention`` (name, or path of a Python file) and its ``parameters``.
        model: name of the run's model.
        counts: numbers of target pairs; those that a pool does not hold are left out.
        draws: how many pools there are.
        copies: how often each target pair is there, at most.
        train: ``<distribution>/train.json`` of every source and target.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; they say how splits are read.
        cache: the cache folder.
        output: folder of ``few_labels.csv``, columns as in ``genies.evaluation.tables.few_labels.TABLE``.
    """
    splits, rows, made = Splits(train, test, activations, cache), [], Probe.all_of(probes)
    asked = sorted(set(counts))
    with tqdm(total=len(pairs) * len(made), desc=model, unit="shift", mininterval=2, dynamic_ncols=True) as progress:
        for source, probe, targets in on_sources(pairs, made):
            training = shown(splits, probe.unfitted(), source, "train")
            alone = probe.fitted(training, f"training pairs of {source}")
            for target in targets:
                progress.set_description(f"{model}, {probe.name}, {source} → {target}")
                shift = _Shift.of(splits, probe, training, source, target)
                place = {"model": model, "intervention": probe.name, "source": source, "target": target}
                rows += [{**place, **row} for row in shift.rows(alone, asked, draws, copies)]
                progress.update()
    TABLE.write(TABLE.frame(rows), output)


@dataclass(frozen=True)
class _Shift:
    """A probe on a shift.

    Attributes:
        probe: the probe.
        name: ``source → target``.
        training, others: training pairs of source and target.
        clusters: of both.
        free: rows of ``others`` that may be taken.
        tested, target: the target's test pairs with and without features.
        known: what fits were right on, by how often each pair of the target was there and which ones: other draws, and
            other choices, may come to the same ones.
    """

    probe: Probe
    name: str
    training: KeptPairs
    others: KeptPairs
    clusters: tuple[np.ndarray, np.ndarray]
    free: np.ndarray
    tested: KeptPairs
    target: SplitPairs
    known: dict[tuple[int, bytes], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, splits: Splits, probe: Probe, training: KeptPairs, source: str, target: str) -> _Shift:
        """Read what the target has."""
        unfitted, test = probe.unfitted(), splits(target, "test")
        first, second = (splits(name, "train") for name in (source, target))
        return cls(
            probe=probe,
            name=f"{source} → {target}",
            training=training,
            others=shown(splits, unfitted, target, "train"),
            clusters=clusters_of(first, second),
            free=clean_rows(second, test, first),
            tested=shown(splits, unfitted, target, "test"),
            target=test,
        )

    def rows(self, alone: Intervention, counts: Sequence[int], draws: int, copies: int) -> Iterator[Row]:
        """A row of the fit on the source alone, and one of each choice and count."""
        none = {"chosen": NONE, "examples": 0, "copies": 0}
        yield {**none, **summarized([correct(alone, self.tested, self.target)], self.target.cluster)}
        scores = alone.decision_function(self.others)
        advantage, seed = scores[:, 0] - scores[:, 1], self.probe.unfitted().seed
        orders = [
            chosen_rows(advantage, self.others.cluster, self.free, text_seed(seed, "labels", self.name, str(draw)))
            for draw in range(draws)
        ]
        for count in counts:
            times = copies_of(count, len(self.training), copies)
            for chosen, of_choice in zip(CHOICES, zip(*orders, strict=True), strict=True):
                if count <= len(of_choice[0]):
                    found = [self._correct(order[:count], times) for order in of_choice]
                    stated = {"chosen": chosen, "examples": count, "copies": times}
                    yield {**stated, **summarized(found, self.target.cluster)}

    def _correct(self, rows: np.ndarray, copies: int) -> np.ndarray:
        key = copies, np.sort(rows).tobytes()
        if key not in self.known:
            pairs = mixed(self.training, self.others, rows, copies, self.clusters)
            fitted = self.probe.fitted(pairs, f"{self.name}, {len(rows)} pairs of the target")
            self.known[key] = correct(fitted, self.tested, self.target)
        return self.known[key]


def clusters_of(source: SplitPairs, target: SplitPairs) -> tuple[np.ndarray, np.ndarray]:
    """Joint clusters of the training pairs of both, int64 each.

    Instructions are those of the whole files, as they are for the clusters of each: a limit may leave few examples of
    one, and framings ask several questions about an example.
    """
    of_files = [instructions([example.prompt for example in split.framed.filed]) for split in (source, target)]
    first, second = ((split.cluster, _prompts(split)) for split in (source, target))
    return joint_clusters(first, second, set().union(*of_files))


def clean_rows(training: SplitPairs, test: SplitPairs, source: SplitPairs) -> np.ndarray:
    """Rows of a target's training pairs that add labels and may be learned from, int64 (k,).

    Its test split shows nothing of them, and the source's training pairs none of their texts: a mixture holds some of
    the target's, and a shift onto the source itself all. See ``genies.data.overlap``.
    """
    read = _filed(training)
    of_test, of_source = (
        overlap(training.framed.filed, sorted(set(read)), TrainingTexts.of(split.framed.filed, set(_filed(split))))
        for split in (test, source)
    )
    return np.flatnonzero(np.isin(read, of_test.example[~(of_test.seen | of_source.same_text)]))


def _filed(split: SplitPairs) -> list[int]:
    """The index in the file of each pair's example."""
    return [split.framed.in_file(pair.example) for pair in split.pairs]


def _prompts(split: SplitPairs) -> list[str]:
    """The prompt in the file of each pair's example."""
    return [split.framed.filed[index].prompt for index in _filed(split)]
