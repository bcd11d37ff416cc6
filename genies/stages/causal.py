"""The stage ``causal``: what a model's own preference changes by when directions of sources are erased, or added.

Unlike ``directions``, which reads stores, it passes texts through the model.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from genies.data.pairs import text_seed
from genies.data.reading import SplitPairs
from genies.devices import claim_gpus
from genies.engine.arithmetic import announce, resolve_device
from genies.engine.batches import free_budget
from genies.engine.decoder import Decoder
from genies.engine.leads import LeadReader
from genies.engine.options import Extraction
from genies.engine.scoring import TextGroup
from genies.engine.steering import added, erased
from genies.engine.tokens import SCORED_VIEW
from genies.errors import ModelError
from genies.evaluation.effects import Effect, adjusted
from genies.evaluation.tables.causal import ADDED, ERASED, TABLE
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.steps.directions import direct, drawn
from genies.models.describe import read_model
from genies.models.files import PinnedFiles
from genies.stages.layers import SplitLayers, most_accurate_layer
from genies.stages.targets import targets_of
from genies.store.settled import settled
from genies.store.tokens import read_tokens

log = logging.getLogger(__name__)


def write_causal(
    *pairs: str,
    model: Path,
    train: Sequence[Path],
    test: Sequence[Path],
    activations: Sequence[Path],
    texts: int,
    strengths: Sequence[float],
    draws: int,
    seed: int = 0,
    extraction: Extraction = Extraction(),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Measure what directions of sources change in the model itself; docs/methods.md says how.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is tested on what.
        model: the model's manifest.
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        activations: manifests of ``genies extract``; directions are those of the features that they name.
        texts: test texts of each target that are passed, at most; two for a pair.
        strengths: how long a direction is that is added, in distances of class means.
        draws: random directions of each source.
        seed: of what is drawn.
        extraction: how texts are passed.
        cache: the cache folder.
        output: folder of ``causal.csv``, columns as in ``genies.evaluation.tables.causal.TABLE``.

    Raises:
        ModelError: the model does not load, memory does not suffice, or a change makes numbers that are not finite.
    """
    claim_gpus(extraction.device)
    described, targets = read_model(model), targets_of(pairs)
    splits = SplitLayers(train, test, activations, cache)
    directions = {source: _Directions.of(splits, source, draws, seed) for source in targets}
    files = PinnedFiles.of(described)
    files.check()
    reader = _reader(described, extraction)
    names = dict.fromkeys(itertools.chain.from_iterable(targets.values()))
    shown = {name: _Shown.of(splits, name, texts // 2, seed, reader) for name in names}
    changes = [_Change(ERASED), *(_Change(ADDED, strength) for strength in sorted(set(strengths)))]
    cells = [(source, target) for source, of_source in targets.items() for target in of_source]
    passes = len(changes) * (1 + draws)
    total = sum(one.texts for one in shown.values()) + sum(passes * shown[target].texts for _, target in cells)
    with tqdm(total=total, desc=described["name"], unit="text", mininterval=2, dynamic_ncols=True) as progress:
        untouched = {name: one.leads(described["name"], progress) for name, one in shown.items()}
        rows = [
            _Row(described["name"], source, target, directions[source].layer, change, shown[target], untouched[target])
            for source, target in cells
            for change in changes
        ]
        effects = [row.effect(directions[row.source], reader.decoder, progress) for row in rows]
    files.check()
    judged = zip(rows, effects, adjusted(effects), strict=True)
    found = TABLE.frame(row.values(effect, draws) | {"p_adjusted": p} for row, effect, p in judged)
    TABLE.write(found, output)


@dataclass(frozen=True)
class _Directions:
    """The direction of a source, and random ones of its length.

    Attributes:
        layer: of the residual stream, in which differences of means are most accurate.
        vectors: the source's difference of means, then the random ones, float64 (1 + draws, hidden).
    """

    layer: int
    vectors: np.ndarray

    @classmethod
    def of(cls, splits: SplitLayers, source: str, draws: int, seed: int) -> _Directions:
        probe = LatStim1(seed=seed)
        layer = most_accurate_layer({source: probe}, splits, source)
        texts = splits.texts(probe, source, "train", layer)
        own = direct(probe)(texts[:, 0], texts[:, 1])
        random = drawn(texts, splits.sources[source].cluster, draws, text_seed(seed, "causal", source))
        lengths = np.linalg.norm(random, axis=1, keepdims=True)
        random = np.divide(random, lengths, out=np.zeros_like(random), where=lengths > 0) * np.linalg.norm(own)
        log.info("%s: its direction is that of layer %d", source, layer)
        return cls(layer, np.concatenate([own[None], random]))


@dataclass(frozen=True)
class _Change:
    """What is done with a direction; ``strength`` is how many times its length is added."""

    kind: str
    strength: float | None = None

    def made(self, decoder: Decoder, vector: np.ndarray, layer: int) -> AbstractContextManager[None]:
        """The change, for as long as a block of code runs."""
        return erased(decoder, vector) if self.strength is None else added(decoder, self.strength * vector, layer)

    def __str__(self) -> str:
        return self.kind if self.strength is None else f"{self.kind} {self.strength:g} times"


@dataclass(frozen=True)
class _Shown:
    """The pairs of a target that are passed.

    Attributes:
        name: of the target.
        cluster: number of each pair's cluster, int64 (n,).
        passes: as ``LeadReader.prepared`` gives it.
    """

    name: str
    cluster: np.ndarray
    passes: Callable[[], Iterator[tuple[list[int], np.ndarray]]]

    @classmethod
    def of(cls, splits: SplitLayers, name: str, most: int, seed: int, reader: LeadReader) -> _Shown:
        split = splits.targets[name]
        chosen = drawn_pairs(split, most, seed)
        tokens = read_tokens(splits.extracted.tokens(name, "test", SCORED_VIEW))
        row = {key: n for n, key in enumerate(zip(tokens.example.tolist(), tokens.response.tolist(), strict=True))}
        groups = []
        for pair in (split.pairs[index] for index in chosen):
            both = [row[pair.example, response] for response in (pair.best, pair.worse)]
            groups.append(
                TextGroup(tuple(map(tokens.text, both)), tuple(int(tokens.prompt_tokens[text]) for text in both))
            )
        return cls(name, split.cluster[chosen], reader.prepared(groups))

    @property
    def texts(self) -> int:
        """How many are passed."""
        return 2 * len(self.cluster)

    def leads(self, what: str, progress: tqdm) -> np.ndarray:
        """Log-probability of each pair's best response less that of the worse one, in nats, float64 (n,)."""
        found = np.zeros(len(self.cluster))
        for members, leads in self.passes():
            found[members] = leads
            progress.update(2 * len(members))
        if not np.isfinite(found).all():
            raise ModelError(
                f"{what}: log-probabilities of {self.name} are not finite; lower causal.strengths, or set "
                "extraction.dtype: float32"
            )
        return found


@dataclass(frozen=True)
class _Row:
    """What a row of the table is about; ``untouched`` has the leads without the change, float64 (n,)."""

    model: str
    source: str
    target: str
    layer: int
    change: _Change
    shown: _Shown
    untouched: np.ndarray

    def effect(self, directions: _Directions, decoder: Decoder, progress: tqdm) -> Effect:
        """What the change does, with the source's direction and with the random ones."""
        found = []
        for vector in directions.vectors:
            with self.change.made(decoder, vector, self.layer):
                leads = self.shown.leads(f"{self.model}, {self.source} {self.change}", progress)
            found.append(leads - self.untouched)
        return Effect(found[0], self.shown.cluster, np.array([one.mean() for one in found[1:]]))

    def values(self, effect: Effect, draws: int) -> dict[str, Any]:
        """Columns of the row, without those that rest on the others."""
        low, high = effect.interval()
        return {
            "model": self.model, "source": self.source, "target": self.target, "layer": self.layer,
            "change": self.change.kind, "strength": self.change.strength, "texts": self.shown.texts,
            "lead": float(self.untouched.mean()), "effect": effect.mean, "low": low, "high": high,
            "random_effect": float(effect.random.mean()), "random_low": float(effect.random.min()),
            "random_high": float(effect.random.max()), "draws": draws, "p": effect.p,
        }  # fmt: skip


def drawn_pairs(split: SplitPairs, most: int, seed: int) -> np.ndarray:
    """Pairs that are drawn from a split, one of each of at most so many examples: int64 (n,), ascending.

    Their texts alone decide which; the order of records plays no part.
    """
    texts = (split.framed.examples[pair.example] for pair in split.pairs)
    ranks = [
        text_seed(seed, "causal", example.prompt, example.responses[pair.best], example.responses[pair.worse])
        for example, pair in zip(texts, split.pairs, strict=True)
    ]
    first: dict[int, int] = {}
    for index in np.argsort(np.array(ranks, np.uint64), kind="stable").tolist():
        first.setdefault(split.pairs[index].example, index)
    return np.sort(np.array([*first.values()][:most], np.int64))


def _reader(described: Mapping[str, Any], extraction: Extraction) -> LeadReader:
    """The model, loaded as ``extract`` loads it, but with all layers and heads, as erasing asks for."""
    chosen = settled(extraction, described)
    announce(extraction.dtype, resolve_device(extraction.device))
    decoder = Decoder.load(
        Path(described["path"]), chosen.arithmetic, extraction.device, chosen.attention,
        quantization=extraction.quantization,
    )  # fmt: skip
    budget = free_budget(decoder) if extraction.batch_tokens == "auto" else extraction.batch_tokens
    return LeadReader(decoder, described["eos_token"], budget)
