"""Metrics against worked examples, their own definitions, and the published cells."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from genies.evaluation import metrics

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "published-llama-7b.tar.xz"


def calibrated(n: int, seed: int) -> np.ndarray:
    """Probabilities of the best response from a perfectly calibrated method: p is right with probability p."""
    generator = np.random.default_rng(seed)
    p = generator.random(n)
    return np.where(generator.random(n) < p, p, 1 - p)


def test_a_tie_counts_half_and_as_right_in_the_published_manner():
    assert metrics.accuracy([0.9, 0.5, 0.2, 0.6]) == 0.625
    assert metrics.accuracy([0.9, 0.5, 0.2, 0.6], ties="right") == 0.75
    assert metrics.correctness([0.5, 0.51, 0.49]).tolist() == [0.5, 1.0, 0.0]


def test_brier_is_the_mean_squared_distance_from_one():
    assert metrics.brier([1.0, 0.0, 0.5, 0.5]) == pytest.approx((0 + 1 + 0.25 + 0.25) / 4)


@pytest.mark.parametrize("bad", [float("nan"), -0.001, 1.001, float("inf")])
@pytest.mark.parametrize(
    "function",
    [metrics.accuracy, metrics.brier, metrics.published_rms_calibration_error, metrics.calibration_error],
)
def test_what_is_no_probability_is_refused_by_its_position(function, bad):
    with pytest.raises(ValueError, match="probability 2 is"):
        function([0.1, 0.2, bad])


@pytest.mark.parametrize("shape", [(0,), (2, 2)])
def test_other_shapes_than_a_list_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        metrics.accuracy(np.full(shape, 0.5))


def test_elicitation_is_relative_to_capability():
    assert metrics.elicitation(0.6, 0.8) == pytest.approx(0.75)
    assert metrics.differential_elicitation(0.6, 0.4, 0.8) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="capability"):
        metrics.elicitation(0.6, 0.0)


def literal_calibration_error(p: np.ndarray, bins: int) -> float:
    """The definition word for word: both (p, 1) and (1 − p, 0), bins of [0, 1], 1 in the last one."""
    probability, label = np.concatenate([p, 1 - p]), np.concatenate([np.ones_like(p), np.zeros_like(p)])
    bin_of = np.minimum(np.floor(probability * bins), bins - 1)
    total = 0.0
    for number in range(bins):
        inside = bin_of == number
        if inside.any():
            total += inside.sum() * (label[inside].mean() - probability[inside].mean()) ** 2
    return float(np.sqrt(total / len(probability)))


@pytest.mark.parametrize("bins", [2, 10, 16])
def test_calibration_error_equals_its_definition_over_both_responses(bins):
    p = np.random.default_rng(1).beta(2, 1, 999)
    assert metrics.calibration_error(p, bins) == pytest.approx(literal_calibration_error(p, bins), abs=1e-12)


def test_calibration_error_of_simple_methods():
    assert metrics.calibration_error([0.5] * 7) == 0
    assert metrics.calibration_error([1.0] * 7) == 0
    assert metrics.calibration_error([0.0] * 7) == 1
    assert metrics.calibration_error([0.75] * 3 + [0.25]) == pytest.approx(0)
    # Right every time, but barely sure of it: a bin around the middle would hide this.
    assert metrics.calibration_error([0.55] * 7) == pytest.approx(0.45)


def test_an_odd_number_of_bins_is_refused():
    with pytest.raises(ValueError, match="even"):
        metrics.calibration_error([0.5], bins=5)


def test_error_of_a_calibrated_method_vanishes_when_corrected_and_stays_as_published():
    corrected = [metrics.calibration_error(calibrated(n, seed=3)) for n in (200, 5_000, 100_000)]
    assert corrected[0] < 0.1
    assert corrected[1] < 0.025
    assert corrected[2] < 0.005
    # Bins around 0.1, 0.3, 0.5, 0.7 and 0.9 against a global share of labels of one half.
    assert metrics.published_rms_calibration_error(calibrated(100_000, seed=3)) == pytest.approx(0.2828, abs=0.003)


def test_published_error_drops_small_bins_and_probabilities_of_one():
    assert np.isnan(metrics.published_rms_calibration_error([0.9] * 15))
    # Hard answers: where the drawn label makes a 1 it falls outside, so that the zeros alone are left.
    labels = 0.5
    value = metrics.published_rms_calibration_error([1.0] * 400)
    assert value == pytest.approx(labels, abs=0.05)


def published_cells() -> list[tuple[str, dict]]:
    """Every 40th cell of the published archive, read in place."""
    with tarfile.open(ARCHIVE, "r:xz") as archive:
        members = [m for m in archive if m.name.startswith("results/evaluations/") and m.name.endswith(".json")]
        return [(m.name, json.load(archive.extractfile(m))) for m in members[::40]]


@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"needs the published results, {ARCHIVE.name}, in ../shared/data")
def test_published_cells_are_reproduced():
    compared = {"accuracy": 0, "rms": 0, "brier": 0}
    for name, cell in published_cells():
        p, method = cell["eval_probabilities"], name.split("/")[2]
        ties = "right" if method in ("lora_fine_tuning", "prompt_tuning", "zero_shot", "few_shot") else "half"
        assert metrics.accuracy(p, ties) == pytest.approx(cell["eval_accuracy"], abs=1e-9), name
        compared["accuracy"] += 1
        if cell.get("eval_rms_calibration_error") is not None:
            rms = metrics.published_rms_calibration_error(p)
            assert rms == pytest.approx(cell["eval_rms_calibration_error"], abs=1e-9, nan_ok=True), name
            compared["rms"] += 1
        # Those of the other methods differ from their own stored probabilities by up to 1.4e-4.
        if method in ("mms", "lat_stim_1", "lat_stim_2", "cra"):
            assert metrics.brier(p) == pytest.approx(cell["eval_brier_score"], abs=1e-9), name
            compared["brier"] += 1
    assert min(compared.values()) >= 5, compared
