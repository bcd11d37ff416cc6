"""Extraction: the missing parts of a split's stores, all their views in one packed forward pass per example."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from genies.digests import value_digest
from genies.engine.arithmetic import announce, resolve_device
from genies.engine.batches import free_budget, planned
from genies.engine.decoder import Decoder, Features
from genies.engine.forest import Batch, Forest, build_forest, halves, pack
from genies.engine.options import Extraction
from genies.engine.self_test import Check, SelfTests, too_large
from genies.engine.tokens import Tokens
from genies.errors import Interrupted, StoreError
from genies.locks import locked
from genies.making import made_with
from genies.models.files import PinnedFiles
from genies.spent import STORE, Meter, noted
from genies.stopping import asked_to_stop
from genies.store.activations import describe_store, is_complete, reopen
from genies.store.begun import begun_together
from genies.store.blocks import ITEM_BYTES, block_texts
from genies.store.held import Held
from genies.store.parts import Lack, Parts, keys_to_json, part_name
from genies.store.requests import Request
from genies.store.settled import Found, complete_beside, look_up, part_fields, series_fields, settled
from genies.store.statistics import Statistics, describe
from genies.store.writer import ADOPTED, BlockThreads, StoreWriter
from genies.store.writing import Columns, block_threads, drop_damaged, one_by_one, order_of, write

CUT = ("batch_tokens", "packed", "computed_with")
"""Fields of a description that say how texts were put into batches: tokens of a batch, whether packed, views of a tree.
A new field of this kind is written only where it is not the default, since older stores lack it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _New:
    """A part that is to be computed: its name, the fields of it, its examples (ascending) and its features."""

    name: str
    fields: dict[str, Any]
    examples: np.ndarray
    held: Held


class Extractor:
    """Computes the missing parts of one model's stores; the model is loaded when the first one is met."""

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
        self._self_tests = SelfTests()
        self._known = Parts(root)

    def extract(self, request: Request) -> dict[str, list[str]]:
        """Add the parts that the request lacks. Returns the names of each view's parts."""
        split = f"{self.model['name']}: {request.distribution} {request.split}"
        found = self.look_up(request)
        if found.lacks:
            # Who extracts the same split waits, even for other texts of it, so that none is computed twice.
            places = [value_digest([series_fields(self.model, v, self.settled), *_place(request)]) for v in found.parts]
            with locked(self.root, places, split):
                computed = [self._add(request, lack, split) for lack in self.look_up(request).lacks]
                found = self.look_up(request)
            if found.lacks:
                raise StoreError(f"{self.root}: a part of {split} was taken away meanwhile; run again")
            if any(computed):
                return {view: list(names) for view, names in found.parts.items()}
        self._remember(found)
        log.info("%s: complete in the store", split)
        return {view: list(names) for view, names in found.parts.items()}

    @property
    def parts(self) -> Parts:
        """The parts that are complete."""
        if self._known.root != self.root:
            self._known = Parts(self.root)
        return self._known

    def look_up(self, request: Request) -> Found:
        """What there is of a request."""
        return look_up(self.model, self.parts, self.settled, request)

    def named(self, request: Request, view: str, examples: np.ndarray, held: Held) -> tuple[str, dict[str, Any]]:
        """A part's name, and the fields that it is made of."""
        known, keys = request.keys(view)
        keys = keys[np.searchsorted(known, examples)]
        fields = part_fields(self.model, view, self.settled, examples, keys, held)
        return part_name(fields), fields

    def _add(self, request: Request, lack: Lack, split: str) -> bool:
        """Compute what is lacking of some examples, in a part for each view; False if others did so meanwhile."""
        wanted = {
            view: held or Held.of(request.reads_of(view), self.decoder().shape, view)
            for view, held in lack.views.items()
        }
        added = {
            view: _New(*self.named(request, view, lack.examples, held), lack.examples, held)
            for view, held in wanted.items()
        }
        with locked(self.root, sorted({new.name for new in added.values()}), split):
            # The same texts may be another distribution's, too, whose job has completed their part.
            names = {view: new.name for view, new in added.items() if not is_complete(self.root, new.name)}
            beside = complete_beside(self.model, self.parts, self.settled, request, lack.examples)
            for name in names.values():
                reopen(self.root, name)
            for views, begun in begun_together(self.root, request, names, beside):
                self._compute(request, {view: added[view] for view in views}, begun)
        return bool(names)

    def _remember(self, found: Found) -> None:
        """Take in the self-tests of complete parts, so that a job that goes on tests the splits it would have."""
        for name in (name for names in found.parts.values() for name in names):
            if described := describe_store(self.root, name):
                self._self_tests.remember(Check(**described["check"]))

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

    def _compute(self, request: Request, added: Mapping[str, _New], begun: dict[str, Any] | None) -> None:
        """Complete some parts; those that were begun keep their plan, since other rows would round otherwise."""
        meter = Meter()
        examples = next(iter(added.values())).examples
        tokens = request.selected(begun["computed_with"] if begun else sorted(added), examples)
        decoder = self.decoder()
        forest = build_forest(tokens, self.model["eos_token"])
        check, budget = self._checked(tokens, forest, begun, whole=request.split == "test")
        if not check.packed:
            forest = build_forest(tokens, self.model["eos_token"], merge=False)
        plan = planned(forest, budget, decoder.shape.hidden, check.packed)
        description = dict(zip(CUT, (budget, check.packed, list(tokens)), strict=True))
        counted = Statistics(text_tokens=sum(len(table.ids) for table in tokens.values()))
        meter.tokens = counted.tokens
        with block_threads(decoder.device) as threads:
            orders = {view: order_of(view, tokens[view], plan, forest) for view in added}
            writers = {
                view: self._writer(request, new, orders[view], description, check, threads)
                for view, new in added.items()
            }
            columns = {view: new.held.columns(decoder.shape) for view, new in added.items()}
            with noted([writer.folder for writer in writers.values()], STORE, meter):
                self._fill(writers, columns, plan, forest, check.packed, counted, request)
                if sum(drop_damaged(writer) for writer in writers.values()):
                    self._fill(writers, columns, plan, forest, check.packed, counted, request)
        # The weights in memory may be the file's own pages.
        self._files.check()
        for writer in writers.values():
            writer.finish()
        self.statistics.add(counted)
        whole = len(request.keys(next(iter(added)))[0])
        log.info(
            "%s %s (%s): %s; %d of its %d examples",
            *_place(request), ", ".join(added), describe(counted), len(examples), whole,
        )  # fmt: skip

    def _checked(
        self, tokens: Mapping[str, Tokens], forest: Forest, begun: dict[str, Any] | None, whole: bool
    ) -> tuple[Check, int]:
        """How far packed and separate passes agree, and tokens of a batch; parts that were begun keep both."""
        if begun:
            check, budget = Check(**begun["check"]), begun["batch_tokens"]
            self._self_tests.remember(check)
        else:
            check = self._self_tests.check(self.decoder(), tokens, forest, self.model["eos_token"], whole=whole)
            budget = self._budget
        self._self_tests.announce(check, self.settled.attention)
        return check, budget

    def _fill(
        self,
        writers: Mapping[str, StoreWriter],
        columns: Mapping[str, Columns],
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
            one_by_one() as later,
        ):
            for batch in plan:
                views = np.array([view for tree in batch.trees for view, _ in forest.members[tree]])
                span = {view: slice(position[view], position[view] + int((views == view).sum())) for view in writers}
                if any(missing[view][span[view]].any() for view in writers):
                    counted.tree_tokens += sum(len(forest.trees[tree]) for tree in batch.trees)
                    features = self.read(batch, forest, packed, counted)
                    later(write, writers, columns, features, views, dict(position))
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

    def _writer(
        self,
        request: Request,
        new: _New,
        order: tuple[list[int], list[int]],
        how: Mapping[str, Any],
        check: Check,
        threads: BlockThreads | None,
    ) -> StoreWriter:
        description = self.description(request, new.fields, new.examples, order, how)
        # What another version computed stays stated as such, as long as a block of it is kept.
        adopted = (describe_store(self.root, new.name) or {}).get(ADOPTED)
        shapes, making = new.held.shapes(self.decoder().shape), made_with(new.fields)
        notes = {
            "check": asdict(check),
            "device": self.decoder().device.type,
            "tokens": request.tokens_digests[new.fields["view"]],
        }
        if adopted:
            writer = StoreWriter(self.root, new.name, {**description, ADOPTED: adopted}, shapes, notes, making, threads)
            if writer.done:
                return writer
        return StoreWriter(self.root, new.name, description, shapes, notes, making, threads)

    def description(
        self,
        request: Request,
        fields: dict[str, Any],
        examples: np.ndarray,
        order: tuple[list[int], list[int]],
        how: Mapping[str, Any],
    ) -> dict[str, Any]:
        """What a part states that binds its blocks: the fields of its name, how it is computed, and in which order.

        Args:
            request: that it is a part of.
            fields: of its name.
            examples: of the part, ascending, int64 (n,).
            order: example and response of each text, in the order of the rows.
            how: values of ``CUT``.
        """
        shape, held, view = self.decoder().shape, Held.from_json(fields["features"]), fields["view"]
        known, keys = request.keys(view)
        values = sum(math.prod(size) for size in held.shapes(shape).values() if size)
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
            "sizes": self.decoder().sizes,
            "layers": {"residual": list(held.residual), "heads": list(held.head_layers)},
            "heads": list(held.heads),
            "without_heads": self.decoder().without_heads,
            "block_texts": block_texts(values, ITEM_BYTES[self.options.dtype], len(order[0])),
            "keys": keys_to_json(keys[np.searchsorted(known, examples)]),
            "example": order[0],
            "response": order[1],
        }


def _place(request: Request) -> tuple[str, str]:
    return request.distribution, request.split
