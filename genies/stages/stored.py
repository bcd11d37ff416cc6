"""The pairs of a split as an intervention reads them: what it declares, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from genies.data.reading import SplitPairs
from genies.engine.reads import declares
from genies.interventions.base import Intervention
from genies.store.assembled import AssembledStore
from genies.store.pairs import StoredPairs


def stored_pairs(
    intervention: Intervention,
    split: SplitPairs,
    stores: Mapping[str, AssembledStore],
    labelled: bool = True,
    reference: AssembledStore | None = None,
) -> StoredPairs:
    """Bind the pairs of a split to their stores, and to their texts where the intervention declares that it reads them.

    Args:
        intervention: what is to read them.
        split: the pairs.
        stores: open stores by view.
        labelled: whether labels are given.
        reference: store of a reference model, where one is read.
    """
    reads = {view: intervention.reads(view) for view in stores}
    shown = split.framed.examples if declares(intervention.features, "texts") else ()
    return StoredPairs(split.pairs, stores, split.best_first, labelled, split.cluster, reads, shown, reference)
