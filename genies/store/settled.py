"""What is settled before an extraction: the arithmetic of its device, and so the names and shapes of its stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genies.digests import computed_by, value_digest
from genies.engine.arithmetic import arithmetic, resolve_device
from genies.engine.options import Extraction
from genies.options import deciding
from genies.store.held import Held
from genies.store.parts import Lack, Parts, choose, keys_to_json, shape_of
from genies.store.requests import Request


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
    """Name of a view's features, by which fits know what they read, and the fields that it is the digest of.

    How the work is cut is no part of it, nor in which parts the features lie.

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


def part_fields(
    model: Mapping[str, Any], view: str, chosen: Settled, examples: np.ndarray, keys: np.ndarray, held: Held
) -> dict[str, Any]:
    """The fields that a part's name is made of: those of its series, its texts, and its features.

    Args:
        model: the model's manifest.
        view: of the texts.
        chosen: the settings.
        examples: of the part, ascending, int64 (n,).
        keys: of their tokens, uint64 (n,).
        held: its features.
    """
    return {**part_texts(model, view, chosen, examples, keys), "features": held.to_json()}


def part_texts(
    model: Mapping[str, Any], view: str, chosen: Settled, examples: np.ndarray, keys: np.ndarray
) -> dict[str, Any]:
    """The same without the features."""
    texts = value_digest([examples.tolist(), keys_to_json(keys)])
    return {**series_fields(model, view, chosen), "texts": texts}


def series_fields(model: Mapping[str, Any], view: str, chosen: Settled) -> dict[str, Any]:
    """What decides the values of a view's features beside the texts. Which of them are stored is no part of it."""
    deciding = {name: value for name, value in chosen.deciding().items() if name not in ("layers", "heads")}
    return {
        "weights": model["weights_digest"],
        "eos_token": model["eos_token"],
        "view": view,
        **deciding,
        **computed_by("genies.store.extraction"),
    }


@dataclass(frozen=True)
class Found:
    """What there is of a request: names of parts by view, and what is in none of them."""

    parts: Mapping[str, Sequence[str]]
    lacks: Sequence[Lack]


def look_up(model: Mapping[str, Any], parts: Parts, chosen: Settled, request: Request) -> Found:
    """The parts that serve a request. Views that lack the same examples lack them together."""
    names: dict[str, list[str]] = {}
    lacks: dict[bytes, tuple[np.ndarray, dict[str, Held | None]]] = {}
    for view in request.tokens_digests:
        examples, keys = request.keys(view)
        candidates = parts.of(series_fields(model, view, chosen))
        lacking: Sequence[tuple[np.ndarray, Held | None]] = [(examples, None)]
        names[view] = []
        if candidates:
            shape = shape_of(
                model["name"], candidates[0].sizes, chosen.options.layer_numbers, chosen.options.head_numbers
            )
            wanted = Held.of(request.reads_of(view), shape, view)
            serving, lacking = choose(parts, candidates, examples, keys, wanted)
            names[view] = [part.name for part in serving]
        for some, held in lacking:
            # A view may lack different features of the same examples only in parts of their own.
            _, views = lacks.setdefault(some.tobytes(), (some, {}))
            views[view] = held
    return Found(names, [Lack(examples, views) for examples, views in lacks.values()])


def complete_beside(
    model: Mapping[str, Any], parts: Parts, chosen: Settled, request: Request, examples: np.ndarray
) -> list[str]:
    """Names of complete parts of just these examples, ascending, int64 (n,), under any view of a request."""
    return [
        part.name
        for view in request.tokens_digests
        for part in parts.of(series_fields(model, view, chosen))
        if np.array_equal(part.examples, examples) and part.serves(*request.keys(view)) is not None
    ]
