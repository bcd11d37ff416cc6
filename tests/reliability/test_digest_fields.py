"""Each field of a digest, changed alone, is a miss; the order of keys plays no part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from verbs import TRAINED

from genies.data.distributions import Example
from genies.data.framing import Framed
from genies.data.pairs import Pair
from genies.data.reading import SplitPairs
from genies.data.records import Turn
from genies.data.texts import Text
from genies.data.views import VIEWS, View
from genies.digests import value_digest
from genies.engine.options import Extraction
from genies.interventions.text import TextPairs
from genies.stages.fit import fit_digest
from genies.stages.tune import kept_test_digest, tuning_digest
from genies.store.settled import Settled, store_digest
from genies.store.tokens import tokens_digest

TEXTS = [Text(0, 0, "what is red ?", "blue ."), Text(0, 1, "what is red ?", "red .")]
PAIRS = [Pair(0, 0, 1, 0), Pair(1, 0, 0, 1)]
EXAMPLES = [Example(prompt, ("a", "b"), 0, (1,)) for prompt in ("p", "q")]
PARAMETERS = {"protocol": "corrected", "seed": 0}
MODEL = {"weights_digest": "w", "tokenizer_digest": "t", "eos_token": 2, "context": 512}
SHOWN = TextPairs(("p",), ("a",), ("b",), np.array([0]))


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU multiplies in the type that is asked for, whatever the machine has."""
    monkeypatch.setattr("genies.engine.arithmetic.native_bfloat16", lambda _device: True)


def tokens(tokenizer: str = "t", texts: list[Text] = TEXTS, view: View = VIEWS["plain"]) -> tuple[str, dict]:
    return tokens_digest(tokenizer, texts, view)


def store(
    weights: str = "w", tokens: str = "t", eos_token: int = 2, attention: str = "sdpa", arithmetic: str = "float32",
    device: str = "cpu", **options: object,
) -> tuple[str, dict]:  # fmt: skip
    chosen = Settled(Extraction(**options), attention, arithmetic, device)
    return store_digest({"weights_digest": weights, "eos_token": eos_token}, tokens, chosen)


def fit(
    intervention: str = "mms",
    parameters: dict = PARAMETERS,
    code: str = "c",
    libraries: dict[str, str] = {"numpy": "2.1"},  # noqa: B006  (never changed)
    pairs: list[Pair] = PAIRS,
    examples: list[Example] = EXAMPLES,
    stores: dict[str, str] = {"plain": "s", "yes": "y"},  # noqa: B006  (never changed)
) -> tuple[str, dict]:
    split = SplitPairs("north", Framed(examples, examples), pairs, np.ones(len(pairs), bool))
    return fit_digest(intervention, parameters, {"code": code, "libraries": libraries}, split, stores)


def tuning(intervention: str = "lora", model: dict = MODEL, pairs: TextPairs = SHOWN, **parameters) -> tuple[str, dict]:
    place = parameters.pop("device", "cpu")
    return tuning_digest(intervention, {**TRAINED, **parameters}, model, pairs, place, Path("cache"))


def kept_test(
    name: str = "north", examples: list[Example] = EXAMPLES, first: bool = True, texts: TextPairs = SHOWN,
    origin: list[tuple[int, int]] | None = None,
) -> tuple[str, dict]:  # fmt: skip
    framed = Framed(examples[:1], examples, origin)
    return kept_test_digest(SplitPairs(name, framed, PAIRS[:1], np.array([first])), texts)


CHANGES: list[tuple[Callable[..., tuple[str, dict]], str, dict[str, object]]] = [
    (tokens, "tokenizer", {"tokenizer": "u"}),
    (tokens, "texts", {"texts": TEXTS[::-1]}),
    (tokens, "texts", {"texts": [TEXTS[0], Text(0, 1, "what is red ?", "red")]}),
    (tokens, "view", {"view": VIEWS["yes"]}),
    (store, "weights", {"weights": "v"}),
    (store, "eos_token", {"eos_token": 3}),
    (store, "tokens", {"tokens": "u"}),
    (store, "dtype", {"dtype": "bfloat16", "arithmetic": "float32"}),
    (store, "arithmetic", {"arithmetic": "bfloat16"}),
    (store, "attention", {"attention": "eager"}),
    (store, "device", {"device": "cuda"}),
    (store, "layers", {"layers": (0, 1)}),
    (store, "heads", {"heads": (0,)}),
    (store, "quantization", {"quantization": "nf4"}),
    (fit, "intervention", {"intervention": "cra"}),
    (fit, "parameters", {"parameters": {**PARAMETERS, "seed": 1}}),
    (fit, "code", {"code": "d"}),
    (fit, "libraries", {"libraries": {"numpy": "2.2"}}),
    (fit, "pairs", {"pairs": [PAIRS[0], Pair(1, 0, 1, 0)]}),
    (fit, "clusters", {"examples": [EXAMPLES[0]] * 2}),
    (fit, "stores", {"stores": {"plain": "s", "yes": "z"}}),
    (tuning, "models", {"model": {**MODEL, "weights_digest": "v"}}),
    (tuning, "models", {"model": {**MODEL, "tokenizer_digest": "u"}}),
    (tuning, "eos_token", {"model": {**MODEL, "eos_token": 3}}),
    (tuning, "context", {"model": {**MODEL, "context": None}}),
    (tuning, "parameters", {"steps": 3}),
    (tuning, "parameters", {"learning_rate": 0.1}),
    (tuning, "dtype", {"dtype": "bfloat16"}),
    (tuning, "device", {"device": "cuda", "dtype": "float32"}),
    (tuning, "pairs", {"pairs": TextPairs(("p",), ("b",), ("a",), SHOWN.example)}),
    (tuning, "pairs", {"pairs": TextPairs(("p",), ("a",), ("b",), SHOWN.example + 1)}),
    (tuning, "pairs", {"pairs": replace(SHOWN, published=("q",))}),
    (tuning, "pairs", {"pairs": replace(SHOWN, conversation=((Turn("user", "p"),),))}),
    (kept_test, "target", {"name": "south"}),
    (kept_test, "best_first", {"first": False}),
    (kept_test, "texts", {"texts": TextPairs(("p",), ("b",), ("a",), SHOWN.example)}),
    (kept_test, "texts", {"texts": TextPairs(("p",), ("a",), ("b",), SHOWN.example + 1)}),
    (kept_test, "texts", {"texts": replace(SHOWN, published=("q",))}),
    (kept_test, "texts", {"texts": replace(SHOWN, conversation=((Turn("user", "p"),),))}),
]


@pytest.mark.parametrize(("digest", "field", "change"), CHANGES)
def test_a_field_that_changes_alone_is_a_miss(digest: Callable, field: str, change: dict) -> None:
    (before, fields), (after, changed) = digest(), digest(**change)
    assert before != after
    differ = {name for name in fields if fields[name] != changed[name]}
    assert field in differ and differ <= {field, "parameters"}


@pytest.mark.parametrize("digest", [tokens, store, fit, tuning, kept_test])
def test_every_field_is_among_the_changes(digest: Callable) -> None:
    tested = {field for kind, field, _ in CHANGES if kind is digest}
    assert set(digest()[1]) - tested <= {"libraries", "code", "intervention", "places", "clusters", "answers"}


def test_what_an_evaluation_states_of_pairs_names_kept_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question's answer, and clusters: other rules for those name other tests, though the texts are the same."""
    names = {kept_test()[0], kept_test(origin=[(0, 0)])[0], kept_test(origin=[(1, 1)])[0]}
    monkeypatch.setattr("genies.data.framing.prompt_clusters", lambda prompts: np.arange(len(prompts)) + 7)
    assert len({*names, kept_test()[0]}) == 4


@pytest.mark.parametrize("digest", [tokens, store, tuning])
def test_edited_code_and_another_library_are_misses(monkeypatch: pytest.MonkeyPatch, digest: Callable) -> None:
    names = {digest()[0]}
    for made in ({"code": "edited", "libraries": {}}, {"code": "edited", "libraries": {"torch": "9.9"}}):
        for user in ("store.tokens", "store.settled", "stages.tune"):
            monkeypatch.setattr(f"genies.{user}.computed_by", lambda *_, made=made, **__: made)
        names.add(digest()[0])
    assert len(names) == 3


def test_the_order_of_keys_plays_no_part() -> None:
    assert fit(parameters=dict(reversed(PARAMETERS.items())))[0] == fit()[0]
    assert fit(stores={"yes": "y", "plain": "s"})[0] == fit()[0]
    assert tuning(model=dict(reversed(MODEL.items())))[0] == tuning()[0]
    for digest in (tokens, store, fit, tuning):
        name, fields = digest()
        assert value_digest(dict(reversed(fields.items()))) == name
