"""How many texts and tokens a run reads, split by split, without reading them with a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from genies.costs.sampling import ratio_totals, value_of
from genies.costs.trees import SplitCounts, Trees
from genies.data.distributions import Example
from genies.data.framing import Framed
from genies.data.options import SPLITS, Reading, Split
from genies.data.pairs import text_seed
from genies.data.prompts import Presentation
from genies.data.texts import Text, split_texts
from genies.data.views import VIEWS
from genies.engine.forest import build_forest
from genies.engine.tokenization import context_room
from genies.engine.tokens import SCORED_VIEW, Tokens
from genies.store.splits import DrawnSplit, ShownSplit, refuse_unreadable, show_split
from genies.store.tokens import read_tokens, tokens_digest, tokens_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLED_EXAMPLES = 2000
"""Examples of a run that are tokenized, in equal numbers from each split."""
FEWEST_EXAMPLES = 16
"""Examples of a split that are tokenized at least; fewer would not show how much they differ."""
OVER_MARGIN = 1.25
"""How many times denser in tokens than the sample's densest text another one is thought to be, at most."""
OVER_CHARACTERS = 20
"""Added to a text's characters for that, since special tokens make short texts dense."""

ReadSplit = tuple[Split, Path, Framed, list[int]]
"""A split, its file (``<distribution>/<split>.json``, which need not exist), its examples, and which are drawn."""


@dataclass(frozen=True)
class Sampling:
    """How much of a run's splits is tokenized.

    Attributes:
        examples: of each split; None for all.
        seed: draws them.
    """

    examples: int | None = None
    seed: int = 0

    @classmethod
    def over(cls, splits: int, seed: int) -> Sampling:
        """``SAMPLED_EXAMPLES`` shared by so many splits, but no fewer than ``FEWEST_EXAMPLES`` of each."""
        return cls(max(FEWEST_EXAMPLES, SAMPLED_EXAMPLES // max(1, splits)), seed)


def count_splits(
    tokenizer: PreTrainedTokenizerBase,
    tokenizer_digest: str | None,
    context: int | None,
    splits: Iterable[ReadSplit],
    number: int,
    views: Callable[[str, Split], Iterable[str]],
    reading: Reading,
    cache: Path,
    label: str,
    sampling: Sampling,
) -> list[SplitCounts]:
    """Count what ``tokenize`` and ``extract`` would make of the splits. Nothing is written.

    Args:
        tokenizer: the model's, or ``genies.costs.trees.Pieces`` in its place.
        tokenizer_digest: as in a model's manifest, for tokens that the cache has; None if they have no name there, or
            nobody asks for it.
        context: tokens that the model can hold; None if unbounded.
        splits: all that is read, in any order.
        number: how many those are.
        views: which views are read of a distribution's split.
        reading: how the texts are read.
        cache: the cache folder.
        label: what the progress bar is called.
        sampling: how much of it is tokenized.

    Returns:
        The counts, sorted by split and distribution.

    Raises:
        DataError: the context holds no example of a split.
    """
    counts = []
    for read in tqdm(splits, desc=label, total=number, unit="split", mininterval=2):
        split, file, *_ = read
        of_split = tuple(views(file.parent.name, split))
        counting = _Counting(tokenizer, tokenizer_digest, context, of_split, reading, Path(cache), *read)
        counts.append(counting.counts(sampling))
    return sorted(counts, key=lambda split: (SPLITS.index(split.split), split.distribution))


@dataclass(frozen=True)
class _Counting:
    """The counting of one split."""

    tokenizer: PreTrainedTokenizerBase
    tokenizer_digest: str | None
    context: int | None
    views: tuple[str, ...]
    reading: Reading
    cache: Path
    split: Split
    file: Path
    framed: Framed
    indices: list[int]

    def counts(self, sampling: Sampling) -> SplitCounts:
        """Count a sample, and what may be too long for the context; or all."""
        if sampling.examples is None or sampling.examples >= len(self.examples):
            return self._of_all()
        name = f"{self.file.parent.name}/{self.split}"
        draws = np.random.default_rng(text_seed(sampling.seed, "sample", name))
        drawn = np.sort(draws.choice(len(self.examples), sampling.examples, replace=False)).tolist()
        sample = self._measured(drawn)
        long = self._perhaps_over(sample)
        sure = self._measured(sorted(long - set(drawn)))
        rest = [example for example in drawn if example not in long]
        others = len(self.examples) - len(long)
        if len(rest) < min(2, others):
            return self._of_all()
        both = sample.joined(sure)
        totals = both.total(long)
        if others:
            known = self._sizes.known[rest]
            left = self._sizes.known.sum(axis=0) - self._sizes.known[sorted(long)].sum(axis=0)
            totals = totals + ratio_totals(sample.rows(rest), known, left, others, draws)
        digests = self._digests(both) if self.tokenizer_digest else {}
        return self._counts(both, totals, digests)

    def _of_all(self) -> SplitCounts:
        shown = self._shown(range(len(self.examples)))
        texts = [replace(text, example=self.indices[text.example]) for text in shown.texts]
        digests = self._text_digests(texts) if self.tokenizer_digest else {}
        measured = self._table(range(len(self.examples)), shown, digests)
        return self._counts(measured, measured.total(range(len(self.examples))), digests)

    def _counts(self, measured: _Measured, totals: np.ndarray, digests: Mapping[str, str]) -> SplitCounts:
        refuse_unreadable(self.file, len(self.examples), len(measured.left_out), self.context)
        kept = len(self.examples) - len(measured.left_out)
        *tokens, tree, squares, plain, plain_squares, scored = np.moveaxis(totals, -1, 0)
        return SplitCounts(
            distribution=self.file.parent.name,
            split=self.split,
            examples=kept,
            left_out=len(measured.left_out),
            changed=bool(measured.left_out or measured.shortened),
            texts=int(self._sizes.texts.sum() - self._sizes.texts[sorted(measured.left_out)].sum()),
            tokens=dict(zip(self._tokenized_views, tokens, strict=True)),
            digests=digests,
            extracted=self.views,
            trees=Trees(kept if self.views else 0, tree, squares),
            plain=Trees(kept, plain, plain_squares),
            scored=scored,
            self_test=self._self_test(totals, self.views, -5, (0.5, 1) if self.split == "test" else (1,)),
            plain_self_test=self._self_test(totals, (SCORED_VIEW,), -3, (0, 0.5, 1)),
            tokenized=len(measured.table) + len(measured.left_out),
        )

    @cached_property
    def examples(self) -> list[Example]:
        """Those that are drawn; from here on an example is its index among them."""
        return [self.framed.examples[index] for index in self.indices]

    @property
    def _tokenized_views(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((SCORED_VIEW, *self.views)))

    @cached_property
    def _texts(self) -> list[Text]:
        return split_texts(self.examples, self.split, self.reading.seed)

    @cached_property
    def _sizes(self) -> _Sizes:
        return _Sizes.of(self._texts, len(self.examples), self.views, self._tokenized_views)

    def _self_test(self, totals: np.ndarray, views: Sequence[str], column: int, ranks: Sequence[float]) -> float:
        """Tokens of two packed passes over examples of these ranks in length, and of one over each of their texts."""
        known = self._sizes.known
        ratios = np.array([value_of(total) for total in np.moveaxis(totals, -1, 0)]) / known.sum(axis=0)
        order = np.argsort(self._sizes.longest, kind="stable")
        chosen = [order[int(rank * (len(order) - 1))] for rank in ranks]
        expected = (known[chosen] * ratios).sum(axis=0)
        return 2 * expected[column] + sum(expected[self._tokenized_views.index(view)] for view in views)

    def _perhaps_over(self, sample: _Measured) -> set[int]:
        """Examples that the context may not hold, by the sample's densest text; those of the sample are known."""
        if self.context is None:
            return set()
        room = context_room(self.tokenizer, self.context, self.reading.views)
        longest = self._sizes.longest + sample.grown + OVER_CHARACTERS
        over = np.flatnonzero(longest * sample.density * OVER_MARGIN > room).tolist()
        return {*over, *sample.left_out, *sample.shortened}

    def _shown(self, indices: Sequence[int]) -> ShownSplit:
        examples = [self.examples[index] for index in indices]
        some = Framed(examples, examples)
        drawn = DrawnSplit(some, list(range(len(indices))), self.split, self.reading)
        return show_split(self.tokenizer, self.context, self.file, drawn)

    def _measured(self, indices: Sequence[int]) -> _Measured:
        return self._table(indices, self._shown(indices), {}) if indices else _Measured({}, {}, {}, 0, 0)

    def _table(self, indices: Sequence[int], shown: ShownSplit, digests: Mapping[str, str]) -> _Measured:
        """Numbers of the examples that are shown; ``indices`` are theirs in the split."""
        tokens = {view: self._tokens(shown, view, digests.get(view)) for view in self._tokenized_views}
        eos = -1 if self.tokenizer.eos_token_id is None else self.tokenizer.eos_token_id
        table = np.zeros((len(indices), len(tokens) + 5))
        for column, some in enumerate(tokens.values()):
            np.add.at(table[:, column], some.example, np.diff(some.offsets))
        for column, views in ((-5, self.views), (-3, (SCORED_VIEW,))):
            forest = build_forest({view: tokens[view] for view in views}, eos)
            for tree, ((view, row), *_) in zip(forest.trees, forest.members, strict=True):
                example = tokens[view].example[row]
                table[example, column : column + 2] = len(tree), len(tree) ** 2
                if column == -3:
                    table[example, -1] = len(tree.score_token)
        left_out = set(shown.left_out)
        characters = np.array([len(text.prompt_text) + len(text.response_text) for text in shown.texts])
        dense = np.diff(tokens[SCORED_VIEW].offsets) / (characters + OVER_CHARACTERS)
        grown = [len(text.prompt_text) - len(self.examples[indices[text.example]].prompt) for text in shown.texts]
        return _Measured(
            table={indices[row]: table[row] for row in range(len(indices)) if row not in left_out},
            left_out={indices[row]: None for row in shown.left_out},
            shortened={indices[row]: dropped for row, dropped in shown.shortened.items()},
            density=dense.max(initial=0),
            grown=max(grown, default=0),
        )

    def _tokens(self, shown: ShownSplit, view: str, digest: str | None) -> Tokens:
        """Tokens of all examples, numbered among those that are drawn; the cache's have their numbers in the file."""
        if digest is None or not (path := tokens_path(self.cache, digest)).exists():
            return shown.tokens(view)
        tokens, row = read_tokens(path), {index: row for row, index in enumerate(self.indices)}
        return replace(tokens, example=np.array([row[index] for index in tokens.example.tolist()], np.int32))

    def _digests(self, measured: _Measured) -> dict[str, str]:
        """Names of the tokens of the whole split, whose texts need not be tokenized for them."""
        presentation = Presentation(self.reading.prompt_format, measured.shortened)
        shown = presentation.apply(self.tokenizer, self.examples)
        return self._text_digests([
            replace(text, example=self.indices[text.example], prompt_text=shown[text.example].prompt)
            for text in self._texts
            if text.example not in measured.left_out
        ])  # fmt: skip

    def _text_digests(self, texts: Sequence[Text]) -> dict[str, str]:
        if (digest := self.tokenizer_digest) is None:
            return {}
        return {view: tokens_digest(digest, texts, VIEWS[view])[0] for view in self._tokenized_views}


@dataclass(frozen=True)
class _Measured:
    """Numbers of some examples of a split.

    Attributes:
        table: by example, float64 (q,): tokens by view, then size and square of the tree over the extracted views, the
            same of the tree over ``plain``, and scored tokens; without those that are left out.
        left_out: examples that the context cannot hold.
        shortened: characters dropped from the front of a prompt, by example.
        density: tokens per character (and ``OVER_CHARACTERS``) of the densest text.
        grown: characters that the presentation adds to a prompt, at most.
    """

    table: Mapping[int, np.ndarray]
    left_out: Mapping[int, None]
    shortened: Mapping[int, int]
    density: float
    grown: int

    def joined(self, other: _Measured) -> _Measured:
        """Both."""
        return _Measured(
            {**self.table, **other.table}, {**self.left_out, **other.left_out}, {**self.shortened, **other.shortened},
            max(self.density, other.density), max(self.grown, other.grown),
        )  # fmt: skip

    def rows(self, examples: Sequence[int]) -> np.ndarray:
        """Numbers of some examples, (n, q)."""
        return np.array([self.table[example] for example in examples])

    def total(self, examples: Collection[int]) -> np.ndarray:
        """Sum of the numbers of some examples, (q,); left out ones are none."""
        return sum((self.table[example] for example in examples if example in self.table), np.zeros(1))


@dataclass(frozen=True)
class _Sizes:
    """What is known of every example of a split without tokenizing it.

    Attributes:
        texts: responses that are read, int64 (n,).
        longest: characters of the longest text, int64 (n,).
        known: for each number of ``_Measured.table`` one that it is about proportional to, float64 (n, q).
    """

    texts: np.ndarray
    longest: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[Text], examples: int, views: Sequence[str], tokenized: Sequence[str]) -> _Sizes:
        example = np.array([text.example for text in texts])
        prompt = np.array([len(text.prompt_text) for text in texts])
        response = np.array([len(text.response_text) for text in texts])
        count = np.bincount(example, minlength=examples)
        prompts, responses = np.zeros(examples), np.bincount(example, response, examples)
        prompts[example] = prompt
        longest = np.zeros(examples)
        np.maximum.at(longest, example, prompt + response)

        def tree(names: Sequence[str]) -> np.ndarray:
            befores = {VIEWS[name].before for name in names}
            after = sum(len(VIEWS[name].after) for name in names)
            return 1 + prompts + count * (sum(map(len, befores)) + after) + len(befores) * responses

        strings = [count * (prompts + len(VIEWS[v].before) + len(VIEWS[v].after) + 1) + responses for v in tokenized]
        trees, plain = tree(views), tree((SCORED_VIEW,))
        known = np.stack([*strings, trees, trees**2, plain, plain**2, responses + count], axis=1)
        return cls(count, longest, known)
