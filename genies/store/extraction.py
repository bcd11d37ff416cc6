"""Extraction: the missing stores of a split, all their views in one packed forward pass per example."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from genies.digests import value_digest
from genies.engine.arithmetic import announce, resolve_device
from genies.engine.batches import free_budget, planned, stored_values
from genies.engine.decoder import Decoder, Features
from genies.engine.forest import Batch, Forest, build_forest, halves, pack
from genies.engine.options import Extraction
from genies.engine.self_test import Check, SelfTests, too_large
from genies.errors import Interrupted
from genies.locks import locked
from genies.making import made_with
from genies.models.files import PinnedFiles
from genies.spent import STORE, Meter, noted
from genies.stopping import asked_to_stop
from genies.store.activations import describe_store, has_begun, reopen
from genies.store.blocks import ITEM_BYTES, block_texts
from genies.store.requests import Request
from genies.store.settled import missing_views, settled, store_digest, stored_shapes
from genies.store.statistics import Statistics, describe
from genies.store.writer import ADOPTED, BlockThreads, StoreWriter

CUT = ("batch_tokens", "packed", "computed_with")
"""Fields of a description that say how texts were put into batches: tokens of a batch, whether packed, views of a tree.
A new field of this kind is written only where it is not the default, since older stores lack it."""
WAITING_BATCHES = 2
"""Batches whose features wait to be written while the next ones are computed."""
BLOCK_THREADS = 4
"""Blocks that are written at a time where a GPU computes."""

log = logging.getLogger(__name__)


class Extractor:
    """Computes the missing stores of one model, which is loaded when the first missing store is met."""

    def __init__(self, model: Mapping[str, Any], root: Path, options: Extraction, computed: str | None = None) -> None:
        """Prepare.

        Args:
            model: the model's manifest, as ``genies model`` writes it.
            root: folder of the stores.
            options: of the extraction.
            computed: as ``settled`` takes it.
        """
        self.model = model
        self.root = Path(root)
        self.options = options
        self.settled = settled(options, model, computed)
        self.statistics = Statistics()
        self._decoder: Decoder | None = None
        self._files = PinnedFiles.of(model)
        self._budget = None if options.batch_tokens == "auto" else options.batch_tokens
        self._packs: bool | None = None
        self._self_tests = SelfTests()

    def extract(self, request: Request) -> dict[str, str]:
        """Make the request's stores complete. Returns the name of each view's store."""
        named = {
            view: store_digest(self.model, digest, self.settled) for view, digest in request.tokens_digests.items()
        }
        digests = {view: digest for view, (digest, _) in named.items()}
        split = f"{self.model['name']}: {request.distribution} {request.split}"
        if not missing_views(self.model, self.root, self.settled, request):
            self._remember(digests)
            log.info("%s: complete in the store", split)
            return digests
        with locked(self.root, sorted(set(digests.values())), split):
            missing = missing_views(self.model, self.root, self.settled, request)
            for view in missing:
                reopen(self.root, digests[view])
            for views, begun in self._begun_together(request, {view: digests[view] for view in missing}):
                self._compute(request, {view: named[view] for view in missing if view in views}, begun)
            if not missing:  # another job has made them, for which this one waited
                self._remember(digests)
                log.info("%s: complete in the store", split)
        return digests

    def _begun_together(self, request: Request, digests: Mapping[str, str]) -> list[tuple[list[str], dict | None]]:
        """Missing views by how their stores were begun: (views, description of such a store, None for new ones).

        Views that share trees are computed together, so that a store goes on with the rows that it was begun with, even
        where the others of its trees are complete by now.
        """
        found: dict[str, tuple[list[str], dict | None]] = {}
        for view, digest in digests.items():
            begun = describe_store(self.root, digest)
            if begun is None:
                # Its description is lost, or a kill came between the making of these stores: a neighbour's tells.
                neighbours = request.tokens_digests if has_begun(self.root, digest) else digests
                told = (describe_store(self.root, self._digest(request, neighbour)) for neighbour in neighbours)
                begun = next((other for other in told if other and view in other["computed_with"]), None)
            if begun and not set(begun["computed_with"]) <= set(request.tokens_digests):
                begun = None
            found.setdefault(value_digest(begun and begun["computed_with"]), ([], begun))[0].append(view)
        return list(found.values())

    def _remember(self, digests: Mapping[str, str]) -> None:
        """Take in the self-tests of complete stores, so that a job that goes on tests the splits it would have."""
        for digest in digests.values():
            if described := describe_store(self.root, digest):
                self._self_tests.remember(Check(**described["check"]))

    def _digest(self, request: Request, view: str) -> str:
        return store_digest(self.model, request.tokens_digests[view], self.settled)[0]

    def decoder(self) -> Decoder:
        """The model, loaded when first asked for."""
        if self._decoder is None:
            options = self.options
            announce(options.dtype, resolve_device(options.device))
            self._files.check()
            self._decoder = Decoder.load(
                Path(self.model["path"]), self.settled.arithmetic, options.device, self.settled.attention,
                options.layer_numbers, options.head_numbers, options.quantization,
            )  # fmt: skip
            if self._decoder.without_heads:
                log.warning("%s; the stores hold the residual stream alone", self._decoder.without_heads)
            if self._budget is None:
                self._budget = free_budget(self._decoder)
        return self._decoder

    def _compute(self, request: Request, named: Mapping[str, tuple[str, dict]], begun: dict[str, Any] | None) -> None:
        """Complete some stores; those that were begun keep their plan, since other rows would round otherwise."""
        meter = Meter()
        tokens = {view: request.tokens[view] for view in (begun["computed_with"] if begun else sorted(named))}
        decoder = self.decoder()
        forest = build_forest(tokens, self.model["eos_token"])
        if begun:
            check, budget = Check(**begun["check"]), begun["batch_tokens"]
            self._self_tests.remember(check)
        else:
            check = self._self_tests.check(
                decoder, tokens, forest, self.model["eos_token"], whole=request.split == "test"
            )
            budget = self._budget
        self._tell(check)
        if not check.packed:
            forest = build_forest(tokens, self.model["eos_token"], merge=False)
        plan = planned(forest, budget, decoder.shape.hidden, check.packed)
        description = dict(zip(CUT, (budget, check.packed, list(tokens)), strict=True))
        counted = Statistics(text_tokens=sum(len(table.ids) for table in tokens.values()))
        meter.tokens = counted.tokens
        with block_threads(decoder.device) as threads:
            writers = {
                view: self._writer(view, request, named[view], _order(view, plan, forest), description, check, threads)
                for view in named
            }
            with noted([writer.folder for writer in writers.values()], STORE, meter):
                self._fill(writers, plan, forest, check.packed, counted, request)
                if sum(_drop_damaged(writer) for writer in writers.values()):
                    self._fill(writers, plan, forest, check.packed, counted, request)
        # The weights in memory may be the file's own pages.
        self._files.check()
        for writer in writers.values():
            writer.finish()
        self.statistics.add(counted)
        log.info("%s %s (%s): %s", request.distribution, request.split, ", ".join(named), describe(counted))

    def _fill(
        self,
        writers: Mapping[str, StoreWriter],
        plan: Sequence[Batch],
        forest: Forest,
        packed: bool,
        counted: Statistics,
        request: Request,
    ) -> None:
        """Compute the batches of which a store lacks a text; writing goes on beside the next forward pass.

        Raises:
            Interrupted: SIGTERM came; the blocks that were begun are finished and kept.
        """
        missing = {view: writer.missing() for view, writer in writers.items()}
        position = dict.fromkeys(writers, 0)
        ends: dict[str, int] | None = None  # where the blocks end that were begun when SIGTERM came
        label = f"{self.model['name']}: {request.distribution} {request.split}"
        total = sum(len(mask) for mask in missing.values())
        with (
            asked_to_stop() as asked,
            tqdm(total=total, desc=label, unit="text", mininterval=2, dynamic_ncols=True) as progress,
            _one_by_one() as later,
        ):
            for batch in plan:
                views = np.array([view for tree in batch.trees for view, _ in forest.members[tree]])
                span = {view: slice(position[view], position[view] + int((views == view).sum())) for view in writers}
                if any(missing[view][span[view]].any() for view in writers):
                    counted.tree_tokens += sum(len(forest.trees[tree]) for tree in batch.trees)
                    features = self.read(batch, forest, packed, counted)
                    later(_write, writers, features, views, dict(position))
                position = {view: span[view].stop for view in writers}
                progress.update(sum(rows.stop - rows.start for rows in span.values()))
                if asked.is_set() and ends is None:
                    ends = {view: writer.end_of_block(position[view]) for view, writer in writers.items()}
                if ends and all(position[view] >= end for view, end in ends.items()):
                    break
            for writer in writers.values():
                later(writer.settle)
        if asked.is_set():
            raise Interrupted(f"{label}: ended by SIGTERM; finished blocks are kept, the same command goes on")

    def read(self, batch: Batch, forest: Forest, packed: bool, counted: Statistics) -> Features:
        """Features of a batch; where memory does not suffice, of its halves one after the other."""
        arrays = pack(batch, forest.trees)
        try:
            features = self.decoder().read(arrays) if packed else self.decoder().read_separately(arrays)
        except torch.OutOfMemoryError:
            parts = halves(batch, [len(tree) for tree in forest.trees])
            if parts is None:
                raise too_large(self.model["name"], batch.width) from None
        else:
            counted.forward_passes += 1
            counted.computed_tokens += batch.computed_tokens
            return features
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._budget = max(batch.width, batch.computed_tokens // 2)
        log.warning("out of memory at %d tokens: going on with %d", batch.computed_tokens, self._budget)
        return Features.joined([self.read(part, forest, packed, counted) for part in parts])

    def _tell(self, check: Check) -> None:
        """Say which way is taken when it is first known, and whenever it changes."""
        if check.packed == self._packs:
            return
        self._packs = check.packed
        if check.packed:
            log.info(
                "self-test: packed and separate passes agree (relative difference %.1e)", check.relative_difference
            )
        else:
            log.warning(
                "self-test: packed and separate passes differ (%s) with %s attention; going on with one text per row, "
                "padded on the right",
                check.reason,
                self.settled.attention,
            )

    def _writer(
        self,
        view: str,
        request: Request,
        named: tuple[str, dict],
        order: Sequence[int],
        how: Mapping[str, Any],
        check: Check,
        threads: BlockThreads | None,
    ) -> StoreWriter:
        name, fields = named
        description = self.description(view, request, fields, order, how)
        # What another version computed stays stated as such, as long as a block of it is kept.
        adopted = (describe_store(self.root, name) or {}).get(ADOPTED)
        shapes = stored_shapes(self.decoder().shape, view)
        notes = {"check": asdict(check), "device": self.decoder().device.type}
        if adopted:
            stated = {**description, ADOPTED: adopted}
            writer = StoreWriter(self.root, name, stated, shapes, notes, made_with(fields), threads)
            if writer.done:
                return writer
        return StoreWriter(self.root, name, description, shapes, notes, made_with(fields), threads)

    def description(
        self, view: str, request: Request, fields: dict[str, Any], order: Sequence[int], how: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a store states that binds its blocks: the fields of its name, how it is computed, and in which order."""
        shape = self.decoder().shape
        table = request.tokens[view]
        return {
            "digest": fields,
            "model": self.model["name"],
            "distribution": request.distribution,
            "split": request.split,
            "view": view,
            "dtype": self.options.dtype,
            "arithmetic": self.settled.arithmetic,
            **how,
            "blocks": shape.blocks,
            "layers": {"residual": list(shape.layers), "heads": list(shape.head_layers)},
            "heads": list(shape.heads),
            "without_heads": self.decoder().without_heads,
            "block_texts": block_texts(shape.values, ITEM_BYTES[self.options.dtype], len(order)),
            "example": table.example[order].tolist(),
            "response": table.response[order].tolist(),
        }


def block_threads(device: torch.device) -> AbstractContextManager[BlockThreads | None]:
    """Threads that write blocks where a GPU computes; a CPU has none to spare, and is slower than a disk."""
    return nullcontext() if device.type == "cpu" else BlockThreads(min(BLOCK_THREADS, os.cpu_count() or 1))


@contextmanager
def _one_by_one() -> Iterator[Any]:
    """Calls that run beside the caller, in their order; at most ``WAITING_BATCHES`` wait, and errors come out."""
    waiting: list[Future] = []
    with ThreadPoolExecutor(max_workers=1) as pool:

        def later(call: Any, *arguments: Any) -> None:
            while len(waiting) >= WAITING_BATCHES:
                waiting.pop(0).result()
            waiting.append(pool.submit(call, *arguments))

        yield later
        for future in waiting:
            future.result()


def _write(
    writers: Mapping[str, StoreWriter], features: Features, views: np.ndarray, position: Mapping[str, int]
) -> None:
    """Hand the features of a batch to the stores; ``position`` is where each view's texts begin."""
    for view, writer in writers.items():
        rows = np.flatnonzero(views == view)
        if len(rows):
            writer.append(position[view], stored_values(features, rows, writer.shapes))


def _drop_damaged(writer: StoreWriter) -> int:
    """How many blocks of an earlier process do not read back; they are to be computed again."""
    damaged = writer.drop_damaged()
    for block, problem in damaged.items():
        log.warning("%s: block %d is computed again: %s", writer.folder, block, problem)
    return len(damaged)


def _order(view: str, plan: Sequence[Batch], forest: Forest) -> list[int]:
    """Texts of a view in the order in which the plan computes them."""
    return [i for batch in plan for tree in batch.trees for v, i in forest.members[tree] if v == view]
