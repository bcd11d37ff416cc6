"""The stores of a reference model, whose log-probabilities are compared with those of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genies.engine.tokens import SCORED_VIEW, Tokens
from genies.errors import StoreError
from genies.store.activations import ActivationStore
from genies.store.manifest import Activations
from genies.store.tokens import read_tokens, tokens_path


class ReferenceStores:
    """The stores of a policy's reference model, each compared with the policy's before it is used."""

    def __init__(self, manifests: Sequence[Path], cache: Path) -> None:
        """Read the manifests of ``genies extract`` for the reference; arguments and errors as of ``Activations``."""
        self._extracted = Activations(manifests, cache)
        self._cache = Path(cache)

    def store(self, distribution: str, split: str, policy: ActivationStore) -> ActivationStore:
        """The reference's store of a split, which holds log-probabilities of the same tokens as the policy's.

        Raises:
            StoreError: the run has not extracted it, or one of the two models reads other tokens than the other.
        """
        found = self._extracted.stores(distribution, split, [SCORED_VIEW])[SCORED_VIEW]
        check_same_tokens(policy, found, self._cache)
        return found


def check_same_tokens(policy: ActivationStore, reference: ActivationStore, cache: Path) -> None:
    """Compare what two models' log-probabilities of one split are summed over.

    Args:
        policy: the store whose texts have to be in the other one.
        reference: of the other model, under the same view.
        cache: the folder with the tokens of both.

    Raises:
        StoreError: the reference lacks a text, reads it as other tokens, sums over others of them, or ends a response
            by another token.
    """
    ours, theirs = policy.description["digest"], reference.description["digest"]
    names = f"{policy.description['model']} and its reference {reference.description['model']}"
    remedy = "name a reference with the same tokenizer and chat template"
    if ours["eos_token"] != theirs["eos_token"]:
        raise StoreError(
            f"{names} end responses by the tokens {ours['eos_token']} and {theirs['eos_token']}, so that their "
            f"log-probabilities are of different texts; {remedy}"
        )
    if ours["tokens"] == theirs["tokens"]:
        return
    one, other = (read_tokens(tokens_path(cache, fields["tokens"])) for fields in (ours, theirs))
    if (text := _first_different(one, other)) is None:
        return
    where = f"{policy.description['distribution']} {policy.description['split']}: example {text[0]}, response {text[1]}"
    if text not in _rows(other):
        raise StoreError(f"{where}: the context of {reference.description['model']}, a reference, does not hold it; "
                         "name a reference with as long a context, or shorten the example")  # fmt: skip
    raise StoreError(f"{where}: {names} read it as different tokens; {remedy}")


def _first_different(one: Tokens, other: Tokens) -> tuple[int, int] | None:
    """Example and response of the first text of ``one`` that ``other`` lacks or has with other tokens."""
    rows = _rows(other)
    for text, row in _rows(one).items():
        place = rows.get(text)
        same = place is not None and one.prompt_tokens[row] == other.prompt_tokens[place]
        if place is None or not same or not np.array_equal(one.text(row), other.text(place)):
            return text
    return None


def _rows(tokens: Tokens) -> dict[tuple[int, int], int]:
    keys = zip(tokens.example.tolist(), tokens.response.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}
