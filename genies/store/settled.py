"""What is settled before an extraction: the arithmetic of its device, and so the names and shapes of its stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genies.digests import computed_by, value_digest
from genies.engine.arithmetic import arithmetic, resolve_device
from genies.engine.options import Extraction
from genies.engine.parts import Shape
from genies.engine.tokens import SCORED_VIEW
from genies.options import deciding
from genies.store.activations import is_complete
from genies.store.requests import Request
from genies.store.shards import SCALARS


@dataclass(frozen=True)
class Settled:
    """The options of an extraction, and what a model and a device make of them.

    Attributes:
        options: as configured.
        attention: attention implementation of transformers: "sdpa" or "eager".
        arithmetic: "float32" or "bfloat16", of the weights and of what is computed.
        device: kind of device, "cpu" or "cuda", since each rounds in its own way.
    """

    options: Extraction
    attention: str
    arithmetic: str
    device: str

    def deciding(self) -> dict[str, Any]:
        """What decides a store's bytes beside the model and the tokens, as JSON values by name."""
        layers, heads = self.options.layer_numbers, self.options.head_numbers
        return {
            **deciding(self.options),
            "attention": self.attention,
            "arithmetic": self.arithmetic,
            "device": self.device,
            "layers": "all" if layers is None else list(layers),
            "heads": "all" if heads is None else list(heads),
        }


def settled(options: Extraction, model: Mapping[str, Any], computed: str | None = None) -> Settled:
    """Settle the attention that ``auto`` means for a model, the device, and its arithmetic.

    Args:
        options: of the extraction.
        model: the model's manifest.
        computed: the arithmetic that is asked for; None for the options' dtype. bfloat16 is taken only where the device
            multiplies it natively.
    """
    attention = model["attention"] if options.attention == "auto" else options.attention
    place = resolve_device(options.device)
    return Settled(options, attention, arithmetic(computed or options.dtype, place), place.type)


def store_digest(model: Mapping[str, Any], tokens_digest: str, chosen: Settled) -> tuple[str, dict[str, Any]]:
    """A store's name, and the fields that it is the digest of. How the work is cut is no part of it.

    Of the model's manifest the weights and the end-of-sequence token, whose log-probability is stored, are fields.
    """
    fields = {
        "weights": model["weights_digest"],
        "eos_token": model["eos_token"],
        "tokens": tokens_digest,
        **chosen.deciding(),
        **computed_by("genies.store.extraction"),
    }
    return value_digest(fields), fields


def missing_views(model: Mapping[str, Any], root: Path, chosen: Settled, request: Request) -> list[str]:
    """Views of a request whose stores are not complete."""
    return [
        view
        for view, digest in request.tokens_digests.items()
        if not is_complete(root, store_digest(model, digest, chosen)[0])
    ]


def stored_shapes(shape: Shape, view: str) -> dict[str, tuple[int, ...]]:
    """What a store holds of each text under a view: shape by name, ``()`` for single numbers."""
    return {**shape.sizes, **(dict.fromkeys(SCALARS, ()) if view == SCORED_VIEW else {})}
