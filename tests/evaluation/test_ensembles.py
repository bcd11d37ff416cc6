"""Ensembles: by hand on small numbers, antisymmetric, and free of the members' scales and offsets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genies.errors import ConfigError, DataError, StoreError
from genies.evaluation.ensembles import (
    COMBINATIONS,
    combined,
    scale_of,
    source_calibrator,
    source_probability,
)
from genies.evaluation.evaluations import METADATA, PAIR_COLUMNS, read_evaluation
from genies.interventions.steps.calibration import fit_calibrator
from genies.stages.ensemble import combine_evaluations, combine_sources

SOURCE, TARGET = [3.0, -1.0, 2.0, 4.0, 1.0, -2.0, 5.0], [1.0, -1.0, 2.0]
OTHER_SOURCE, OTHER_TARGET = [1.0, 1.0, -1.0, 1.0, 2.0, 1.0, 1.0], [4.0, 3.0, -2.0]


def write_member(
    folder: Path, name: str, source: list[float], target: list[float], *, factor: float = 1, offset: float = 0
) -> Path:
    """An evaluation after fitting on ``source``: these differences of scores, each pair with an offset of its own."""
    frames = []
    for distribution, differences in (("source", source), ("target", target)):
        n = len(differences)
        worse = offset * np.arange(n) * (-1.0) ** np.arange(n)
        empty = dict.fromkeys(list(PAIR_COLUMNS)[8:], [None] * n)
        frames.append(
            pl.DataFrame(
                {
                    "target": [distribution] * n,
                    "example": np.arange(n),
                    "pair": np.zeros(n),
                    "cluster": np.arange(n) // 2,
                    "answer": [None] * n,
                    "probability": 0.5 + 0.4 * np.sign(differences),
                    "score_best": factor * (worse + np.array(differences)),
                    "score_worse": factor * worse,
                    **empty,
                },
                schema=PAIR_COLUMNS,
            )
        )
    path = folder / name / "source.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.concat(frames).write_parquet(path)
    return path


def ensemble(folder: Path, members: list[Path], **keys: object) -> tuple[pl.DataFrame, dict]:
    output = folder / "together" / "source.parquet"
    combine_evaluations("source", "target", members=members, output=output, **keys)
    return read_evaluation(output), json.loads(pl.read_parquet_metadata(output)[METADATA])


def advantages(frame: pl.DataFrame, target: str) -> np.ndarray:
    rows = frame.filter(target=target)
    return (rows["score_best"] - rows["score_worse"]).to_numpy()


def test_each_combination_by_hand() -> None:
    z = np.array([[1.0, 3.0, -1.0, 3.0, 0.0], [3.0, -1.0, -2.0, 1.0, 2.0]])
    assert combined(z, "mean", 0.5).tolist() == [2, 1, -1.5, 2, 1]
    assert combined(z, "minimum", 0.5).tolist() == [1, 0, -1, 1, 0]
    # Means 2, 1, −1.5, 2, 1 and variances 1, 4, 0.25, 1, 1.
    assert combined(z, "variance_penalised", 0.5).tolist() == [1.5, 0, -1.375, 1.5, 0.5]
    assert combined(z, "variance_penalised", 0.0).tolist() == combined(z, "mean", 0.5).tolist()
    assert combined(z, "variance_penalised", 10.0).tolist() == [0, 0, 0, 0, 0]


@given(
    z=arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 6)), elements=st.floats(-1e6, 1e6)),
    combine=st.sampled_from(COMBINATIONS),
    penalty=st.floats(0, 10),
)
def test_exchanging_the_responses_negates_a_combination_exactly(z: np.ndarray, combine: str, penalty: float) -> None:
    advantage = combined(z, combine, penalty)
    assert np.array_equal(combined(-z, combine, penalty), -advantage)
    # None claims more than the mean, or prefers what the mean does not.
    mean = z.mean(axis=0)
    assert np.all(np.abs(advantage) <= np.abs(mean) * (1 + 1e-12) + 1e-300)
    assert np.all(advantage * mean >= 0)


@given(d=arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e150, 1e150)), power=st.integers(-30, 30))
def test_the_scale_is_the_root_mean_square_and_goes_with_the_scores(d: np.ndarray, power: int) -> None:
    assume(np.abs(d).max() > 1e-100)
    scale = scale_of(d)
    np.testing.assert_allclose(scale, np.sqrt(np.mean((d / scale) ** 2)) * scale, rtol=1e-12)
    assert scale_of(d * 2.0**power) == scale * 2.0**power
    assert scale_of(-d) == scale


def test_without_a_scale_there_is_none() -> None:
    with pytest.raises(DataError, match="same score"):
        scale_of(np.zeros(3))


def test_the_stage_scales_on_the_source_combines_and_states_how(tmp_path: Path) -> None:
    members = [
        write_member(tmp_path, "one", SOURCE, TARGET), write_member(tmp_path, "other", OTHER_SOURCE, OTHER_TARGET)
    ]  # fmt: skip
    # 9 + 1 + 4 + 16 + 1 + 4 + 25 = 60 and 10, of 7 pairs each.
    scales = {"one": np.sqrt(60 / 7), "other": np.sqrt(10 / 7)}
    for combine in COMBINATIONS:
        frame, stated = ensemble(tmp_path, members, combine=combine, penalty=0.25)
        np.testing.assert_allclose([stated["scales"][name] for name in scales], list(scales.values()), rtol=1e-12)
        for target, one, other in (("source", SOURCE, OTHER_SOURCE), ("target", TARGET, OTHER_TARGET)):
            z = np.stack([np.array(one) / scales["one"], np.array(other) / scales["other"]])
            low = {"mean": None, "minimum": z.min(0), "variance_penalised": z.mean(0) - 0.25 * z.var(0)}[combine]
            high = {"mean": None, "minimum": z.max(0), "variance_penalised": z.mean(0) + 0.25 * z.var(0)}[combine]
            wanted = z.mean(0) if low is None else np.where(low > 0, low, np.where(high < 0, high, 0))
            np.testing.assert_allclose(advantages(frame, target), wanted, rtol=1e-12, atol=1e-15)
        assert (stated["members"], stated["combine"], stated["penalty"]) == (["one", "other"], combine, 0.25)
        assert frame["score_best"].to_list() == (-frame["score_worse"]).to_list()
        preferred = np.sign(np.round(frame["probability"].to_numpy() - 0.5, 12))
        assert np.array_equal(preferred, np.sign(frame["score_best"].to_numpy()))


def test_probabilities_come_of_the_houses_calibrator_on_the_source(tmp_path: Path) -> None:
    members = [
        write_member(tmp_path, "one", SOURCE, TARGET), write_member(tmp_path, "other", OTHER_SOURCE, OTHER_TARGET)
    ]  # fmt: skip
    frame, stated = ensemble(tmp_path, members, combine="mean")
    calibrator = fit_calibrator(advantages(frame, "source"), "corrected", directed=True)
    assert stated["calibrator"] == calibrator.to_json()
    on_target = frame.filter(target="target")["probability"].to_numpy()
    np.testing.assert_allclose(on_target, calibrator.probability(advantages(frame, "target")), rtol=1e-12)


def test_no_label_of_the_target_and_no_own_label_of_a_source_pair_decides_anything(tmp_path: Path) -> None:
    members = [
        write_member(tmp_path, "one", SOURCE, TARGET), write_member(tmp_path, "other", OTHER_SOURCE, OTHER_TARGET)
    ]  # fmt: skip
    before, _ = ensemble(tmp_path, members, combine="mean")
    # The target's labels the other way round: the same probabilities of the same responses.
    swapped = [
        write_member(tmp_path / "swapped", "one", SOURCE, [-d for d in TARGET]),
        write_member(tmp_path / "swapped", "other", OTHER_SOURCE, [-d for d in OTHER_TARGET]),
    ]
    after, _ = ensemble(tmp_path / "swapped", swapped, combine="mean")
    assert before.filter(target="source").equals(after.filter(target="source"))
    one, other = (frame.filter(target="target")["probability"].to_numpy() for frame in (before, after))
    np.testing.assert_allclose(one, 1 - other, rtol=1e-12)
    # A source pair with the label the other way round: its own fold's calibrator is the same.
    advantage = np.random.default_rng(0).normal(0.5, 1, 40)
    cluster = np.arange(40) // 2
    flipped = np.where(cluster == 7, -advantage, advantage)
    first, second = (source_probability(values, cluster, seed=0) for values in (advantage, flipped))
    np.testing.assert_allclose(first[cluster == 7], 1 - second[cluster == 7], rtol=1e-12)
    assert not np.allclose(first, second)


def test_scales_and_offsets_of_members_change_nothing(tmp_path: Path) -> None:
    plain = [
        write_member(tmp_path, "one", SOURCE, TARGET), write_member(tmp_path, "other", OTHER_SOURCE, OTHER_TARGET)
    ]  # fmt: skip
    moved = [
        write_member(tmp_path / "moved", "one", SOURCE, TARGET, factor=1000, offset=3),
        write_member(tmp_path / "moved", "other", OTHER_SOURCE, OTHER_TARGET, factor=0.01, offset=-7),
    ]
    for combine in COMBINATIONS:
        one, _ = ensemble(tmp_path, plain, combine=combine)
        other, _ = ensemble(tmp_path / "moved", moved, combine=combine)
        for column in ("probability", "score_best", "score_worse"):
            np.testing.assert_allclose(one[column].to_numpy(), other[column].to_numpy(), rtol=1e-9, atol=1e-12)


def test_a_source_that_says_nothing_leaves_the_order_and_no_confidence() -> None:
    probability = source_calibrator(np.zeros(5)).probability(np.array([-1.0, 0.0, 2.0]))
    assert probability[0] < 0.5 == probability[1] < probability[2]
    np.testing.assert_allclose(probability, 0.5, atol=1e-5)
    # All pairs of one prompt: none is left to calibrate on.
    np.testing.assert_allclose(source_probability(np.array([1.0, 2.0]), np.zeros(2, np.int64), 0), 0.5, atol=1e-5)


def test_members_that_cannot_be_combined_are_one_clear_line(tmp_path: Path) -> None:
    one = write_member(tmp_path, "one", SOURCE, TARGET)
    longer = write_member(tmp_path, "longer", SOURCE, [*TARGET, 1.0])
    silent = write_member(tmp_path, "silent", [0.0] * 7, [1.0, 2.0, 3.0])
    scoreless = write_member(tmp_path, "scoreless", SOURCE, TARGET)
    frame = pl.read_parquet(scoreless)
    frame.with_columns(score_best=pl.lit(None, pl.Float64)).write_parquet(scoreless)
    endless = write_member(tmp_path, "endless", SOURCE, [1.0, -np.inf, 2.0])
    elsewhere = write_member(tmp_path, "elsewhere", SOURCE, TARGET)
    pl.read_parquet(elsewhere).filter(target="source").write_parquet(elsewhere)
    for other, told in (
        (longer, rf"{longer}: does not have the pairs of {one}"),
        (silent, rf"{silent}: silent gives both responses of every pair the same score.*leave it out"),
        (scoreless, rf"{scoreless}: states no scores.*leave scoreless out"),
        (endless, rf"{endless}: target, example 1: a score is no finite number; leave endless out"),
        (elsewhere, rf"{elsewhere}: says nothing of target"),
    ):
        with pytest.raises(StoreError, match=told) as error:
            ensemble(tmp_path, [one, other])
        assert "\n" not in str(error.value)


def test_no_member_is_left_out_in_silence(tmp_path: Path) -> None:
    one = write_member(tmp_path, "one", SOURCE, TARGET)
    other = write_member(tmp_path, "other", OTHER_SOURCE, OTHER_TARGET)
    namesake = write_member(tmp_path / "elsewhere", "one", OTHER_SOURCE, OTHER_TARGET)
    south = one.with_name("south.parquet")
    shutil.copy(one, south)
    pairs = ("source:source", "source:target")
    for members, asked, told in (
        ([one, namesake], pairs, "one is given twice; give each member once, in a folder with its own name"),
        ([one, other, south], (*pairs, "south:south"), "no other/south.parquet is given"),
        ([one], pairs, "an ensemble has two at least"),
        ([], pairs, "members: none given"),
        ([one, other], ("source:target",), "source is not among its targets"),
    ):
        with pytest.raises(StoreError, match=told):
            combine_sources(*asked, members=members, output=tmp_path / "made")


@pytest.mark.parametrize("keys", [{"combine": "median"}, {"penalty": -1.0}, {"penalty": float("nan")}])
def test_what_is_no_combination_is_refused(tmp_path: Path, keys: dict) -> None:
    members = [write_member(tmp_path, name, SOURCE, TARGET) for name in ("one", "other")]
    with pytest.raises(ConfigError, match="^" + next(iter(keys))):
        ensemble(tmp_path, members, **keys)
