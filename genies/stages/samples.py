"""The stage ``samples``: some pairs of all that is tested on, with every intervention's verdict, for people to read.

Texts are shown as the models saw them: under the run's framing, in a model's chat template, shortened to its context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genies.data.options import Reading
from genies.data.pairs import text_seed
from genies.data.reading import SplitPairs, read_test
from genies.evaluation.evaluations import read_evaluation
from genies.evaluation.metrics import NULL
from genies.files import write_json
from genies.stages.shown import ShownPrompt, ShownTexts
from genies.stages.targets import targets_of

DISPUTED, DRAWN = 12, 8
"""Pairs of each target: those on which interventions disagree most, and others drawn at random."""
LONGEST = 3_000
"""Characters of a text that are kept."""
LONGEST_END = 1_000
"""How many of them are those at its end, where a prompt asks its question."""

Column = tuple[str, str, str]
"""(model, intervention, source)."""
Place = tuple[int, int]
"""(example, pair), as in evaluations."""


def write_samples(
    *pairs: str,
    evaluations: Path,
    models: Sequence[str],
    interventions: Sequence[str],
    references: Sequence[str] = (),
    on_references: Sequence[str] = (),
    absent: Sequence[str] = (),
    test: Sequence[Path],
    tokens: Sequence[Path] = (),
    described: Sequence[Path] = (),
    reading: Reading = Reading(),
    output: Path,
) -> None:
    """Choose pairs of every target to read, with every verdict on them.

    Args:
        *pairs: ``SOURCE:TARGET`` of what is shown; a source may be its own target.
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``.
        models: those of the run.
        interventions: those of the run, and plug-ins; ``random``, which ties everywhere, has no verdicts.
        references: references that no shift starts from.
        on_references: interventions that were fitted on them, too.
        absent: ``model/intervention`` of those that do not read a model.
        test: ``<target>/test.json`` of each target.
        tokens: ``<model>.json`` of each model, as ``genies tokenize`` wrote it; without it texts are shown as written.
        described: ``<model>.json`` of each of these, as ``genies model`` wrote it, in the same order.
        reading: how splits are read.
        output: JSON to write: by target ``columns`` ([model, intervention, source] of each verdict) and ``pairs``, each
            with ``prompt``, ``best`` and ``worse`` (texts under the framing), ``example`` and ``pair`` (as in
            evaluations), ``disputed``, ``verdicts`` (the probability of the best response by column; null where there
            is none) and ``seen``, how models saw the prompt, where any saw it in another way than as it is written:
            see ``ways_seen``.

    Raises:
        StoreError: an evaluation or a manifest is missing or damaged.
        ModelError: a chat template cannot be used.
    """
    shown = targets_of(pairs)
    methods = [name for name in interventions if name != NULL]
    fits = {name: set(shown) if name in on_references else set(shown) - set(references) for name in methods}
    frames: dict[Column, pl.DataFrame] = {
        (model, intervention, source): read_evaluation(evaluations / model / intervention / f"{source}.parquet")
        for model in models
        for intervention, names in fits.items()
        if f"{model}/{intervention}" not in absent
        for source in sorted(names)
    }
    shown_to = {file.stem: ShownTexts(file, model) for file, model in zip(tokens, described, strict=True)}
    targets = {}
    for file in test:
        name = file.parent.name
        judged = {
            column: {(e, p): v for e, p, v in rows.select("example", "pair", "probability").iter_rows()}
            for column, frame in frames.items()
            if name in shown[column[2]] and len(rows := frame.filter(target=name))
        }
        if judged:
            targets[name] = _target(read_test(file, reading, ()), judged, reading.seed, shown_to)
    write_json(output, targets)


def _target(
    split: SplitPairs,
    judged: Mapping[Column, Mapping[Place, float | None]],
    seed: int,
    shown_to: Mapping[str, ShownTexts],
) -> dict[str, Any]:
    places = [split.framed.place(pair) for pair in split.pairs]
    verdicts = np.array([[of.get(place) for of in judged.values()] for place in places], np.float64)
    disputed, drawn = choose(verdicts, text_seed(seed, split.name))
    rows = []
    for number in (*disputed, *drawn):
        pair = split.pairs[number]
        example = split.framed.examples[pair.example]
        texts = {"prompt": example.prompt, "best": example.responses[pair.best], "worse": example.responses[pair.worse]}
        shown = {
            model: own.shown_prompt(f"{split.name}/test", pair.example, example) for model, own in shown_to.items()
        }
        rows.append(
            {
                **{name: shortened(text) for name, text in texts.items()},
                **({"seen": seen} if (seen := ways_seen(example.prompt, shown)) else {}),
                "example": places[number][0],
                "pair": places[number][1],
                "disputed": number in disputed,
                "verdicts": [None if np.isnan(value) else round(float(value), 3) for value in verdicts[number]],
            }
        )
    return {"columns": [list(column) for column in judged], "pairs": rows}


def ways_seen(prompt: str, shown: Mapping[str, ShownPrompt]) -> list[dict[str, Any]]:
    """The ways in which models saw a prompt.

    Args:
        prompt: as it is written.
        shown: how each model saw it.

    Returns:
        For each way ``models``, ``before`` and ``after`` (what the chat template puts around the prompt), ``dropped``
        (characters of the prompt's front that did not fit into the context) and, where the rest is not the prompt as
        it is written, ``prompt``. Nothing where all models saw it as it is written.
    """
    ways: dict[ShownPrompt, list[str]] = {}
    for model, way in shown.items():
        ways.setdefault(way, []).append(model)
    if all(way == ShownPrompt(prompt, 0) for way in ways):
        return []
    return [{"models": models, **_parts(prompt, way)} for way, models in ways.items()]


def _parts(prompt: str, way: ShownPrompt) -> dict[str, Any]:
    """One way, with what the template adds apart from the prompt: it is the same for all, and short."""
    rest = prompt[way.dropped :]
    # Some templates strip the prompt.
    inner = next((text for text in (rest, rest.strip()) if text and text in way.text), None)
    if inner is None:
        return {"before": "", "after": "", "dropped": way.dropped, "prompt": shortened(way.text)}
    before, _, after = way.text.partition(inner)
    own = {} if inner == prompt else {"prompt": shortened(inner)}
    return {"before": before, "after": after, "dropped": way.dropped, **own}


def choose(verdicts: np.ndarray, seed: int) -> tuple[list[int], list[int]]:
    """Rows to show: those on which verdicts disagree most, the most first, and others drawn at random.

    A tie is on neither side, so that ``random`` disputes nothing.

    Args:
        verdicts: probability of the best response by pair and column, float (n, columns); NaN where there is none.
        seed: of the draw.
    """
    known = ~np.isnan(verdicts).all(1)
    split = np.minimum((verdicts > 0.5).sum(1), (verdicts < 0.5).sum(1))  # how many are in the minority
    order = sorted(range(len(verdicts)), key=lambda row: (-split[row], row))
    disputed = [row for row in order[:DISPUTED] if split[row] > 0]
    others = [row for row in range(len(verdicts)) if row not in disputed and known[row]]
    drawn = np.random.default_rng(seed).permutation(others)[:DRAWN].tolist()
    return disputed, sorted(drawn)


def shortened(text: str) -> str:
    """The text; of more than ``LONGEST`` characters its beginning and end, and between them how many are left out."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - LONGEST_END]}\n[… {len(text) - LONGEST} characters more …]\n{text[-LONGEST_END:]}"
