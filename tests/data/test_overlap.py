"""Test examples that also appear in a training split: each kind is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED_DATA
from hypothesis import given
from hypothesis import strategies as st

from genies.data.archive import published_digests, unpack
from genies.data.clusters import instructions
from genies.data.distributions import Example, read_split
from genies.data.overlap import Overlap, TrainingTexts, overlap
from genies.data.shifts import list_file, read_shifts

ARCHIVE = SHARED_DATA / "genies-datasets.tar.xz"


def example(prompt: str, best: str, *worse: str) -> Example:
    return Example(prompt, (best, *worse), 0, tuple(range(1, len(worse) + 1)))


def compared(test: list[Example], train: list[Example]) -> Overlap:
    return overlap(test, range(len(test)), TrainingTexts.of(train, range(len(train))))


def row(found: Overlap, number: int = 0) -> list[str]:
    kinds = ("same_prompt", "same_text", "other_label", "complete", "seen")
    return [kind for kind in kinds if getattr(found, kind)[number]]


TRAIN = [example("p ", "good", "bad"), example("q ", "good", "bad"), example("r ", "good", "bad")]


@pytest.mark.parametrize(
    ("test", "kinds"),
    [
        (example("s ", "good", "bad"), []),
        (example("p", "good", "bad"), []),
        (example("p ", "fine", "poor"), ["same_prompt", "seen"]),
        (example("p ", "good", "poor"), ["same_prompt", "same_text", "seen"]),
        (example("p ", "fine", "poor", "bad"), ["same_prompt", "same_text", "seen"]),
        (example("p ", "good", "bad"), ["same_prompt", "same_text", "complete", "seen"]),
        (example("p ", "bad", "poor"), ["same_prompt", "same_text", "other_label", "seen"]),
        (example("p ", "fine", "good"), ["same_prompt", "same_text", "other_label", "seen"]),
        (example("p ", "bad", "good"), ["same_prompt", "same_text", "other_label", "complete", "seen"]),
        # The same text, cut elsewhere into a prompt and a response.
        (example("p g", "ood", "poor"), ["same_text", "seen"]),
    ],
)
def test_every_kind_of_overlap_is_found(test: Example, kinds: list[str]) -> None:
    assert row(compared([test], TRAIN)) == kinds


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_instruction_of_either_split_is_no_overlap_but_its_texts_are(split: str) -> None:
    shared = [example("the same ", f"right {n}", f"wrong {n}") for n in range(10)]
    others = [example(f"{n} ", "right", "wrong") for n in range(90)]
    train, test = ([shared[0]], shared) if split == "test" else (shared, [shared[0], example("the same ", "a", "b")])
    # In the split that holds them all, ten of a hundred have the prompt; in the other one it is no instruction.
    large = [*(train if split == "train" else test), *others]
    found = compared(test, large) if split == "train" else compared(large, [*train, example("z ", "a", "b")])
    assert row(found) == ["same_text", "complete", "seen"]
    assert row(found, 1) == []


def test_only_what_is_read_counts() -> None:
    test = [example("p ", "good", "bad"), example("q ", "good", "bad"), example("r ", "good", "bad")]
    found = overlap(test, [0, 2], TrainingTexts.of(TRAIN, [1, 2]))
    assert found.example.tolist() == [0, 2]
    assert found.seen.tolist() == found.complete.tolist() == [False, True]
    nothing = overlap(test, [], TrainingTexts.of(TRAIN, []))
    assert nothing.example.shape == nothing.seen.shape == (0,)


words = st.text("ab ", max_size=2)
examples = st.builds(
    lambda prompt, responses, best: Example(
        prompt,
        tuple(responses),
        best % len(responses),
        tuple(n for n in range(len(responses)) if n != best % len(responses)),
    ),
    words,
    st.lists(words, min_size=2, max_size=3, unique=True),
    st.integers(0, 2),
)
splits = st.lists(examples, min_size=1, max_size=8)


@given(splits, splits)
def test_overlap_is_what_comparing_everything_with_everything_finds(test: list[Example], train: list[Example]) -> None:
    found = compared(test, train)
    shared = instructions([e.prompt for e in test]) | instructions([e.prompt for e in train])
    labelled = [(e.prompt + response, n == e.best) for e in train for n, response in enumerate(e.responses)]
    for number, own in enumerate(test):
        texts = [(own.prompt + response, n == own.best) for n, response in enumerate(own.responses)]
        known = [any(text == other for other, _ in labelled) for text, _ in texts]
        assert found.same_prompt[number] == (own.prompt not in shared and any(own.prompt == e.prompt for e in train))
        assert found.same_text[number] == any(known)
        assert found.complete[number] == all(known)
        assert found.other_label[number] == any((text, not best) in labelled for text, best in texts)
    assert np.array_equal(found.seen, found.same_prompt | found.same_text)
    assert not (found.other_label & ~found.same_text).any() and not (found.complete & ~found.same_text).any()


@given(splits)
def test_a_split_overlaps_with_itself_completely_and_with_no_other_label_of_its_own(split: list[Example]) -> None:
    found = compared(split, split)
    assert found.complete.all() and found.seen.all()
    shared = instructions([own.prompt for own in split])
    assert found.same_prompt.tolist() == [own.prompt not in shared for own in split]


needs_archive = pytest.mark.skipif(not ARCHIVE.is_file(), reason="the published distributions are not here")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the published distributions."""
    folder = tmp_path_factory.mktemp("published")
    unpack(str(ARCHIVE), folder / "data", published_digests(), downloads=folder)
    return folder / "data/distributions"


@pytest.mark.long
@needs_archive
def test_published_distributions_overlap_as_was_counted(published: Path) -> None:
    counts, prompts = {}, {}
    for folder in sorted(published.iterdir()):
        train, test = (read_split(folder / f"{split}.json") for split in ("train", "test"))
        known = TrainingTexts.of(train, range(len(train)))
        found = overlap(test, range(len(test)), known)
        kinds = ("same_prompt", "same_text", "other_label", "complete", "seen")
        counts[folder.name] = (len(test), *(int(getattr(found, kind).sum()) for kind in kinds))
        prompts[folder.name] = sum(own.prompt in known.prompts for own in test)
    assert len(counts) == 61
    # With instructions: the examples with prompts of training splits.
    assert sum(prompts.values()) == 806
    assert [prompts[name] for name in ("illegal_dont_help", "biology_with_literary_style")] == [146, 250]
    # Without: 41 examples of illegal_dont_help have two prompts that a fifth of its training split shares, and seven of
    # them a text.
    assert np.sum(list(counts.values()), axis=0).tolist() == [17496, 515, 280, 1, 137, 522]
    assert counts["change_my_view"] == (250, 110, 96, 0, 1, 110)
    assert counts["illegal_dont_help"] == (246, 105, 14, 0, 0, 112)
    assert counts["ranking_logic_easy"] == (250, 105, 105, 0, 105, 105)
    assert counts["quote_attribution"] == (250, 44, 44, 1, 15, 44)
    assert counts["biology_with_literary_style"] == (250, 0, 0, 0, 0, 0)


@pytest.mark.long
@needs_archive
def test_of_the_published_shifts_one_has_the_labels_of_its_source_turned_round(published: Path) -> None:
    sizes = {}
    for shift in read_shifts(list_file("published69")):
        train = read_split(published / shift.source / "train.json")
        found = compared(read_split(published / shift.target / "test.json"), train)
        if found.seen.any():
            sizes[shift.source, shift.target] = [int(part.sum()) for part in (found.seen, found.other_label)]
    assert sizes == {("shp_low_quality", "shp_high_quality"): [147, 147]}
