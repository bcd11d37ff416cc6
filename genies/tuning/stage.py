"""The stage ``tune``: an intervention that reads texts with a model, fitted on one source and tested on its targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genies.data.distributions import Example
from genies.data.framing import Framing, read_framed
from genies.data.pairs import training_pairs
from genies.data.prompts import Presentation
from genies.digests import code_digest, value_digest
from genies.errors import DataError
from genies.evaluation.evaluate import judge, read_target
from genies.files import read_json, whole_file
from genies.interventions.fit import fits_folder
from genies.interventions.registry import is_saved, load, make, module_of, name_of, save
from genies.models import load_tokenizer
from genies.tuning.base import TextIntervention, TextPairs

log = logging.getLogger(__name__)


def tune_source(
    intervention: str,
    parameters: dict[str, Any],
    model: Path,
    tokens: Path,
    train: Path,
    tests: Sequence[Path],
    seed: int,
    framing: Framing,
    device: str,
    cache: Path,
    output: Path,
) -> None:
    """Fit on the source unless the cache has that fit, then test on every target; the model is loaded once.

    Args:
        intervention: name, or path of a Python file.
        parameters: keyword arguments of its class.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``; it says which examples the model's context cannot hold.
        train: ``<source>/train.json``.
        tests: ``<target>/test.json`` of each target.
        seed: draws the training pairs and the order of test pairs.
        framing: of the distributions.
        device: torch device, or "auto".
        cache: the cache folder; the fit and its checkpoints lie there by digest.
        output: parquet file to write.
    """
    import polars as pl

    described, shown = read_json(model), ShownTexts(read_json(tokens), read_json(model))
    pairs = _training_texts(train, shown, seed, framing)
    digest = tuning_digest(intervention, parameters, described, pairs)
    folder = fits_folder(cache, digest)
    fitted = _fitted(intervention, parameters, described, pairs, device, folder, train)
    frames = []
    for test in tests:
        place = f"{test.parent.name}/test"
        target = read_target(test, shown.left_out(place), seed, framing)
        examples = shown.examples(place, target.framed.examples)
        texts = TextPairs.of(examples, target.pairs, target.best_first, fitted.reads_test_labels)
        frames.append(judge(fitted, texts, target))
    with whole_file(output) as partial:
        pl.concat(frames).write_parquet(partial)


def tuning_digest(intervention: str, parameters: dict[str, Any], model: dict[str, Any], pairs: TextPairs) -> str:
    """What decides a fit: the class and its code, its parameters, the model and the texts of the training pairs."""
    return value_digest(
        {
            "intervention": name_of(intervention),
            "parameters": parameters,
            "code": code_digest(module_of(intervention)),
            "weights": model["weights_digest"],
            "tokenizer": model["tokenizer_digest"],
            "pairs": [pairs.prompt, pairs.first, pairs.second],
        }
    )


class ShownTexts:
    """How examples are shown to the model: the same as in the token manifest, so the same for all interventions."""

    def __init__(self, tokens: dict[str, Any], model: dict[str, Any]) -> None:
        self._tokens = tokens
        chat = tokens["prompt_format"] == "chat"
        self._tokenizer = load_tokenizer(Path(model["path"])) if chat else None

    def left_out(self, place: str) -> frozenset[int]:
        return frozenset(self._tokens["left_out"][place])

    def examples(self, place: str, examples: Sequence[Example]) -> list[Example]:
        shortened = {int(example): dropped for example, dropped in self._tokens["shortened"][place].items()}
        return Presentation(self._tokens["prompt_format"], shortened).apply(self._tokenizer, examples)


def _training_texts(train: Path, shown: ShownTexts, seed: int, framing: Framing) -> TextPairs:
    place = f"{train.parent.name}/train"
    examples = read_framed(train, framing).examples
    pairs = [pair for pair in training_pairs(examples, seed) if pair.example not in shown.left_out(place)]
    return TextPairs.of(shown.examples(place, examples), pairs, np.ones(len(pairs), bool))


def _fitted(
    intervention: str,
    parameters: dict[str, Any],
    model: dict[str, Any],
    pairs: TextPairs,
    device: str,
    folder: Path,
    train: Path,
) -> TextIntervention:
    source = train.parent.name
    if is_saved(folder):
        log.info("%s on %s: in the cache", name_of(intervention), source)
        return load(folder, intervention).bind(model, device, folder)
    fresh: TextIntervention = make(intervention, parameters).bind(model, device, folder)
    try:
        fresh.fit(pairs)
    except DataError as error:
        raise DataError(f"{train}: {name_of(intervention)} cannot be fitted: {error}") from None
    save(fresh, folder)
    fresh.remove_checkpoint()
    log.info("%s on %s: fitted", name_of(intervention), source)
    return fresh
