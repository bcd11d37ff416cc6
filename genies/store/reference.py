"""The stores of a reference model, whose log-probabilities are compared with those of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from genies.engine.tokens import SCORED_VIEW
from genies.errors import StoreError
from genies.store.assembled import AssembledStore
from genies.store.manifest import Activations


class ReferenceStores:
    """The stores of a policy's reference model, each compared with the policy's before it is used."""

    def __init__(self, manifests: Sequence[Path], cache: Path) -> None:
        """Read the manifests of ``genies extract`` for the reference; arguments and errors as of ``Activations``."""
        self._extracted = Activations(manifests, cache)

    def store(self, distribution: str, split: str, policy: AssembledStore, examples: Iterable[int]) -> AssembledStore:
        """The reference's store of a split, which holds log-probabilities of the same tokens as the policy's.

        Args:
            distribution: whose split.
            split: which one.
            policy: the policy's store of it, under the view of log-probabilities.
            examples: those that are compared.

        Raises:
            StoreError: the run has not extracted it, or one of the two models reads other tokens than the other.
        """
        found = self._extracted.stores(distribution, split, [SCORED_VIEW])[SCORED_VIEW]
        check_same_tokens(policy, found, examples)
        return found


def check_same_tokens(policy: AssembledStore, reference: AssembledStore, examples: Iterable[int]) -> None:
    """Compare what two models' log-probabilities of one split are summed over.

    Args:
        policy: the store of one model, under the view of log-probabilities.
        reference: of the other model, likewise.
        examples: those of ``policy`` that have to be the same in both.

    Raises:
        StoreError: the reference lacks an example, reads a text of it as other tokens, sums over others of them, or
            ends a response by another token.
    """
    ours, theirs = policy.parts[0].description, reference.parts[0].description
    names = f"{ours['model']} and its reference {theirs['model']}"
    remedy = "name a reference with the same tokenizer and chat template"
    ends = ours["digest"]["eos_token"], theirs["digest"]["eos_token"]
    if ends[0] != ends[1]:
        raise StoreError(
            f"{names} end responses by the tokens {ends[0]} and {ends[1]}, so that their log-probabilities are of "
            f"different texts; {remedy}"
        )
    for example in sorted(set(examples)):
        where = f"{ours['distribution']} {ours['split']}: example {example}"
        if example not in reference.keys:
            raise StoreError(
                f"{where}: the context of {theirs['model']}, a reference, does not hold it; name a reference with as "
                "long a context, or shorten the example"
            )
        if policy.keys[example] != reference.keys[example]:
            raise StoreError(f"{where}: {names} read it as different tokens; {remedy}")
