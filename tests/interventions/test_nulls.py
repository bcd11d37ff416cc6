"""Where there is nothing to find, probes say so: accuracy ½, and no more confidence than chance gives a calibrator."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from genies.data.distributions import Example
from genies.data.framing import Framed, frame
from genies.data.pairs import test_pairs as pairs_of
from genies.evaluation import metrics
from genies.evaluation.uncertainty import accuracy_interval
from genies.interventions.arrays import ArrayPairs
from genies.interventions.base import Intervention
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.logistic import Logistic
from genies.interventions.mms import MassMeanShift
from genies.interventions.steps.calibration import fit_calibrator

DRAWS, TRAIN, TEST = 200, 60, 250
Maker = Callable[[], Intervention]
PROBES = [
    pytest.param(lambda: MassMeanShift(kept=2), id="mms", marks=pytest.mark.torture),
    pytest.param(lambda: LatStim1(kept=2), id="lat_stim_1", marks=pytest.mark.torture),
    pytest.param(Logistic, id="logistic"),
]
"""200 fits each take a while, so one of them is for every day."""


def noise(generator: np.random.Generator, n: int, labelled: bool = False) -> ArrayPairs:
    """Texts without any difference between best and worse responses: 6 heads, or 4 layers, of 4 numbers."""
    return ArrayPairs(
        heads={"plain": generator.standard_normal((n, 2, 3, 2, 4), dtype=np.float32)},
        residual={"plain": generator.standard_normal((n, 2, 4, 4), dtype=np.float32)},
        label=generator.random(n) < 0.5 if labelled else None,
    )


def figures(probability: np.ndarray) -> list[float]:
    """Mean confidence, calibration error and Brier score; ``probability`` is that of the best response."""
    confidence = np.maximum(probability, 1 - probability).mean()
    return [confidence, metrics.calibration_error(probability), metrics.brier(probability)]


def floor(pairs: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean figures of the same calibrator on independent Gaussian advantages, and their Monte Carlo errors."""
    found = []
    for draw in range(draws):
        generator = np.random.default_rng([1, draw])
        calibrator = fit_calibrator(generator.standard_normal(pairs), "corrected", directed=True)
        found.append(figures(calibrator.probability(generator.standard_normal(TEST))))
    return np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(draws)


@pytest.mark.long
@pytest.mark.parametrize("make", PROBES)
def test_on_noise_accuracy_is_one_half_and_confidence_no_more_than_chance_gives(make: Maker) -> None:
    """n out-of-fold scores calibrate like as many independent ones, or down to half as many.

    Two pairs score each other where the same sites are chosen for both. With sites chosen on the pairs that calibrate,
    confidence would be far above: 0.676 for 600 pairs and 256 heads.
    """
    found, accuracies, covered = [], [], 0
    for draw in range(DRAWS):
        generator = np.random.default_rng([0, draw])
        probe = make().fit(noise(generator, TRAIN))
        tested = noise(generator, TEST, labelled=True)
        first = probe.predict_proba(tested)
        probability = np.where(tested.label, first, 1 - first)
        found.append(figures(probability))
        accuracies.append(metrics.accuracy(probability))
        low, high = accuracy_interval(metrics.correctness(probability), np.arange(TEST))
        covered += low <= 0.5 <= high
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(DRAWS)
    (least, least_errors), (most, most_errors) = floor(TRAIN, 2_000), floor(TRAIN // 2, 2_000)
    assert np.all(means > least - 3.3 * np.hypot(errors, least_errors)), (means, least)
    assert np.all(means < most + 3.3 * np.hypot(errors, most_errors)), (means, most)
    assert abs(np.mean(accuracies) - 0.5) < 3.3 * np.std(accuracies) / np.sqrt(DRAWS)
    assert 0.93 <= covered / DRAWS <= 0.97


def questions(generator: np.random.Generator, count: int, framing: str) -> Framed:
    """Questions about examples of four responses, of which a coin says which one is best."""
    examples = []
    for number in range(count):
        best = int(generator.integers(4))
        texts = tuple(f"{generator.integers(2**60)}" for _ in range(4))
        examples.append(Example(f"{number} ", texts, best, tuple(i for i in range(4) if i != best)))
    return frame(examples, framing, 0)


def features(framed: Framed, shuffled: np.random.Generator | None = None) -> ArrayPairs:
    """A random vector for each text, which only the text decides, and one for its answer, the same in all texts."""
    answers = dict(zip(("Yes", "No"), np.random.default_rng(0).standard_normal((2, 4, 4)), strict=True))
    pairs = pairs_of(framed.examples)
    label = np.ones(len(pairs), bool) if shuffled is None else shuffled.random(len(pairs)) < 0.5
    residual = np.empty((len(pairs), 2, 4, 4))
    for row, (pair, best_first) in enumerate(zip(pairs, label, strict=True)):
        example = framed.examples[pair.example]
        seed = int.from_bytes(hashlib.sha256(example.prompt.encode()).digest()[:8], "little")
        order = (pair.best, pair.worse) if best_first else (pair.worse, pair.best)
        for side, response in enumerate(order):
            text = np.random.default_rng([seed, response]).standard_normal((4, 4))
            residual[row, side] = text + 2 * answers[example.responses[response]]
    cluster = framed.clusters[[pair.example for pair in pairs]]
    return ArrayPairs(residual={"plain": residual}, cluster=cluster, label=None if shuffled is None else label)


@pytest.mark.long
@pytest.mark.parametrize("make", PROBES[1:])
def test_questions_that_a_coin_answers_are_answered_at_chance_and_no_answer_pays(make: Maker) -> None:
    """As published, with a question about each of four responses, always answering No is right for 75 of 100."""
    accuracies, covered = [], 0
    for draw in range(DRAWS):
        generator = np.random.default_rng([2, draw])
        probe = make().fit(features(questions(generator, 30, "truthfulness")))
        framed = questions(generator, 60, "truthfulness")
        tested = features(framed, generator)
        first = probe.predict_proba(tested)
        correct = metrics.correctness(np.where(tested.label, first, 1 - first))
        accuracies.append(correct.mean())
        low, high = accuracy_interval(correct, tested.cluster)
        covered += low <= 0.5 <= high
    assert abs(np.mean(accuracies) - 0.5) < 3.3 * np.std(accuracies) / np.sqrt(DRAWS)
    assert covered / DRAWS >= 0.93

    generator = np.random.default_rng(3)
    published = make().fit(features(questions(generator, 30, "truthfulness_per_response")))
    tested = features(questions(generator, 60, "truthfulness_per_response"), generator)
    first = published.predict_proba(tested)
    assert metrics.accuracy(np.where(tested.label, first, 1 - first)) > 0.7
