"""A few labelled pairs of the target: choosing by uncertainty helps where it can, and not where it cannot."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from genies.data.framing import Framed, frame
from genies.data.pairs import Pair, training_pairs
from genies.data.reading import SplitPairs
from genies.data.records import Example
from genies.evaluation.tables.few_labels import NONE, RANDOM, UNCERTAIN
from genies.interventions.arrays import ArrayPairs
from genies.interventions.base import Intervention, Pairs
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.steps.joined import KeptPairs
from genies.interventions.steps.split import folds
from genies.interventions.steps.target_labels import chosen_rows, copies_of, joint_clusters, mixed
from genies.stages.few_labels import _Shift, clean_rows, clusters_of
from genies.stages.refits import Probe

DIM = 40
COUNT, COPIES = 8, 8


def pairs_of(difference: np.ndarray, seed: int) -> ArrayPairs:
    """Pairs with these differences best − worse, (n, DIM), in the one layer that is read, and noise."""
    rng = np.random.default_rng(seed)
    residual = 0.1 * rng.standard_normal((len(difference), 2, 2, DIM))
    residual[:, 0, 0] += difference
    return ArrayPairs(residual={"plain": residual})


def target(n: int, rare: float, unsure: bool, seed: int) -> tuple[ArrayPairs, np.ndarray]:
    """Training or test pairs of a target, and which of them the source's rule says nothing of.

    The source's rule is axis 0. Most pairs follow it. In the rest, a share ``rare``, another rule decides: axis 1.
    Where ``unsure``, these are the pairs that do not differ along axis 0, so that the source's fit is not sure of them;
    else they differ there as all pairs do, as often in favour of the worse response.
    """
    rng = np.random.default_rng(seed)
    difference = 0.8 * rng.standard_normal((n, DIM))
    silent = rng.random(n) < rare
    difference[:, 0] = np.where(silent, 0.0 if unsure else rng.choice([-3.0, 3.0], n), 3.0)
    difference[silent, 1] = 2.0 if unsure else 6.0
    if not unsure:  # cosines depend on lengths, too: the other pairs are as long, along an axis that says nothing
        difference[~silent, 2] = rng.choice([-6.0, 6.0], np.sum(~silent))
    return pairs_of(difference, seed), silent


def accuracies(unsure: bool, rare: float = 0.06, worlds: int = 6) -> tuple[float, float]:
    """Mean accuracy, on the pairs that the source's rule says nothing of, of random and of uncertain choices."""
    found = []
    for seed in range(worlds):
        rng = np.random.default_rng([seed, 9])
        difference = 0.8 * rng.standard_normal((80, DIM))
        difference[:, 0] = 3.0
        source = pairs_of(difference, 100 + seed)
        others, _ = target(300, rare, unsure, 200 + seed)
        tested, silent = target(4000, rare, unsure, 300 + seed)
        alone = LatStim1().fit(source)
        scores = alone.decision_function(others)
        for draw in range(3):
            orders = chosen_rows(scores[:, 0] - scores[:, 1], others.cluster, np.arange(300), draw)
            clusters = joint_clusters((source.cluster, [f"s{n}" for n in range(80)]), (others.cluster, ["t"] * 300), ())
            fits = [LatStim1().fit(mixed(source, others, rows[:COUNT], COPIES, clusters)) for rows in orders]
            found.append([np.mean(fit.predict_proba(tested)[silent] > 0.5) for fit in fits])
    return tuple(np.mean(found, axis=0).tolist())


def test_uncertainty_finds_the_few_pairs_that_teach_the_other_rule():
    random, uncertain = accuracies(unsure=True)
    assert uncertain > 0.9 and uncertain - random > 0.1


def test_uncertainty_is_no_better_where_the_source_is_as_sure_of_those_pairs_as_of_others():
    random, uncertain = accuracies(unsure=False, rare=0.3)
    assert random > 0.6 and uncertain - random < 0.02


def test_both_choices_come_from_one_pool_and_are_nested_and_the_least_sure_come_first():
    rng = np.random.default_rng(1)
    advantage, free = rng.standard_normal(100), np.arange(20, 100)
    drawn, uncertain = chosen_rows(advantage, np.arange(100), free, 7)
    assert set(drawn) == set(uncertain) < set(free) and len(drawn) == 60
    assert np.all(np.diff(np.abs(advantage[uncertain])) >= 0) and not np.array_equal(drawn, uncertain)
    others = chosen_rows(advantage, np.arange(100), free, 8)
    assert set(others[0]) != set(drawn)


def test_copies_of_a_pair_stay_on_one_side_of_every_split():
    source, others = pairs_of(np.zeros((12, DIM)), 1), pairs_of(np.zeros((6, DIM)), 2)
    clusters = joint_clusters((source.cluster, ["a"] * 12), (others.cluster, ["b"] * 6), ())
    joined = mixed(source, others, np.array([1, 4]), 3, clusters)
    assert len(joined) == 18 and len(np.unique(joined.example)) == 14
    for rows in folds(joined.cluster, 0):
        assert all(np.isin(np.flatnonzero(joined.example == joined.example[row]), rows).all() for row in rows)


class Counted(Probe):
    """A probe that counts its fits."""

    made: ClassVar[list[str]] = []

    def fitted(self, pairs: Pairs, what: str) -> Intervention:
        self.made.append(what)
        return super().fitted(pairs, what)


def test_choices_that_come_to_the_same_pairs_are_fitted_once():
    rng = np.random.default_rng(4)
    source, others, tested = (pairs_of(rng.standard_normal((n, DIM)), seed) for seed, n in enumerate((20, 4, 30)))
    shift = _Shift(
        probe=Counted("lat_stim_1", "lat_stim_1", {}),
        name="one → other",
        training=KeptPairs(source),
        others=KeptPairs(others),
        clusters=joint_clusters((source.cluster, [f"s{n}" for n in range(20)]), (others.cluster, list("abcd")), ()),
        free=np.arange(4),
        tested=KeptPairs(tested),
        target=SimpleNamespace(name="other", best_first=np.arange(30) % 3 > 0, cluster=np.arange(30)),
    )
    rows = list(shift.rows(LatStim1().fit(source), [1, 3, 4], draws=8, copies=2))
    # A pool has three of the four pairs: there are 4 pools, and as many single pairs.
    assert len(Counted.made) <= 8
    assert [(row["chosen"], row["examples"]) for row in rows] == [
        (NONE, 0), (RANDOM, 1), (UNCERTAIN, 1), (RANDOM, 3), (UNCERTAIN, 3)
    ]  # fmt: skip
    random, uncertain = ({**row, "chosen": None} for row in rows[3:])
    assert random == uncertain


@pytest.mark.parametrize(
    ("count", "source", "copies"), [(1, 600, 8), (64, 600, 8), (64, 100, 1), (16, 60, 3), (99, 9, 1)]
)
def test_copies_keep_target_pairs_from_outnumbering_the_sources_but_each_is_there_once_at_least(count, source, copies):
    assert copies_of(count, source, 8) == copies


def test_pairs_of_one_prompt_are_one_cluster_in_either_split_but_not_by_an_instruction():
    source = np.array([0, 1, 0, 3]), ["a", "b", "a", "Answer."]
    other = np.array([0, 1, 2]), ["b", "c", "a"]
    of_source, of_target = joint_clusters(source, other, ())
    assert of_source.tolist() == [0, 1, 0, 3]
    assert of_target[0] == 1 and of_target[2] == 0 and of_target[1] > 3
    often = ["Answer."] * 10
    of_source, of_target = joint_clusters((np.arange(10), often), (np.arange(10), often), {"Answer."})
    assert not set(of_source) & set(of_target)


def split_of(texts: list[tuple[str, str, str]]) -> SplitPairs:
    """Pairs of a prompt, a good and a worse response each."""
    examples = [Example(prompt, tuple(responses), 0, (1,)) for prompt, *responses in texts]
    pairs = [Pair(number, 0, 0, 1) for number in range(len(texts))]
    return SplitPairs("other", Framed(examples, examples), pairs, np.ones(len(texts), bool))


def test_instructions_are_those_of_whole_files_whatever_is_drawn_of_them_and_asked_about_them():
    texts = [[("Answer." if n < 6 else f"{name} {n}", f"{name} {n}", "no") for n in range(100)] for name in "st"]
    drawn = [replace(split_of(texts_of), pairs=split_of(texts_of).pairs[3:23]) for texts_of in texts]
    of_source, of_target = clusters_of(*drawn)
    assert len(set(of_source) | set(of_target)) == 40
    # Three of 30 examples share a prompt: none of them an instruction, though each is asked about twice.
    asked = [[("a" if n < 3 else f"{name} {n}", f"{name} {n}", "no") for n in range(30)] for name in "st"]
    framed = [frame(split_of(texts_of).framed.filed, "truthfulness", 0) for texts_of in asked]
    pairs = [training_pairs(one.examples, 0) for one in framed]
    of_source, of_target = clusters_of(
        *(SplitPairs("one", one, found, np.ones(60, bool)) for one, found in zip(framed, pairs, strict=True))
    )
    assert of_source[:6].tolist() == of_target[:6].tolist() == [0] * 6
    assert not set(of_source) & set(of_target[6:])


def test_pairs_whose_prompt_or_text_is_tested_are_not_taken():
    tested = [("b", "yes", "no"), ("d", "yes", "no"), *(("Answer.", f"test {n}", f"worse {n}") for n in range(10))]
    free = [("a", "yes", "no"), ("b", "other", "no"), *(("Answer.", f"train {n}", f"poor {n}") for n in range(10))]
    source = split_of([("s", "yes", "no"), ("a", "yes, too", "never")])
    assert clean_rows(split_of(free), split_of(tested), source).tolist() == [0, *range(2, 12)]
    # The instruction says nothing of a pair, but one of its responses does, whatever its label there.
    free[3], free[4] = ("Answer.", "test 4", "poor"), ("Answer.", "worse 7", "poor")
    assert clean_rows(split_of(free), split_of(tested), source).tolist() == [0, 2, *range(5, 12)]


def test_pairs_whose_text_the_source_has_are_no_new_labels():
    """A mixture holds pairs of the target, also under an instruction, whose copies would be on both sides of a fold."""
    target = split_of([("a", "yes", "no"), ("b", "yes", "no"), *(("Answer.", f"{n}", f"poor {n}") for n in range(10))])
    mixture = split_of([("s", "yes", "no"), ("b", "no", "never"), ("Answer.", "3", "other"), ("a", "other", "never")])
    tested = split_of([("t", "yes", "no")])
    assert clean_rows(target, tested, mixture).tolist() == [0, 2, 3, 4, *range(6, 12)]
    assert not len(clean_rows(target, tested, target))


def test_random_and_uncertain_choices_come_of_as_many_prompts_where_uncertainty_says_nothing():
    """Prompts of four pairs each: the same number of labels must not be of fewer prompts because they are random."""
    rng, cluster, prompts = np.random.default_rng(3), np.repeat(np.arange(60), 4), []
    for draw in range(300):
        orders = chosen_rows(rng.standard_normal(240), cluster, np.arange(240), draw)
        prompts.append([len(np.unique(cluster[order[:8]])) for order in orders])
    random, uncertain = np.array(prompts).T
    assert abs(np.mean(random - uncertain)) < 4 * np.std(random - uncertain) / np.sqrt(300)
    assert random.mean() > 7
