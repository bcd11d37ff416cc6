"""Surface baselines: what they count, where they are right, and where they have nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from genies.interventions import registry
from genies.interventions.arrays import ArrayPairs
from genies.interventions.steps.words import words_of

SURFACE = ["bag_of_words", "first_word", "length", "prompt_overlap"]
WORDS = "the a rain sun wind snow fog hail is was in on over north south and or not".split()


def texts(n: int, seed: int, low: int = 3, high: int = 12) -> tuple[list[str], list[str], list[str]]:
    """n prompts and two responses each, drawn words."""
    rng = np.random.default_rng(seed)
    return tuple([" ".join(rng.choice(WORDS, size)) for size in rng.integers(low, high, n)] for _ in range(3))  # type: ignore[return-value]


def pairs(prompts, best, worse, best_first=None) -> ArrayPairs:
    """Pairs, best response first, or in the order given, with labels."""
    first = np.ones(len(prompts), bool) if best_first is None else best_first
    ordered = [(b, w) if straight else (w, b) for b, w, straight in zip(best, worse, first, strict=True)]
    return ArrayPairs(texts=(prompts, [a for a, _ in ordered], [b for _, b in ordered]), label=first)


def right(fitted, prompts, best, worse) -> float:
    """Share of pairs ranked right; ties count half."""
    first = np.random.default_rng(5).random(len(prompts)) < 0.5
    probability = fitted.predict_proba(pairs(prompts, best, worse, first))
    return float(np.mean(np.where(probability == 0.5, 0.5, (probability > 0.5) == first)))


@pytest.mark.parametrize("longer", [True, False])
def test_a_set_that_length_solves_is_solved_by_length_in_either_direction(longer):
    def drawn(n, seed):
        prompts, first, second = texts(n, seed)
        second = [b + " and more" * (len(a) == len(b)) for a, b in zip(first, second, strict=True)]
        ordered = [sorted(two, key=len, reverse=longer) for two in zip(first, second, strict=True)]
        return prompts, [two[0] for two in ordered], [two[1] for two in ordered]

    fitted = registry.make("length").fit(pairs(*drawn(100, 1)))
    assert right(fitted, *drawn(300, 2)) == 1
    assert fitted.out_of_fold_accuracy() == 1


def test_bag_of_words_is_the_pipeline_of_scikit_learn():
    prompts, best, worse = texts(80, 3)
    best = [f"{text} gladly" if number % 2 else text for number, text in enumerate(best)]
    fitted = registry.make("bag_of_words", {"strength": 2.0}).fit(pairs(prompts, best, worse))
    vectorizer = TfidfVectorizer(token_pattern=r"\w+").fit([*best, *worse])
    difference = vectorizer.transform(best).toarray() - vectorizer.transform(worse).toarray()
    turned = np.where(np.arange(80) % 2, 1, -1)  # which order a pair is in changes nothing without an intercept
    model = LogisticRegression(C=2.0, fit_intercept=False, max_iter=1000).fit(difference * turned[:, None], turned)
    new = texts(40, 4)
    scores = fitted.decision_function(pairs(*new))
    assert scores[:, 0] == pytest.approx(model.decision_function(vectorizer.transform(new[1]).toarray()), abs=1e-3)
    assert right(fitted, prompts, best, worse) > 0.7


def test_the_first_word_decides_where_it_says_something_and_nothing_where_it_is_new():
    prompts, best, worse = texts(60, 6)
    fitted = registry.make("first_word").fit(
        pairs(prompts, [f"Sure, {text}" for text in best], [f"Sorry! {text}" for text in worse])
    )
    assert right(fitted, ["?"], ["Sure."], ["sorry"]) == 1
    new = pairs(["?", "?"], ["Indeed", ""], ["Certainly", "…"])
    assert np.array_equal(fitted.predict_proba(new), [0.5, 0.5])


def test_overlap_with_the_prompt_counts_shares_of_different_words():
    probe = registry.make("prompt_overlap")
    counted = probe.counts(["Is rain wet? Is it?", "Hail", ""], ["Rain is wet, wet, wet and cold.", "", "x"])
    assert counted == pytest.approx(np.array([[3 / 5, 3 / 4], [0, 0], [0, 0]]))


def test_overlap_finds_responses_that_repeat_the_prompt():
    prompts, _, worse = texts(60, 7)
    fitted = registry.make("prompt_overlap").fit(pairs(prompts, prompts, worse))
    new, _, other = texts(60, 8)
    assert right(fitted, new, new, other) > 0.95


@pytest.mark.parametrize("name", SURFACE)
def test_on_coin_flips_they_are_at_chance(name, within_binomial):
    fitted = registry.make(name).fit(pairs(*texts(200, 9)))
    assert within_binomial(right(fitted, *texts(1000, 10)), 1000, 0.5)


@pytest.mark.parametrize("name", SURFACE)
@pytest.mark.parametrize(("best", "worse"), [("", ""), ("…", "!"), ("same", "same")])
def test_where_responses_differ_by_nothing_that_is_counted_nothing_is_preferred(name, best, worse):
    n = 12
    fitted = registry.make(name).fit(pairs(["?"] * n, [best] * n, [worse] * n))
    tests = pairs(["?"] * 2, [best, "other words"], [worse, "other words"])
    assert np.array_equal(fitted.predict_proba(tests), [0.5, 0.5])


@given(st.text(max_size=40))
def test_words_are_runs_of_letters_and_digits_in_lower_case(text):
    found = words_of(text)
    assert all(word and word == word.lower() and not any(map(str.isspace, word)) for word in found)
    assert words_of(" ".join(found)) == found
