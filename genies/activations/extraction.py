"""Extraction: the missing stores of a split, all their views in one packed forward pass per example."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from genies.activations.decoder import Decoder, Features
from genies.activations.forest import Batch, Tree, build_tree, pack, plan_batches
from genies.activations.store import StoreWriter, block_texts, is_complete, locked
from genies.activations.tokens import Tokens
from genies.digests import value_digest

EXTRACTION_VERSION = 1
"""To be raised when the same model and tokens would give other features."""
SCORED_VIEW = "plain"
"""The view whose responses' log-probabilities are stored."""
PACKING_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Relative difference (norms over all features of a text) up to which a packed pass counts as equal to separate ones.

A mask or position that is wrong changes features by a tenth and more; rounding by a hundredth of these bounds.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What decides a store's bytes beside the model and the tokens, and how the work is cut.

    Attributes:
        dtype: "float32" or "bfloat16", of the model's weights and of the stored features.
        attention: attention implementation of transformers: "sdpa" or "eager".
        batch_tokens: tokens of one forward pass, padding counted (a larger example is passed alone).
    """

    dtype: str = "float32"
    attention: str = "sdpa"
    batch_tokens: int = 4096


@dataclass(frozen=True)
class Request:
    """The stores of one split: its tokens under each view, and the digests of those tokens."""

    distribution: str
    split: str
    tokens: Mapping[str, Tokens]
    tokens_digests: Mapping[str, str]


@dataclass
class Statistics:
    """What an extraction did.

    Attributes:
        forward_passes: batches that passed through the model.
        computed_tokens: tokens of those batches, padding counted.
        tree_tokens: distinct tokens of their trees.
        text_tokens: tokens of the same texts, each by itself.
    """

    forward_passes: int = 0
    computed_tokens: int = 0
    tree_tokens: int = 0
    text_tokens: int = 0

    def add(self, other: Statistics) -> None:
        """Add another's counts to these."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Forest:
    """Trees, and for each tree the (view, index into the view's tokens) of its texts, in the order of ``Tree.last``."""

    trees: list[Tree]
    members: list[list[tuple[str, int]]]


def store_digest(weights_digest: str, tokens_digest: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """A store's name, and the fields that it is the digest of. How the work is cut is no part of it."""
    fields = {
        "weights": weights_digest,
        "tokens": tokens_digest,
        "dtype": settings.dtype,
        "attention": settings.attention,
        "layers": "all",
        "version": EXTRACTION_VERSION,
    }
    return value_digest(fields), fields


def build_forest(tokens: Mapping[str, Tokens], eos_token: int, merge: bool = True) -> Forest:
    """One tree per example over its texts of all views, or (without ``merge``) one tree per text."""
    groups: dict[tuple, list[tuple[str, int]]] = {}
    for view, table in tokens.items():
        for index, example in enumerate(table.example.tolist()):
            groups.setdefault((example,) if merge else (view, index), []).append((view, index))
    trees = [
        build_tree(
            [tokens[view].text(index) for view, index in group],
            [int(tokens[view].prompt_tokens[index]) if view == SCORED_VIEW else None for view, index in group],
            eos_token,
        )
        for group in groups.values()
    ]
    return Forest(trees, list(groups.values()))


class Extractor:
    """Computes the missing stores of one model, which is loaded when the first missing store is met."""

    def __init__(self, model: Mapping[str, Any], root: Path, settings: Settings, device: str = "auto") -> None:
        """Prepare.

        Args:
            model: the model's manifest, as ``genies model`` writes it.
            root: folder of the stores.
            settings: what decides the stores' bytes.
            device: torch device, or "auto".
        """
        self.model = model
        self.root = Path(root)
        self.settings = settings
        self.device = device
        self.statistics = Statistics()
        self._decoder: Decoder | None = None
        self._packed = True

    def extract(self, request: Request) -> dict[str, str]:
        """Make the request's stores complete. Returns the name of each view's store."""
        named = {
            view: store_digest(self.model["weights_digest"], digest, self.settings)
            for view, digest in request.tokens_digests.items()
        }
        digests = {view: digest for view, (digest, _) in named.items()}
        with locked(self.root, sorted(set(digests.values()))):
            missing = [view for view, digest in digests.items() if not is_complete(self.root, digest)]
            if missing:
                self._compute(request, {view: named[view] for view in missing})
            else:
                log.info("%s %s: complete in the store", request.distribution, request.split)
        return digests

    def _compute(self, request: Request, named: Mapping[str, tuple[str, dict]]) -> None:
        tokens = {view: request.tokens[view] for view in named}
        forest = build_forest(tokens, self.model["eos_token"])
        decoder = self._loaded_decoder(tokens, forest)
        if not self._packed:
            forest = build_forest(tokens, self.model["eos_token"], merge=False)
        plan = plan_batches([len(tree) for tree in forest.trees], self.settings.batch_tokens, share_rows=self._packed)
        writers = {view: self._writer(view, request, named[view], _order(view, plan, forest)) for view in named}
        missing = {view: writer.missing() for view, writer in writers.items()}
        position = dict.fromkeys(named, 0)
        counted = Statistics(text_tokens=sum(len(table.ids) for table in tokens.values()))
        with self._progress(request, sum(map(len, tokens.values()))) as progress:
            for batch in plan:
                views = np.array([view for tree in batch.trees for view, _ in forest.members[tree]])
                span = {view: slice(position[view], position[view] + int((views == view).sum())) for view in named}
                if any(missing[view][span[view]].any() for view in named):
                    features = self._read(decoder, batch, forest, counted)
                    for view, writer in writers.items():
                        rows = np.flatnonzero(views == view)
                        if len(rows):
                            writer.append(position[view], _to_numpy(features, rows, writer.shapes))
                position = {view: span[view].stop for view in named}
                progress.update(len(views))
        for writer in writers.values():
            writer.finish({"packed": self._packed, **asdict(counted)})
        self.statistics.add(counted)
        log.info("%s %s (%s): %s", request.distribution, request.split, ", ".join(named), describe(counted))

    def _loaded_decoder(self, tokens: Mapping[str, Tokens], forest: Forest) -> Decoder:
        if self._decoder is None:
            settings = self.settings
            self._decoder = Decoder.load(Path(self.model["path"]), settings.dtype, self.device, settings.attention)
            error = packing_error(self._decoder, tokens, _sample(forest), self.model["eos_token"])
            self._packed = error <= PACKING_TOLERANCE[settings.dtype]
            if self._packed:
                log.info("self-test: packed and separate passes agree (relative difference %.1e)", error)
            else:
                log.warning(
                    "self-test: packed and separate passes differ (relative difference %.1e) with %s attention; "
                    "going on with one text per row, padded on the right",
                    error,
                    settings.attention,
                )
        return self._decoder

    def _writer(self, view: str, request: Request, named: tuple[str, dict], order: Sequence[int]) -> StoreWriter:
        shape = self._decoder.shape
        shapes = {
            "heads": (shape.layers, shape.heads, shape.head_dim),
            "residual": (shape.layers + 1, shape.hidden),
        }
        if view == SCORED_VIEW:
            shapes |= {"log_probability": (), "scored_tokens": ()}
        table = request.tokens[view]
        description = {
            "digest": named[1],
            "model": self.model["name"],
            "distribution": request.distribution,
            "split": request.split,
            "view": view,
            "dtype": self.settings.dtype,
            "packed": self._packed,
            "batch_tokens": self.settings.batch_tokens,
            "computed_with": sorted(request.tokens),
            "block_texts": block_texts(shape.values, 4 if self.settings.dtype == "float32" else 2, len(order)),
            "example": table.example[order].tolist(),
            "response": table.response[order].tolist(),
        }
        return StoreWriter(self.root, named[0], description, shapes)

    def _read(self, decoder: Decoder, batch: Batch, forest: Forest, counted: Statistics) -> Features:
        counted.forward_passes += 1
        counted.computed_tokens += batch.computed_tokens
        counted.tree_tokens += sum(len(forest.trees[tree]) for tree in batch.trees)
        packed = pack(batch, forest.trees)
        return decoder.read(packed) if self._packed else decoder.read_separately(packed)

    def _progress(self, request: Request, texts: int) -> tqdm:
        label = f"{self.model['name']}: {request.distribution} {request.split}"
        return tqdm(total=texts, desc=label, unit="text", mininterval=2, dynamic_ncols=True)


def packing_error(decoder: Decoder, tokens: Mapping[str, Tokens], groups: Sequence[list], eos_token: int) -> float:
    """Largest relative difference of a packed pass over some examples from one pass per text.

    Args:
        decoder: the model.
        tokens: tokens by view.
        groups: the examples, each as its (view, index) texts.
        eos_token: id of the end-of-sequence token.
    """
    chosen = {view: sorted(i for group in groups for v, i in group if v == view) for view in tokens}
    subset = {view: _select(tokens[view], indices) for view, indices in chosen.items()}
    merged, apart = (build_forest(subset, eos_token, merge) for merge in (True, False))
    together = Batch(sum(map(len, merged.trees)), (tuple(range(len(merged.trees))),))
    got = decoder.read(pack(together, merged.trees))
    row = {member: row for row, member in enumerate(m for members in merged.members for m in members)}
    error = 0.0
    for index, tree in enumerate(apart.trees):
        want = decoder.read_separately(pack(Batch(len(tree), ((index,),)), apart.trees))
        here = row[apart.members[index][0]]
        for name in ("heads", "residual", "log_probability"):
            a, b = getattr(got, name)[here].double(), getattr(want, name)[0].double()
            error = max(error, float(torch.linalg.vector_norm(a - b) / (torch.linalg.vector_norm(b) + 1e-6)))
    return error


def describe(counted: Statistics) -> str:
    """One line for people: passes, and how near the work came to the distinct tokens."""
    trees = max(1, counted.tree_tokens)
    return (
        f"{counted.forward_passes} forward passes; tokens computed ÷ distinct tree tokens = "
        f"{counted.computed_tokens / trees:.4f}; as separate texts {counted.text_tokens / trees:.2f}"
    )


def _sample(forest: Forest) -> list[list[tuple[str, int]]]:
    """The smallest, the median and the largest example."""
    by_size = sorted(range(len(forest.trees)), key=lambda t: len(forest.trees[t]))
    return [forest.members[t] for t in sorted({by_size[0], by_size[len(by_size) // 2], by_size[-1]})]


def _select(tokens: Tokens, indices: Sequence[int]) -> Tokens:
    texts = [tokens.text(index) for index in indices]
    return Tokens(
        ids=np.concatenate([np.zeros(0, np.int32), *texts]),
        offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64),
        prompt_tokens=tokens.prompt_tokens[indices],
        # Each text keeps its example, so that texts merge into the same trees as in the whole.
        example=tokens.example[indices],
        response=tokens.response[indices],
    )


def _order(view: str, plan: Sequence[Batch], forest: Forest) -> list[int]:
    """Texts of a view in the order in which the plan computes them."""
    return [i for batch in plan for tree in batch.trees for v, i in forest.members[tree] if v == view]


def _to_numpy(features: Features, rows: np.ndarray, shapes: Mapping[str, tuple]) -> dict[str, np.ndarray]:
    index = torch.as_tensor(rows, device=features.residual.device)
    arrays = {name: getattr(features, name)[index] for name in shapes}
    return {n: (a.float() if n in ("heads", "residual") else a).cpu().numpy() for n, a in arrays.items()}
