"""Which test examples nearly appear in a training split: with a few words changed.

A prompt, or a response, is a near duplicate of another one if the Jaccard index of their pieces is ``JACCARD`` or more
(``genies.data.minhash``). Pieces that many texts of either split share are its templates, and left out; a text of which
fewer than ``FEWEST`` pieces remain is no near duplicate of anything. So a template alone makes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from genies.data.distributions import Example
from genies.data.minhash import counts_of, jaccard, pieces_of, shared, signatures, without
from genies.data.overlap import Overlap

JACCARD = 0.5
"""From this index on a text is a near duplicate; ``docs/methods.md`` has the rate of false matches."""
FEWEST = 20
"""Pieces that a text has to have, those of templates left out."""
BANDS, ROWS = 32, 3
"""Texts at ``JACCARD`` share a band with a probability of 0.986."""
BATCH = 10_000
"""Pairs of texts that are compared at once."""


@dataclass(frozen=True, eq=False)
class _Texts:
    """Texts of a split.

    Attributes:
        pieces: of each text that is read, (n, ``genies.data.minhash.PIECES``).
        templates: pieces that many texts of the whole split share, bool (``PIECES``,).
    """

    pieces: csr_matrix
    templates: np.ndarray

    @classmethod
    def of(cls, every: Sequence[str], read: np.ndarray) -> _Texts:
        """The texts of these indices among all of a split."""
        pieces = pieces_of(every)
        return cls(pieces[read], shared(counts_of(pieces), len(every)))

    @cached_property
    def own(self) -> csr_matrix:
        """Their pieces without the split's templates."""
        return without(self.pieces, self.templates)

    @cached_property
    def blank(self) -> np.ndarray:
        """Whether a text is little more than its template, bool (n,)."""
        return self.own.getnnz(axis=1) < FEWEST

    @cached_property
    def bands(self) -> np.ndarray:
        """What texts have in common that may be near duplicates, uint64 (n, ``BANDS``); 0 for a blank text.

        Blank texts are near duplicates of nothing, and share their few pieces with a part of all others.
        """
        found, rows = np.zeros((len(self.blank), BANDS), np.uint64), np.flatnonzero(~self.blank)
        found[rows] = signatures(self.own[rows], BANDS, ROWS)
        return found

    def similarity(self, rows: np.ndarray, other: _Texts, others: np.ndarray) -> np.ndarray:
        """Jaccard indices of these texts and as many others, without templates of either; 0 where too little is left.

        Args:
            rows: of these texts, int (k,).
            other: the other texts.
            others: rows of those, int (k,).
        """
        left_out = self.templates | other.templates
        found = np.zeros(len(rows))
        for begin in range(0, len(rows), BATCH):
            part = slice(begin, begin + BATCH)
            one, two = (without(t.pieces[n[part]], left_out) for t, n in ((self, rows), (other, others)))
            enough = np.minimum(one.getnnz(axis=1), two.getnnz(axis=1)) >= FEWEST
            found[part] = np.where(enough, jaccard(one, two), 0)
        return found


class _Responses(NamedTuple):
    """The responses of the examples that are read, those of one example together.

    Attributes:
        texts: as sets of pieces.
        words: themselves.
        best: whether each is a best one, bool (r,).
        first: number of the first response of each example, and behind the last one their count, int64 (n + 1,).
    """

    texts: _Texts
    words: list[str]
    best: np.ndarray
    first: np.ndarray


class Sketch:
    """A split as near duplicates are looked for in it; responses are looked at where they are needed.

    Attributes:
        examples: those that are read.
        prompts: theirs.
    """

    def __init__(self, examples: Sequence[Example], read: Sequence[int]) -> None:
        """Look at the prompts.

        Args:
            examples: all examples of the split's file; they decide what is a template.
            read: indices of those that the run reads.
        """
        self._every = examples
        self._read = np.array(read, np.int64)
        self.examples = [examples[index] for index in read]
        self.prompts = _Texts.of([example.prompt for example in examples], self._read)

    @cached_property
    def responses(self) -> _Responses:
        """Every response of what is read."""
        every = [response for example in self._every for response in example.responses]
        ends = np.cumsum([0, *(len(example.responses) for example in self._every)])
        rows = [row for index in self._read for row in range(ends[index], ends[index + 1])]
        best = [n in example.good for example in self.examples for n in range(len(example.responses))]
        first = np.cumsum([0, *(len(example.responses) for example in self.examples)])
        texts = _Texts.of(every, np.array(rows, np.int64))
        return _Responses(texts, [every[row] for row in rows], np.array(best, bool), first)


@dataclass(frozen=True, eq=False)
class NearOverlap:
    """How test examples nearly overlap with a training split, where they do not in the same way exactly.

    Attributes:
        near_prompt: whether its prompt is a near duplicate of one there, bool (n,).
        near_text: whether one of its texts is: the prompt the same or a near duplicate, or both little more than
            templates, and the response the same or a near duplicate, bool (n,).
        near_other_label: whether such a text has the other label there, and none of the same label is as near, bool
            (n,).
    """

    near_prompt: np.ndarray
    near_text: np.ndarray
    near_other_label: np.ndarray

    @property
    def near(self) -> np.ndarray:
        """Whether the training split shows something of the example in this way, bool (n,)."""
        return self.near_prompt | self.near_text


def near_overlap(test: Sketch, training: Sketch, found: Overlap) -> NearOverlap:
    """Compare a test split with a training split.

    Args:
        test: the test split.
        training: the training split.
        found: their exact overlap, of the same examples.
    """
    near_prompt, near_text, near_other = (np.zeros(len(test.examples), bool) for _ in range(3))
    pairs = _candidates(test.prompts.bands, training.prompts.bands)
    if len(pairs):
        similar = test.prompts.similarity(pairs[:, 0], training.prompts, pairs[:, 1])
        pairs = pairs[similar >= JACCARD]
        near_prompt[pairs[:, 0]] = True
    pairs = np.unique(np.concatenate([pairs, _same_prompts(test, training, found.same_prompt)]), axis=0)
    for tests, trains, alike in (
        (*_of_examples(test, training, pairs), True),
        (*_of_templates(test, training), False),
    ):
        text, other = _compare(test, training, tests, trains, alike)
        near_text |= text
        near_other |= other
    return NearOverlap(near_prompt & ~found.same_prompt, near_text & ~found.same_text, near_other & ~found.other_label)


def _candidates(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows of two sets of signatures that have a band in common, int64 (k, 2), sorted."""
    ours, filled = (np.flatnonzero(bands.any(axis=1)) for bands in (one, other))
    found = [np.zeros(0, np.int64)]
    for band, theirs in zip(one[ours].T, other[filled].T, strict=True):
        order = np.argsort(theirs, kind="stable")
        begin, end = (np.searchsorted(theirs[order], band, side) for side in ("left", "right"))
        many = np.where(band == 0, 0, end - begin)
        rows = np.repeat(ours, many)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
        found.append(rows * len(other) + filled[order[np.repeat(begin, many) + within]])
    # Sorting takes n log n; the table of hashes within np.unique waits for memory at every one of many pairs.
    pairs = np.sort(np.concatenate(found))
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.stack(np.divmod(pairs, max(len(other), 1)), axis=1)


def _same_prompts(test: Sketch, training: Sketch, same: np.ndarray) -> np.ndarray:
    """Pairs of examples with one prompt, of those test examples that have any, int64 (k, 2)."""
    places: dict[str, list[int]] = {}
    for number, example in enumerate(training.examples):
        places.setdefault(example.prompt, []).append(number)
    pairs = [(row, place) for row in np.flatnonzero(same) for place in places[test.examples[row].prompt]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _of_examples(test: Sketch, training: Sketch, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every response of one example with every response of the other, for pairs of examples, int64 (k,) each."""
    if not len(pairs):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    firsts = [side.responses.first for side in (test, training)]
    many = [first[pairs[:, n] + 1] - first[pairs[:, n]] for n, first in enumerate(firsts)]
    total = many[0] * many[1]
    within = np.arange(total.sum()) - np.repeat(np.cumsum(total) - total, total)
    ours, theirs = np.divmod(within, np.repeat(many[1], total))
    return np.repeat(firsts[0][pairs[:, 0]], total) + ours, np.repeat(firsts[1][pairs[:, 1]], total) + theirs


def _of_templates(test: Sketch, training: Sketch) -> tuple[np.ndarray, np.ndarray]:
    """Responses that may be near duplicates, of examples whose prompts are little more than templates, likewise."""
    if not (test.prompts.blank.any() and training.prompts.blank.any()):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = [np.flatnonzero(np.repeat(s.prompts.blank, np.diff(s.responses.first))) for s in (test, training)]
    bands = [side.responses.texts.bands[of] for side, of in zip((test, training), rows, strict=True)]
    pairs = _candidates(*bands)
    return rows[0][pairs[:, 0]], rows[1][pairs[:, 1]]


def _compare(
    test: Sketch, training: Sketch, tests: np.ndarray, trains: np.ndarray, alike: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which test examples have a near duplicate among pairs of responses, and which one with the other label.

    Args:
        test: the test split.
        training: the training split.
        tests: numbers of its responses, int64 (k,).
        trains: likewise of the training split's.
        alike: whether responses that are the same count, however short they are.

    Returns:
        Bool (n,) each.
    """
    if not len(tests):
        return np.zeros(len(test.examples), bool), np.zeros(len(test.examples), bool)
    ours, theirs = test.responses, training.responses
    similar = ours.texts.similarity(tests, theirs.texts, trains)
    if alike:
        similar[[ours.words[a] == theirs.words[b] for a, b in zip(tests, trains, strict=True)]] = 1
    nearest = np.zeros((2, len(ours.words)))
    np.maximum.at(nearest, ((ours.best[tests] != theirs.best[trains]).astype(int), tests), similar)
    same, other = nearest
    of_texts = np.maximum(same, other) >= JACCARD, (other >= JACCARD) & (other > same)
    near, turned = (np.logical_or.reduceat(of, ours.first[:-1]) for of in of_texts)
    return near, turned
