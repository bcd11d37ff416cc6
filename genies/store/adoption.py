"""Adoption: a store that other code or other versions of libraries computed gets the name that it has today.

After an upgrade, a store that a run wants has a new name, though an old one with the same values may lie in the cache.
It is looked for by all that names it but code and versions. A sample of its texts is computed again, and if the values
are the same, a store with the new name is made of hard links to its blocks. The old store stays as it is. The new one
states where it is from, and still what computed it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import value_digest
from genies.engine.arithmetic import DTYPES
from genies.engine.batches import planned, stored_values
from genies.engine.bits import from_bits, to_bits
from genies.engine.forest import Batch, Forest, build_forest
from genies.engine.self_test import PACKING_TOLERANCE
from genies.engine.tokens import Tokens
from genies.errors import StoreError
from genies.files import PARTIAL, partial_folder, sync_file, sync_folder, write_sealed
from genies.locks import locked
from genies.making import MADE_WITH, made_with, recorded_making
from genies.spent import SPENT_FILE
from genies.store.activations import ActivationStore
from genies.store.blocks import write_journal
from genies.store.extraction import CUT, Extractor
from genies.store.held import Held
from genies.store.parts import examples_of
from genies.store.requests import LazyTokens, Request
from genies.store.shards import FEATURE_AXES
from genies.store.statistics import Statistics
from genies.store.versions import BY_VERSION, Old, Wanted
from genies.store.writer import ADOPTED, BESIDE

LAYOUT = ("dtype", "arithmetic", "blocks", "sizes", "layers", "heads", "without_heads", "keys")
"""Fields of descriptions that readers go by."""
NO_LINKS = {errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Errors of a file system that makes no hard link: it has none, or has too many, or the file is another user's."""


@dataclass(frozen=True)
class Compared:
    """How an old store compares with today's code.

    Attributes:
        wanted, old: the store that is wanted, and the old one.
        texts: how many were compared.
        difference: largest norm of the difference of a text's values in one layer over their norm; of a
            log-probability, over the larger of itself and 1. 0 where all bits are equal; infinite where a value is no
            number on one side only.
        lacking: what today's code states of a store and the old one does not, as today's states it.
    """

    wanted: Wanted
    old: Old
    texts: int
    difference: float
    lacking: Mapping[str, Any] = field(default_factory=dict)


def tolerance(extractor: Extractor) -> float:
    """Relative difference up to which values count as equal: a tenth of what packing may change.

    That is 1e-5 where all is float32, as much as rows of another width round, and more in bfloat16.
    """
    kinds = (extractor.settled.arithmetic, extractor.options.dtype)
    return max(PACKING_TOLERANCE[DTYPES[kind]] for kind in kinds) / 10


def compare(
    extractor: Extractor, cache: Path, wanted: Sequence[Wanted], version: str, texts: int, seed: int
) -> Iterator[Compared]:
    """Compute a sample of old stores again, and compare.

    Batches are drawn from the plan that an old store states, so that its rows are computed in the same company, until
    the sample has enough texts of each.

    Args:
        extractor: of the model.
        cache: the cache folder.
        wanted: stores of one split, each with an old one of this version.
        version: as ``Old.version``.
        texts: how many of each store to compare at least; a smaller store is compared as a whole.
        seed: of the draw.

    Raises:
        StoreError: an old store is damaged.
    """
    groups: dict[str, list[tuple[Wanted, Old, ActivationStore]]] = {}
    for one in wanted:
        if old := one.of(version):
            store = ActivationStore(extractor.root / old.name)
            if store.description.keys() >= {*CUT}:
                plan = [*(store.description[name] for name in CUT), examples_of(store.description).tolist()]
                groups.setdefault(value_digest(plan), []).append((one, old, store))
            else:  # of a version that did not state yet in whose company a text was computed
                yield Compared(one, old, 0, float("inf"))
    for group in groups.values():
        yield from _compare_group(extractor, cache, group, texts, seed)


def _compare_group(
    extractor: Extractor, cache: Path, group: Sequence[tuple[Wanted, Old, ActivationStore]], texts: int, seed: int
) -> Iterator[Compared]:
    """Old stores of one split that were computed together."""
    request, described = group[0][0].request, group[0][2].description
    # Tokens of its own, so that those of one split at a time are in memory.
    request = replace(request, tokens=LazyTokens(cache, dict(request.tokens_digests)))
    views = [view for view in described["computed_with"] if view in request.tokens_digests]
    tokens = request.selected(views, examples_of(described))
    decoder, packed = extractor.decoder(), described["packed"]
    forest = build_forest(tokens, extractor.model["eos_token"], merge=packed)
    plan = planned(forest, described["batch_tokens"], decoder.shape.hidden, packed)
    found = dict.fromkeys((one.view for one, _, _ in group), (0, 0.0))
    # A sample may lack the texts that were read with others whose lengths decided their positions.
    mixed = (
        decoder.alike_up_to is not None
        and max(int(tree.depth.max()) + 1 for tree in forest.trees) > decoder.alike_up_to
    )
    today = {one.view: _today(extractor, one, store, request, tokens[one.view]) for one, _, store in group}
    if mixed or not all(_is_alike(today[one.view], store, extractor, one) for one, _, store in group):
        found, plan = dict.fromkeys(found, (0, float("inf"))), []
    for number in np.random.default_rng([seed, int(group[0][0].name, 16)]).permutation(len(plan)):
        features = extractor.read(plan[number], forest, packed, Statistics())
        for one, old_part, store in group:
            indices, rows = _texts_of(plan[number], forest, one.view)
            if len(rows):
                table = tokens[one.view]
                places = store.rows(table.example[indices].tolist(), table.response[indices].tolist())
                count, difference = found[one.view]
                columns = old_part.part.held.columns(decoder.shape)
                differs = difference_of(stored_values(features, rows, columns), store.data.values(places), store.dtype)
                found[one.view] = count + len(rows), max(difference, differs)
        if min(count for count, _ in found.values()) >= texts:
            break
    for one, old, store in group:
        stated = today[one.view].items()
        yield Compared(one, old, *found[one.view], {name: v for name, v in stated if name not in store.description})


def _texts_of(batch: Batch, forest: Forest, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Texts of a view in a batch: their indices in the view's tokens, and their rows in the batch's features."""
    members = [member for tree in batch.trees for member in forest.members[tree]]
    rows = [row for row, (name, _) in enumerate(members) if name == view]
    return np.array([members[row][1] for row in rows], np.int64), np.array(rows, np.int64)


def _today(
    extractor: Extractor, wanted: Wanted, store: ActivationStore, request: Request, table: Tokens
) -> dict[str, Any]:
    """What today's code would state of a part that was put into batches as an old one was."""
    how = {name: store.description[name] for name in CUT}
    examples, order = np.unique(table.example).astype(np.int64), (table.example.tolist(), table.response.tolist())
    return extractor.description(request, dict(wanted.fields), examples, order, how)


def _is_alike(today: Mapping[str, Any], store: ActivationStore, extractor: Extractor, wanted: Wanted) -> bool:
    """Whether a part is laid out as today's are and holds the same texts, so that readers find what they look for."""
    old = {name: value for name, value in store.description.items() if name not in BESIDE}
    shapes = Held.from_json(wanted.fields["features"]).shapes(extractor.decoder().shape)
    held, asked = (set(zip(one["example"], one["response"], strict=True)) for one in (old, today))
    return (
        value_digest(old) == store.description["plan"]
        and old.keys() - {ADOPTED} <= today.keys() | {"shapes"}
        and all(name in old and old[name] == today[name] for name in LAYOUT)
        and store.shapes == shapes
        and held == asked
    )


def difference_of(computed: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray], dtype: str) -> float:
    """The largest difference of some texts' values, as ``Compared.difference`` has it.

    Args:
        computed: as ``stored_values`` gives them.
        stored: as ``StoreData.values`` gives them.
        dtype: of the store; computed values are rounded to it.
    """
    largest = 0.0
    for name, old in stored.items():
        features = name in FEATURE_AXES
        new = from_bits(to_bits(computed[name], dtype), dtype) if features else computed[name]
        if np.array_equal(new, old, equal_nan=features or old.dtype.kind == "f"):
            continue
        if old.dtype.kind != "f":
            return float("inf")
        a, b = (values.astype(np.float64).reshape(*old.shape[: 2 if features else 1], -1) for values in (new, old))
        with np.errstate(invalid="ignore"):
            norm = np.linalg.norm(b, axis=-1)
            relative = np.linalg.norm(a - b, axis=-1) / (norm + 1e-6 if features else np.maximum(norm, 1))
        largest = max(largest, float(relative.max()) if np.isfinite(relative).all() else float("inf"))
    return largest


def adopt(extractor: Extractor, compared: Compared, seed: int) -> bool:
    """Give an old store's blocks today's name. Returns False where another job has made the store meanwhile.

    The store is whole before it has its name, and a process that is killed before leaves nothing that counts.

    Args:
        extractor: of the model.
        compared: the two stores; the old one's values are equal.
        seed: with which the sample was drawn.

    Raises:
        StoreError: a job is writing one of the two, or the file system makes no links.
    """
    root, wanted, old = extractor.root, compared.wanted, compared.old
    busy = f"{root / wanted.name}: is being written, or {old.name} is; wait until the job has ended"
    with locked(root, [wanted.name, old.name], wanted.place, busy):
        if (root / wanted.name).exists():
            return False
        record = {
            "from": old.name,
            **{name: old.fields[name] for name in BY_VERSION},
            "checked_with": made_with(wanted.fields),
            "seed": seed,
            "texts": compared.texts,
            "largest_difference": compared.difference,
        }
        _link(root, ActivationStore(root / old.name), compared, record)
    return True


def _link(root: Path, old: ActivationStore, compared: Compared, record: Mapping[str, Any]) -> None:
    wanted = compared.wanted
    described = {name: value for name, value in old.description.items() if name not in BESIDE} | {**compared.lacking}
    described |= {"digest": dict(wanted.fields), ADOPTED: [*described.get(ADOPTED, ()), dict(record)]}
    plan, kept = value_digest(described), {name: old.description[name] for name in BESIDE if name in old.description}
    blocks = {int(block): digests for block, digests in kept["blocks_sha256"].items()}
    final, begun = root / wanted.name, root / f"{PARTIAL}{wanted.name}"
    with partial_folder(final) as folder:
        made = folder / "store"
        made.mkdir()
        _link_data(old.folder / "data.zarr", made / "data.zarr", kept["files"])
        if (spent := old.folder / SPENT_FILE).is_file():
            shutil.copyfile(spent, made / SPENT_FILE)
        write_journal(made / "journal.jsonl", plan, blocks)
        write_sealed(
            made / "store.json", {**described, **kept, "plan": plan, MADE_WITH: recorded_making(old.description)}
        )
        if begun.exists():  # what an extraction began is not needed any more
            shutil.rmtree(begun)
        made.replace(final)
    sync_folder(root)


def _link_data(old: Path, new: Path, small: Mapping[str, str]) -> None:
    """Link the blocks. Zarr's small files are copied: a repair of a store writes them in place."""
    new.mkdir()
    for file in sorted(old.rglob("*")):
        copy, name = new / file.relative_to(old), file.relative_to(old).as_posix()
        if file.is_dir():
            copy.mkdir()
        elif name in small:
            shutil.copyfile(file, copy)
            sync_file(copy)
        else:
            try:
                os.link(file, copy)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                raise StoreError(
                    f"{file}: cannot be linked ({error.strerror}), so the store cannot be adopted; ask its owner to "
                    "adopt it, or let snakemake compute it anew"
                ) from None
    for folder in sorted((new, *(path for path in new.rglob("*") if path.is_dir())), reverse=True):
        sync_folder(folder)
