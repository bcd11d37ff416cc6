"""Near duplicates between a test and a training split: rewordings are found, templates and other texts are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.data import near_overlap as near
from genies.data.distributions import Example
from genies.data.minhash import jaccard, pieces_of, shared, signatures, without
from genies.data.near_overlap import BANDS, FEWEST, JACCARD, ROWS, NearOverlap, Sketch, near_overlap
from genies.data.overlap import TrainingTexts, overlap

SYLLABLES = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "s", "nd")]
TEMPLATES = (
    "Below is an instruction that describes a task. Complete the request as well as you can. Request: {} Answer: ",
    "You are a careful assistant who answers in one paragraph and never guesses. The user writes: {} You reply: ",
    "Read the report of a colleague and say in plain words whether it is right. The report reads: {} Verdict: ",
    "Translate the sentence that follows into the language of a child and keep its meaning. Sentence: {} Version: ",
)  # fmt: skip


class Writer:
    """Writes sentences of words that are drawn as often as words of a language are (Zipf's law)."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        lengths = self.random.integers(1, 4, 4000)
        self.words = np.array(["".join(self.random.choice(SYLLABLES, n)) for n in lengths])
        weights = 1 / (np.arange(len(self.words)) + 3)
        self.weights = weights / weights.sum()

    def sentence(self, words: int) -> str:
        return " ".join(self.random.choice(self.words, words, p=self.weights))

    def reworded(self, text: str, changed: int) -> str:
        """The text with some of its words replaced."""
        words = text.split(" ")
        for place in self.random.choice(len(words), changed, replace=False):
            words[place] = str(self.random.choice(self.words))
        return " ".join(words)


def example(prompt: str, best: str, *worse: str) -> Example:
    return Example(prompt, (best, *worse), 0, tuple(range(1, len(worse) + 1)))


def split(writer: Writer, count: int, template: str = "{}", words: int = 25) -> list[Example]:
    """Unrelated examples of one template."""
    return [
        example(template.format(writer.sentence(words)), writer.sentence(30), writer.sentence(30)) for _ in range(count)
    ]


def compared(test: Sequence[Example], train: Sequence[Example]) -> NearOverlap:
    found = overlap(test, range(len(test)), TrainingTexts.of(train, range(len(train))))
    return near_overlap(Sketch(test, range(len(test))), Sketch(train, range(len(train))), found)


@pytest.fixture
def writer() -> Writer:
    return Writer(3)


KINDS = ("near_prompt", "near_text", "near_other_label", "near")


def kinds(found: NearOverlap, number: int) -> set[str]:
    return {kind for kind in KINDS if getattr(found, kind)[number]}


def test_every_kind_of_near_duplicate_is_found_and_nothing_else(writer: Writer) -> None:
    template = TEMPLATES[0]
    train = split(writer, 300, template)

    def again(number: int, changed: int) -> str:
        return template.format(writer.reworded(train[number].prompt.split("Request: ")[1].split(" Answer")[0], changed))

    best, worse = train[2].responses
    planted = [
        example(again(0, 3), *split(writer, 1)[0].responses),
        example(again(1, 3), writer.reworded(train[1].responses[0], 3), writer.sentence(30)),
        example(again(2, 3), worse, writer.sentence(30)),
        example(again(3, 3), train[3].responses[0], "no"),
        example(train[4].prompt, writer.reworded(train[4].responses[0], 3), writer.sentence(30)),
        example(again(5, 3), writer.reworded(train[5].responses[1], 3), writer.reworded(train[5].responses[0], 3)),
        example(again(6, 18), *train[6].responses),
        replace(train[7]),
    ]
    found = compared([*planted, *split(writer, 100, template)], train)
    assert [kinds(found, number) for number in range(len(planted))] == [
        {"near_prompt", "near"},
        {"near_prompt", "near_text", "near"},
        {"near_prompt", "near_text", "near_other_label", "near"},
        {"near_prompt", "near_text", "near"},
        {"near_text", "near"},
        {"near_prompt", "near_text", "near_other_label", "near"},
        set(),  # another prompt with the same responses
        set(),  # the same, which is no near duplicate
    ]
    assert not found.near[len(planted) :].any()
    assert best != worse


def test_a_worse_response_that_resembles_the_best_one_has_no_other_label(writer: Writer) -> None:
    """A worse response is the best one with a mistake: nearest to each is its own counterpart."""
    train = [replace(e, responses=(e.responses[0], writer.reworded(e.responses[0], 4))) for e in split(writer, 200)]
    test = [
        replace(e, prompt=writer.reworded(e.prompt, 2), responses=tuple(writer.reworded(r, 1) for r in e.responses))
        for e in train[:40]
    ]
    found = compared(test, train)
    assert found.near_text.mean() > 0.9
    assert found.near_other_label.mean() < 0.15
    turned = compared([replace(e, best=1, worse=(0,), good=(1,)) for e in test], train)
    assert turned.near_other_label.mean() > 0.85


def test_texts_with_nothing_but_a_template_in_common_are_no_near_duplicates(writer: Writer) -> None:
    """The template is most of each text, and another one in each split of the second comparison."""
    for theirs in (TEMPLATES[1], TEMPLATES[2]):
        train, test = split(writer, 400, TEMPLATES[1], words=6), split(writer, 200, theirs, words=6)
        plain = pieces_of([train[0].prompt, test[0].prompt])
        if theirs == TEMPLATES[1]:
            assert jaccard(plain[0], plain[1]).item() > JACCARD
        assert not compared(test, train).near.any()


def test_prompts_that_are_templates_alone_are_compared_by_their_responses(writer: Writer) -> None:
    train = [replace(e, prompt=TEMPLATES[0].format(n % 7)) for n, e in enumerate(split(writer, 200))]
    test = [replace(e, prompt=TEMPLATES[0].format(n % 5)) for n, e in enumerate(split(writer, 100))]
    test[0] = replace(test[0], responses=(writer.reworded(train[3].responses[0], 3), test[0].responses[1]))
    test[1] = replace(test[1], responses=(test[1].responses[0], writer.reworded(train[9].responses[0], 3)))
    test[2] = replace(test[2], responses=("Yes", "No"))
    train[5] = replace(train[5], responses=("Yes", "No"))
    found = compared(test, train)
    assert np.flatnonzero(found.near_text).tolist() == np.flatnonzero(found.near).tolist() == [0, 1]
    assert np.flatnonzero(found.near_other_label).tolist() == [1]
    assert not found.near_prompt.any()


def test_of_two_thousand_unrelated_texts_of_the_same_templates_hardly_any_match() -> None:
    """The false-match rate: each of 1,000 test examples could match any of 1,000 training examples."""
    writer = Writer(11)
    train, test = ([e for t in TEMPLATES for e in split(writer, 250, t, words=20)] for _ in range(2))
    found = compared(test, train)
    assert found.near.mean() <= 0.002
    # The same test examples with two of twenty words changed: hardly any is missed.
    copies = []
    for own in test:
        template = next(t for t in TEMPLATES if own.prompt.startswith(t[:20]))
        before, after = template.split("{}")
        words = own.prompt[len(before) : len(own.prompt) - len(after)]
        copies.append(replace(own, prompt=template.format(writer.reworded(words, 2))))
    assert compared(copies, test).near_prompt.mean() > 0.98


def test_the_bands_lose_hardly_any_pair_that_comparing_all_with_all_finds(writer: Writer) -> None:
    train = split(writer, 150, TEMPLATES[0])
    prompts = [own.prompt for own in train]
    test = [replace(own, prompt=writer.reworded(own.prompt, n % 12)) for n, own in enumerate(train)]
    pieces, theirs = pieces_of(prompts), pieces_of([own.prompt for own in test])
    counts = [np.bincount(matrix.indices, minlength=matrix.shape[1]) for matrix in (pieces, theirs)]
    left_out = shared(counts[0], 150) | shared(counts[1], 150)
    ours, own = without(pieces, left_out), without(theirs, left_out)
    both = np.asarray((own @ ours.T).todense())
    sizes = [matrix.getnnz(axis=1) for matrix in (own, ours)]
    alike = both / np.maximum(sizes[0][:, None] + sizes[1][None] - both, 1)
    alike[(sizes[0] < FEWEST)] = 0
    alike[:, sizes[1] < FEWEST] = 0
    same = np.array([own.prompt in prompts for own in test])
    wanted = (alike >= JACCARD).any(axis=1) & ~same
    found = compared(test, train).near_prompt
    assert wanted.sum() > 50 and not (found & ~wanted).any()
    assert found[wanted].mean() > 0.95


def test_only_what_is_read_is_compared_and_empty_splits_have_nothing(writer: Writer) -> None:
    train = split(writer, 100)
    test = [replace(own, prompt=writer.reworded(own.prompt, 2)) for own in train]
    found = overlap(test, [0, 50], TrainingTexts.of(train, range(50, 100)))
    near_found = near_overlap(Sketch(test, [0, 50]), Sketch(train, range(50, 100)), found)
    assert near_found.near.tolist() == [False, True]
    nothing = overlap(test, [], TrainingTexts.of(train, []))
    assert near_overlap(Sketch(test, []), Sketch(train, []), nothing).near.shape == (0,)
    one = overlap(test, [0], TrainingTexts.of(train, []))
    assert not near_overlap(Sketch(test, [0]), Sketch(train, []), one).near.any()


def test_pairs_with_a_band_in_common_are_all_given_once() -> None:
    random = np.random.default_rng(0)
    one, other = random.integers(0, 12, (40, 3)).astype(np.uint64), random.integers(0, 12, (30, 3)).astype(np.uint64)
    found = near._candidates(one, other)
    wanted = [(a, b) for a in range(40) for b in range(30) if ((one[a] == other[b]) & (one[a] != 0)).any()]
    assert [tuple(pair) for pair in found.tolist()] == wanted


def test_texts_with_little_but_their_template_are_compared_with_nothing(writer: Writer) -> None:
    """They share their few pieces with a part of all others: such pairs grew with the square of the examples."""
    train, test = (
        Sketch([example(TEMPLATES[0].format(n), "yes", "no") for n in range(first, first + 400)], range(400))
        for first in (1000, 3000)
    )
    assert train.prompts.blank.all() and test.prompts.blank.all()
    assert test.prompts.own.nnz > 0
    assert not len(near._candidates(test.prompts.bands, train.prompts.bands))


WORDS = [
    "of ",
    "Straße ",
    "東京都 ",
    "naïve café ",
    "\u0301\U0001f600 ",
    "to be or not to be ",
    "a sentence by itself ",
    "\n",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)
EXAMPLES = st.builds(
    lambda prompt, responses: example(prompt, *responses), TEXTS, st.lists(TEXTS, min_size=2, max_size=3, unique=True)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(EXAMPLES, max_size=8), st.lists(EXAMPLES, max_size=8))
def test_signatures_of_texts_with_little_of_their_own_would_change_nothing(
    test: list[Example], train: list[Example]
) -> None:
    def every(texts: near._Texts) -> np.ndarray:
        return signatures(texts.own, BANDS, ROWS)

    found = compared(test, train)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near._Texts, "bands", property(every))
        wanted = compared(test, train)
    for kind in KINDS:
        np.testing.assert_array_equal(getattr(found, kind), getattr(wanted, kind))
